package server

import (
	"path/filepath"

	"github.com/accountd/accountd/operator/nscstore"
)

// Names that the made-up operator of accountd dev has.
const (
	devOperator = "dev"
	devContext  = "accountd-dev" // of the nats tool
	systemName  = "SYS"
	systemUser  = "sys"
	selfUser    = "accountd"
	jsDomain    = "cloud"
)

// layout names the files in the folder of accountd dev. Its value is the
// absolute path of the folder.
type layout string

func (l layout) at(name string) string { return filepath.Join(string(l), filepath.FromSlash(name)) }

func (l layout) lock() string            { return l.at(".lock") }
func (l layout) staging() string         { return l.at(".founding") }
func (l layout) complete() string        { return l.at(".founding/complete") }
func (l layout) own() string             { return l.at("accountd") }
func (l layout) identity() string        { return l.at("accountd/identity") }
func (l layout) sealed(of string) string { return l.at("accountd/" + of + ".sealed") }
func (l layout) state() string           { return l.at("accountd/state.json") }
func (l layout) socket() string          { return l.at("accountd/control.sock") }
func (l layout) nsc() string             { return l.at("nsc") }
func (l layout) store() string           { return l.at("accountd.db") }
func (l layout) nodes() string           { return l.at("nodes") }
func (l layout) node(name string) string { return l.at("nodes/" + name) }
func (l layout) log() string             { return l.at("nodes/servers.log") }
func (l layout) env() string             { return l.at("env") }
func (l layout) context() string         { return l.at("nats/context/" + devContext + ".json") }

// dirs are the folders of the official store.
func (l layout) dirs() nscstore.Dirs {
	return nscstore.Dirs{Config: l.nsc(), Stores: l.at("nsc/stores"), Keys: l.at("nsc/keys")}
}

// staged is the layout inside the staging folder.
func (l layout) staged() layout { return layout(l.staging()) }
