package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator/nscstore"
)

// writeEnv writes what shells and the nats tool need to find everything.
func (d *dev) writeEnv() error {
	l := d.folder.layout
	ns, err := nscstore.Open(l.dirs())
	if err != nil {
		return err
	}
	creds, err := ns.Keystore().CredsPath(devOperator, systemName, systemUser)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(l.env(), d.shellEnv(creds), 0o600); err != nil {
		return unwritable(l.env(), err)
	}
	raw, err := json.MarshalIndent(map[string]string{
		"description": "system account of accountd dev",
		"url":         strings.Join(d.state.clientURLs(), ","),
		"creds":       creds,
	}, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "encode context: %w", err)
	}
	if err := durable.MkdirAll(filepath.Dir(l.context()), 0o700); err != nil {
		return unwritable(l.context(), err)
	}
	if err := durable.WriteFile(l.context(), append(raw, '\n'), 0o600); err != nil {
		return unwritable(l.context(), err)
	}
	return nil
}

// shellEnv is the content of DIR/env, for any POSIX shell.
func (d *dev) shellEnv(creds string) []byte {
	l, st := d.folder.layout, d.state
	var b bytes.Buffer
	b.WriteString("# Made by accountd dev at every start. Use it with: . " + quote(l.env()) + "\n")
	if d.opts.BinDir != "" {
		bin := quote(d.opts.BinDir)
		fmt.Fprintf(&b, "case \":$PATH:\" in *:%s:*) ;; *) export PATH=%s:\"$PATH\" ;; esac\n", bin, bin)
	}
	join := func(urls []string) string { return strings.Join(urls, ",") }
	mqtt := st.urls("", func(n nodeState) int { return n.MQTT })
	for i := range mqtt {
		mqtt[i] = strings.TrimPrefix(mqtt[i], "://")
	}
	for _, v := range [][2]string{
		{"NSC_HOME", l.dirs().Config},
		{"NKEYS_PATH", l.dirs().Keys},
		{"ACCOUNTD_HTTP", d.httpURL()},
		{"ACCOUNTD_SYS_CREDS", creds},
		{"NATS_URL", st.clientURLs()[0]},
		{"NATS_URLS", join(st.clientURLs())},
		{"NATS_WS_URLS", join(st.urls("ws", func(n nodeState) int { return n.WebSocket }))},
		{"NATS_MQTT_ADDRS", join(mqtt)},
		{"NATS_LEAF_URLS", join(st.urls("nats-leaf", func(n nodeState) int { return n.Leaf }))},
	} {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], quote(v[1]))
	}
	return b.Bytes()
}

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:,@+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
