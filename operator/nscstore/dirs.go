package nscstore

import (
	"os"
	"path/filepath"

	"github.com/accountd/accountd/fault"
)

// Dirs are the folders of an installation.
type Dirs struct {
	Config string // holds nsc.json
	Stores string // holds one folder per operator
	Keys   string // the keystore: keys/ and creds/

	// NoGitIgnore leaves out the .gitignore of a new keystore.
	NoGitIgnore bool
}

// DirOptions are the inputs of [ResolveDirs].
type DirOptions struct {
	Getenv func(string) string    // environment, nil for an empty one
	Home   string                 // home folder of the user
	Exists func(name string) bool // nil asks the disk

	// Flags of the command line, "" for those not given.
	AllDirs, ConfigDir, DataDir, KeystoreDir string
}

// ResolveDirs finds the folders as the official tool does. Each is the first
// that is set of: AllDirs, its own flag, its variable (NSC_HOME for Config,
// NKEYS_PATH for Keys), the folder of old releases if it exists and the new one
// does not, the folder under XDG_CONFIG_HOME or XDG_DATA_HOME or their
// defaults. The store root remembered in nsc.json is not looked at here: see
// [ResolveContext]. It is fault.Invalid when a folder depends on an unknown
// home.
func ResolveDirs(o DirOptions) (Dirs, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	exists := o.Exists
	if exists == nil {
		exists = existsOnDisk
	}
	config := xdg(getenv("XDG_CONFIG_HOME"), o.Home, ".config")
	data := xdg(getenv("XDG_DATA_HOME"), o.Home, filepath.Join(".local", "share"))
	d := Dirs{
		Config: first(o.AllDirs, o.ConfigDir, getenv("NSC_HOME")),
		Stores: first(o.AllDirs, o.DataDir),
		Keys:   first(o.AllDirs, o.KeystoreDir, getenv("NKEYS_PATH")),

		NoGitIgnore: getenv("NSC_NO_GIT_IGNORE") != "",
	}
	if d.Config == "" {
		d.Config = newOrLegacy(exists, config, "", o.Home, ".nsc", "nsc.json")
	}
	if d.Stores == "" {
		d.Stores = newOrLegacy(exists, data, "stores", o.Home, filepath.Join(".nsc", "nats"), "")
	}
	if d.Keys == "" {
		d.Keys = newOrLegacy(exists, data, "keys", o.Home, ".nkeys", "")
	}
	if d.Config == "" || d.Stores == "" || d.Keys == "" {
		return Dirs{}, fault.New(fault.Invalid, "the home folder is not known").
			WithHint("set HOME, or name the folders with --all-dirs")
	}
	return d, nil
}

// first returns the first of the names that is not empty.
func first(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// xdg is the base folder: the variable's value, else rel below home, else "".
func xdg(value, home, rel string) string {
	if value != "" || home == "" {
		return value
	}
	return filepath.Join(home, rel)
}

// newOrLegacy returns nats/nsc/sub below base, unless that is missing and the
// legacy folder below home exists; with mark, that file in it decides.
func newOrLegacy(exists func(string) bool, base, sub, home, legacy, mark string) string {
	current := ""
	if base != "" {
		current = filepath.Join(base, "nats", "nsc", sub)
	}
	if home == "" || current != "" && exists(filepath.Join(current, mark)) {
		return current
	}
	if old := filepath.Join(home, legacy); exists(filepath.Join(old, mark)) {
		return old
	}
	return current
}

func existsOnDisk(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
