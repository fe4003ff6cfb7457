package resolver

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/accountd/accountd/store"
)

// importers knows which stored accounts import from which.
type importers struct {
	index
	imports
}

// imports are the edges between accounts.
type imports struct {
	from map[string][]string        // exporters of an importer
	to   map[string]map[string]bool // importers of an exporter
}

// of returns the importers of an account, sorted. It must be asked before r
// writes.
func (x *importers) of(r store.Reader, exporter string) ([]string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.update(r, x.reset, x.set); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(x.to[exporter])), nil
}

func (x *imports) reset() { x.from, x.to = map[string][]string{}, map[string]map[string]bool{} }

// set takes the newest version of an account.
func (x *imports) set(rec store.Record) {
	for _, exporter := range x.from[rec.Key] {
		if delete(x.to[exporter], rec.Key); len(x.to[exporter]) == 0 {
			delete(x.to, exporter)
		}
	}
	delete(x.from, rec.Key)
	for _, exporter := range importsOf(rec) {
		x.from[rec.Key] = append(x.from[rec.Key], exporter)
		if x.to[exporter] == nil {
			x.to[exporter] = map[string]bool{}
		}
		x.to[exporter][rec.Key] = true
	}
}

// importsOf returns the exporters of a stored account.
func importsOf(rec store.Record) []string {
	parts := strings.Split(rec.JWT, ".")
	if rec.Deleted || len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(payload), `"imports"`) {
		return nil
	}
	var c struct {
		Nats struct {
			Imports []*struct {
				Account string `json:"account"`
			} `json:"imports"`
		} `json:"nats"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil
	}
	var out []string
	for _, im := range c.Nats.Imports {
		if im != nil && !slices.Contains(out, im.Account) {
			out = append(out, im.Account)
		}
	}
	return out
}
