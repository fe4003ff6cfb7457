package nscstore

import (
	"path/filepath"
	"slices"
	"strings"
)

// Tree is what [ResolveContext] needs to know of the disk. Missing folders have
// no operators and no accounts. [DiskTree] is the real one.
type Tree interface {
	// IsOperator reports whether dir is the folder of an operator.
	IsOperator(dir string) bool
	// Operators returns the folder names of the operators below root, sorted.
	Operators(root string) []string
	// Accounts returns the account names of an operator below root, sorted.
	Accounts(root, operator string) []string
}

// ContextOptions are the inputs of [ResolveContext].
type ContextOptions struct {
	Config  Config // what nsc.json remembers
	Stores  string // store root when nothing else names one
	DataDir string // store root of the command line, "" if not given
	Cwd     string // current folder, absolute
	CwdOnly bool   // NSC_CWD_ONLY: ignore Config
}

// Context is the operator and account that a command works on when it names
// none.
type Context struct {
	StoreRoot string
	Operator  string // folder name, "" if several or none
	Account   string // "" if several or none
	Elsewhere bool   // the store is not that of nsc.json: do not remember it
}

// ResolveContext finds the context as the official tool does: what nsc.json
// remembers, overridden by the current folder (a folder of an operator, a
// folder of operators, or anything below an operator, in this order),
// overridden by DataDir. Then a remembered name that is gone is dropped, and an
// only operator or account is chosen. The remembered account is one of its
// operator in its store: it chooses none elsewhere. The result depends on the
// arguments alone, and nothing is saved.
func ResolveContext(o ContextOptions, tree Tree) Context {
	c := Context{StoreRoot: first(o.Config.StoreRoot, o.Stores)}
	if o.CwdOnly {
		c.StoreRoot = o.Cwd
	}
	root, operator, account := fromCwd(o.Cwd, tree)
	root = first(o.DataDir, root, c.StoreRoot)
	known := o.Config.StoreRoot != "" || len(tree.Operators(c.StoreRoot)) > 0
	c.Elsewhere = o.CwdOnly || known && filepath.Clean(root) != filepath.Clean(c.StoreRoot)
	c.StoreRoot = root
	if !o.CwdOnly {
		c.Operator = o.Config.Operator
	}
	if !c.Elsewhere {
		c.Account = o.Config.Account
	}
	if o.DataDir == "" && operator != "" {
		if operator != c.Operator {
			c.Account = ""
		}
		c.Operator, c.Account = operator, first(account, c.Account)
	}
	c.Operator = choose(c.Operator, tree.Operators(c.StoreRoot))
	if c.Operator == "" {
		c.Account = ""
		return c
	}
	c.Account = choose(c.Account, tree.Accounts(c.StoreRoot, c.Operator))
	return c
}

// fromCwd derives the context of the folder cwd; root is "" if it has none.
func fromCwd(cwd string, tree Tree) (root, operator, account string) {
	if cwd == "" {
		return "", "", ""
	}
	if !tree.IsOperator(cwd) && len(tree.Operators(cwd)) > 0 {
		return cwd, "", ""
	}
	for dir := cwd; ; dir = filepath.Dir(dir) {
		if tree.IsOperator(dir) {
			return filepath.Dir(dir), filepath.Base(dir), accountBelow(dir, cwd)
		}
		if filepath.Dir(dir) == dir {
			return "", "", ""
		}
	}
}

// accountBelow returns the account of a folder below accounts/ of an operator.
func accountBelow(operatorDir, cwd string) string {
	rel, err := filepath.Rel(operatorDir, cwd)
	if err != nil {
		return ""
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) < 2 || parts[0] != accountsDir {
		return ""
	}
	return parts[1]
}

// choose keeps current if it exists, takes the only choice, else "".
func choose(current string, choices []string) string {
	switch {
	case len(choices) == 1:
		return choices[0]
	case slices.Contains(choices, current):
		return current
	}
	return ""
}

// DiskTree is the [Tree] of the disk. What it cannot read does not exist.
type DiskTree struct{}

// IsOperator implements [Tree].
func (DiskTree) IsOperator(dir string) bool { return isOperator(disk{dir: dir}) }

// Operators implements [Tree].
func (DiskTree) Operators(root string) []string {
	names, err := operators(root)
	if err != nil {
		return nil
	}
	return names
}

// Accounts implements [Tree].
func (DiskTree) Accounts(root, operator string) []string {
	names, err := view{name: operator, tree: disk{dir: filepath.Join(root, operator)}}.Accounts()
	if err != nil {
		return nil
	}
	return names
}
