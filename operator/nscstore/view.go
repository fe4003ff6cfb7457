package nscstore

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
)

// Names of the official layout.
const (
	infoFile    = ".nsc"
	jwtSuffix   = ".jwt"
	accountsDir = "accounts"
	usersDir    = "users"
)

// Info is the content of the .nsc file, which makes a folder an operator.
type Info struct {
	Managed bool   // the operator's own service signs accounts
	Name    string // name of the operator; the folder of a managed one may differ
	Kind    string // always "operator"
	Version string
}

// view reads one operator. [Operator] and [Tx] have its methods.
type view struct {
	name string // folder name
	dir  string // absolute path
	tree tree
}

// Name returns the name of the operator's folder.
func (v view) Name() string { return v.name }

// Dir returns the operator's folder.
func (v view) Dir() string { return v.dir }

// Info returns the content of the .nsc file.
func (v view) Info() (Info, error) {
	data, err := v.tree.read(infoFile)
	if err != nil {
		return Info{}, ioFault("read "+infoFile, err)
	}
	info, _, err := decodeInfo(data)
	if err != nil {
		return Info{}, damaged(v.path(infoFile), err)
	}
	return info, nil
}

// decodeInfo reads the content of a .nsc file.
func decodeInfo(data []byte) (Info, document, error) {
	var info Info
	doc, err := parseDocument(data)
	err = errors.Join(err,
		doc.get("managed", &info.Managed),
		doc.get("name", &info.Name),
		doc.get("kind", &info.Kind),
		doc.get("version", &info.Version))
	if err == nil && info.Kind != "operator" {
		err = errors.New("its kind is not operator")
	}
	if err == nil && !safeName(info.Name) {
		err = errors.New("its name cannot be a file name")
	}
	return info, doc, err
}

// isOperator reports whether t is the folder of an operator.
func isOperator(t tree) bool {
	data, err := t.read(infoFile)
	if err != nil {
		return false
	}
	_, _, err = decodeInfo(data)
	return err == nil
}

// JWT returns the operator's JWT; fault.NotFound if it has none yet.
func (v view) JWT() (string, error) {
	name, err := v.operatorFile()
	if err != nil {
		return "", err
	}
	return v.token("operator", v.name, name, nil)
}

// operatorFile is the name of the operator's JWT file.
func (v view) operatorFile() (string, error) {
	info, err := v.Info()
	return info.Name + jwtSuffix, err
}

// Accounts returns the names of the accounts, sorted.
func (v view) Accounts() ([]string, error) {
	dirs, err := v.tree.list(accountsDir)
	if err != nil {
		return nil, ioFault("list accounts", err)
	}
	files := make([]string, len(dirs))
	for i, name := range dirs {
		files[i] = path.Join(name, name+jwtSuffix)
	}
	if files, err = v.tree.files(accountsDir, files); err != nil {
		return nil, ioFault("list accounts", err)
	}
	for i, file := range files {
		files[i] = path.Dir(file)
	}
	return files, nil
}

// Account returns the name of the account that nameOrKey names: its name, or
// its public key. It is fault.NotFound without one.
func (v view) Account(nameOrKey string) (string, error) {
	if err := requireSafe("account", nameOrKey); err != nil {
		return "", err
	}
	if v.tree.has(accountFile(nameOrKey)) {
		return nameOrKey, nil
	}
	names, err := v.Accounts()
	if err != nil {
		return "", err
	}
	if nkeys.IsValidPublicAccountKey(nameOrKey) {
		if name := v.bySubject(nameOrKey, names, accountFile); name != "" {
			return name, nil
		}
	}
	return "", missing("account", nameOrKey, "operator "+v.name, names)
}

// HasAccount reports whether there is an account of that name.
func (v view) HasAccount(name string) bool {
	return requireSafe("account", name) == nil && v.tree.has(accountFile(name))
}

// AccountNames returns the names of the accounts by their public keys. It reads
// every account, and passes over those that are damaged.
func (v view) AccountNames() (map[string]string, error) {
	dirs, err := v.tree.list(accountsDir)
	if err != nil {
		return nil, ioFault("list accounts", err)
	}
	out := make(map[string]string, len(dirs))
	for _, name := range dirs {
		data, err := v.tree.read(accountFile(name))
		if err != nil {
			continue
		}
		if id, _, err := checkToken("account", strings.TrimSpace(string(data))); err == nil {
			out[id.Subject] = name
		}
	}
	return out, nil
}

// AccountsNaming returns the names of the accounts whose claims hold a text as
// it is, such as a public key. It reads every account, and decodes none: those
// that are damaged may be among them.
func (v view) AccountsNaming(text string) ([]string, error) {
	dirs, err := v.tree.list(accountsDir)
	if err != nil {
		return nil, ioFault("list accounts", err)
	}
	var names []string
	for _, name := range dirs {
		data, err := v.tree.read(accountFile(name))
		if err != nil {
			continue
		}
		_, rest, _ := bytes.Cut(data, []byte{'.'})
		payload, _, _ := bytes.Cut(rest, []byte{'.'})
		n, _ := base64.RawURLEncoding.Decode(payload, payload)
		if bytes.Contains(payload[:n], []byte(text)) {
			names = append(names, name)
		}
	}
	return names, nil
}

