package serverconfig

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
)

// Tenant is an account of a server without an operator.
type Tenant struct {
	Claims *jwt.AccountClaims
	Users  []User
	// Flows says where each import of Claims takes from; imports that no server
	// honours are not among them.
	Flows []Flow
	// Importers names the accounts that may use each private export, by its index.
	Importers map[int][]string
}

// User is a user who proves its key; May is what it may do.
type User struct {
	Key string
	May jwt.UserPermissionLimits
}

// Flow is an import that works.
type Flow struct {
	Import        *jwt.Import
	Exporter      string // name of the account
	Remote, Local string // subjects on both sides
}

// Static returns the configuration of a server without an operator: the
// accounts by name with their users, who prove their keys. What a configuration
// cannot say is lost: revocations, expiry, times, networks, and limits of users.
// A private export that nobody may use is left out. system names the system
// account, "" for none.
func Static(system string, tenants []Tenant) string {
	all := map[string]staticAccount{}
	for _, t := range tenants {
		all[t.Claims.Name] = static(t)
	}
	out := "accounts: " + indented(all) + "\n"
	if system != "" {
		out = "system_account: " + quoted(system) + "\n\n" + out
	}
	return out
}

type staticAccount struct {
	Users    []staticUser           `json:"users,omitempty"`
	Exports  []map[string]any       `json:"exports,omitempty"`
	Imports  []map[string]any       `json:"imports,omitempty"`
	Mappings map[string][]staticMap `json:"mappings,omitempty"`
	Defaults *staticPermissions     `json:"default_permissions,omitempty"`
	Limits   map[string]int64       `json:"limits,omitempty"`
}

type staticUser struct {
	NKey        string             `json:"nkey"`
	Permissions *staticPermissions `json:"permissions,omitempty"`
	Types       []string           `json:"allowed_connection_types,omitempty"`
}

type staticPermissions struct {
	Publish   *staticPermission `json:"publish,omitempty"`
	Subscribe *staticPermission `json:"subscribe,omitempty"`
	Responses *staticResponses  `json:"allow_responses,omitempty"`
}

type staticPermission struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

type staticResponses struct {
	Max int    `json:"max"`
	TTL string `json:"expires"`
}

type staticMap struct {
	Destination string `json:"destination"`
	Weight      string `json:"weight"`
	Cluster     string `json:"cluster,omitempty"`
}

func static(t Tenant) staticAccount {
	c := t.Claims
	out := staticAccount{Defaults: staticPerms(c.DefaultPermissions)}
	for _, u := range t.Users {
		out.Users = append(out.Users, staticUser{u.Key, staticPerms(u.May.Permissions), u.May.AllowedConnectionTypes})
	}
	for i, ex := range c.Exports {
		if ex.TokenReq && ex.AccountTokenPosition == 0 && len(t.Importers[i]) == 0 {
			continue // a list of nobody would make it public
		}
		out.Exports = append(out.Exports, staticExport(ex, t.Importers[i]))
	}
	for _, f := range t.Flows {
		out.Imports = append(out.Imports, staticImport(f))
	}
	for from, list := range c.Mappings {
		if out.Mappings == nil {
			out.Mappings = map[string][]staticMap{}
		}
		for _, to := range list {
			out.Mappings[string(from)] = append(out.Mappings[string(from)], staticMap{string(to.Subject), percent(to.GetWeight()), to.Cluster})
		}
	}
	for name, n := range map[string]int64{
		"max_connections": c.Limits.Conn, "max_leafnodes": c.Limits.LeafNodeConn,
		"max_subscriptions": c.Limits.Subs, "max_payload": c.Limits.Payload,
	} {
		if n != jwt.NoLimit {
			if out.Limits == nil {
				out.Limits = map[string]int64{}
			}
			out.Limits[name] = n
		}
	}
	return out
}

func staticPerms(p jwt.Permissions) *staticPermissions {
	if p.Pub.Empty() && p.Sub.Empty() && p.Resp == nil {
		return nil
	}
	out := &staticPermissions{}
	if !p.Pub.Empty() {
		out.Publish = &staticPermission{p.Pub.Allow, p.Pub.Deny}
	}
	if !p.Sub.Empty() {
		out.Subscribe = &staticPermission{p.Sub.Allow, p.Sub.Deny}
	}
	if p.Resp != nil {
		ttl := cmp.Or(p.Resp.Expires, 2*time.Minute) // the servers' default
		out.Responses = &staticResponses{cmp.Or(p.Resp.MaxMsgs, 1), ttl.String()}
	}
	return out
}

func staticExport(ex *jwt.Export, importers []string) map[string]any {
	out := map[string]any{ex.Type.String(): string(ex.Subject)}
	if ex.TokenReq && len(importers) > 0 {
		out["accounts"] = slices.Sorted(slices.Values(importers))
	}
	if ex.AccountTokenPosition > 0 {
		out["account_token_position"] = ex.AccountTokenPosition
	}
	if ex.IsService() {
		out["response_type"] = strings.ToLower(cmp.Or(string(ex.ResponseType), string(jwt.ResponseTypeSingleton)))
		if ex.ResponseThreshold > 0 {
			out["response_threshold"] = ex.ResponseThreshold.String()
		}
		if ex.AllowTrace {
			out["allow_trace"] = true
		}
	}
	if ex.Latency != nil {
		sampling := "headers"
		if ex.Latency.Sampling != jwt.Headers {
			sampling = percent(uint8(ex.Latency.Sampling))
		}
		out["latency"] = map[string]any{"subject": string(ex.Latency.Results), "sampling": sampling}
	}
	return out
}

func staticImport(f Flow) map[string]any {
	out := map[string]any{f.Import.Type.String(): map[string]any{"account": f.Exporter, "subject": f.Remote}}
	if f.Local != f.Remote {
		out["to"] = f.Local
	}
	if f.Import.Share {
		out["share"] = true
	}
	if f.Import.AllowTrace {
		out["allow_trace"] = true
	}
	return out
}