// AccountJWT returns the JWT of the account named name. A file that is empty or
// no JWT is fault.Invalid and names the file.
func (v view) AccountJWT(name string) (string, error) {
	if err := requireSafe("account", name); err != nil {
		return "", err
	}
	return v.token("account", name, accountFile(name), v.Accounts)
}

// AccountJWTs is AccountJWT for many. Those in known, which may be nil, were read
// before: what is the same still is not checked anew.
func (o *Operator) AccountJWTs(names, known []string) ([]string, error) {
	held, release, err := disk{dir: o.dir}.hold()
	if err != nil {
		return nil, ioFault("open operator "+o.name, err)
	}
	defer release()
	v := view{name: o.name, dir: o.dir, tree: held}
	out := make([]string, len(names))
	for i, name := range names {
		if known != nil {
			data, err := held.read(accountFile(name))
			if out[i] = strings.TrimSpace(string(data)); err == nil && out[i] == known[i] {
				continue
			}
		}
		if out[i], err = v.AccountJWT(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Users returns the names of the users of an account, sorted.
func (v view) Users(account string) ([]string, error) {
	if err := v.requireAccount(account); err != nil {
		return nil, err
	}
	return v.users(account)
}

// requireAccount is fault.NotFound unless the account exists.
func (v view) requireAccount(name string) error {
	if err := requireSafe("account", name); err != nil {
		return err
	}
	if v.tree.has(accountFile(name)) {
		return nil
	}
	names, err := v.Accounts()
	if err != nil {
		return err
	}
	return missing("account", name, "operator "+v.name, names)
}

// users is Users for an account that need not exist.
func (v view) users(account string) ([]string, error) {
	files, err := v.tree.list(path.Join(accountsDir, account, usersDir))
	if err != nil {
		return nil, ioFault("list users", err)
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f, jwtSuffix); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// User returns the name of the user of an account that nameOrKey names: its
// name, or its public key. It is fault.NotFound without one.
func (v view) User(account, nameOrKey string) (string, error) {
	if err := requireSafe("user", nameOrKey); err != nil {
		return "", err
	}
	if v.HasUser(account, nameOrKey) {
		return nameOrKey, nil
	}
	names, err := v.Users(account)
	if err != nil {
		return "", err
	}
	if nkeys.IsValidPublicUserKey(nameOrKey) {
		file := func(user string) string { return userFile(account, user) }
		if name := v.bySubject(nameOrKey, names, file); name != "" {
			return name, nil
		}
	}
	return "", missing("user", nameOrKey, "account "+account, names)
}

// HasUser reports whether an account has a user of that name. Unlike User it
// looks at no other one, however many there are.
func (v view) HasUser(account, user string) bool {
	return requireSafe("account", account) == nil && requireSafe("user", user) == nil && v.tree.has(userFile(account, user))
}

// UserJWT returns the JWT of a user. A file that is empty or no JWT is
// fault.Invalid and names the file.
func (v view) UserJWT(account, user string) (string, error) {
	if err := errors.Join(requireSafe("account", account), requireSafe("user", user)); err != nil {
		return "", err
	}
	return v.token("user", user, userFile(account, user), func() ([]string, error) { return v.Users(account) })
}

// bySubject returns the first name whose JWT is about key, or "". Files that
// cannot be read do not match.
func (v view) bySubject(key string, names []string, file func(string) string) string {
	for _, name := range names {
		data, err := v.tree.read(file(name))
		if err != nil {
			continue
		}
		if id, err := identify(strings.TrimSpace(string(data))); err == nil && id.Subject == key {
			return name
		}
	}
	return ""
}

// token reads the JWT of a thing called name from file; among lists the names
// that exist, for a suggestion.
func (v view) token(kind, name, file string, among func() ([]string, error)) (string, error) {
	data, err := v.tree.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		var names []string
		if among != nil {
			if names, err = among(); err != nil {
				return "", err
			}
		}
		return "", missing(kind, name, "operator "+v.name, names)
	}
	if err != nil {
		return "", ioFault("read JWT of "+kind+" "+name, err)
	}
	token := strings.TrimSpace(string(data))
	if _, _, err := checkToken(kind, token); err != nil {
		return "", damaged(v.path(file), err).
			WithHint("restore the file from a copy, or take it from the service with: nsc pull -A")
	}
	return token, nil
}

// path is the path of a file below the operator's folder.
func (v view) path(name string) string { return filepath.Join(v.dir, filepath.FromSlash(name)) }

func accountFile(account string) string {
	return path.Join(accountsDir, account, account+jwtSuffix)
}

func userFile(account, user string) string {
	return path.Join(accountsDir, account, usersDir, user+jwtSuffix)
}
