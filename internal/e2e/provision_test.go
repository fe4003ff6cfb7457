package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// provisions lets devices enrol themselves: each makes its key, exchanges a
// token, and may use what is below its own name, and nothing else.
func (s *story) provisions() {
	t := s.t
	s.nsc(append([]string{"add", "fleet", "audience", "-a", "qcon", "--cohorts", "4", "--ttl", "1h"}, mayUseData...)...)
	s.nsc("add", "enrollment-group", "phones", "-a", "qcon", "--fleet", "audience")
	file := filepath.Join(s.dir, "phones.token")
	if code := s.nsc("token", "create", "-a", "qcon", "--group", "phones", "--uses", "2", "--expires", "10m", "--id-pattern", "seat-*", "--out", file, "--qr").out; len(strings.Split(code, "\n")) < 40 {
		t.Errorf("no QR code was shown:\n%s", code)
	}
	at := func(seat string) string { return filepath.Join(s.dir, seat) }
	for _, seat := range []string{"seat-1", "seat-2"} {
		s.nsc("device", "enroll", "--token", file, "--dir", at(seat), "--id", seat)
		s.nsc("device", "renew", "--dir", at(seat))
	}
	s.nscExits(4, "device", "enroll", "--token", file, "--dir", at("seat-3"), "--id", "seat-3") // it is used up
	creds := filepath.Join(at("seat-1"), "device.creds")
	for i, server := range s.ready.Nodes {
		for _, url := range []string{server.URL, server.WS} {
			for subject, may := range map[string]bool{"qcon.seat-1.os": true, "qcon.seat-2.os": false, "qcon.>": false, "answers": false} {
				if got := s.allowed(url, creds, subject); got != may {
					t.Errorf("nats-%d: a device may use %s: %v", i, subject, got)
				}
			}
		}
	}
}

// mqttProvisions lets a microcontroller enrol that cannot sign: its JWT is a
// password, short-lived and good for MQTT alone.
func (s *story) mqttProvisions() {
	t := s.t
	s.nsc("add", "fleet", "chips", "-a", "qcon", "--cohorts", "2", "--ttl", "10m", "--bearer", "--conn-type", "MQTT")
	s.nsc("add", "enrollment-group", "boards", "-a", "qcon", "--fleet", "chips")
	file, dir := filepath.Join(s.dir, "chip.token"), filepath.Join(s.dir, "chip-7")
	s.nsc("token", "create", "-a", "qcon", "--group", "boards", "--id-pattern", "chip-7", "--out", file)
	s.nsc("device", "enroll", "--token", file, "--dir", dir, "--bearer")
	creds := filepath.Join(dir, "device.creds")
	if _, err := tryDial(s.ready.Nodes[0].URL, creds); err == nil {
		t.Error("a chip may connect otherwise than over MQTT")
	}
	password, err := os.ReadFile(filepath.Join(dir, "device.jwt"))
	if err != nil || strings.TrimSpace(string(password)) != token(t, creds) {
		t.Fatalf("the JWT is not that of the credentials: %v", err)
	}
	chip := s.mqtt(s.ready.Nodes[2].MQTT, creds)
	listener := s.dial(s.ready.Nodes[0].URL, s.user("qcon", "listener"))
	heard, err := listener.SubscribeSync("qcon.>")
	if err := errors.Join(err, listener.Flush()); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() error {
		if err := chip.Publish("qcon/chip-7/os", []byte("rtos")); err != nil {
			t.Fatal(err)
		}
		m, err := heard.NextMsg(time.Second)
		if err != nil || m.Subject != "qcon.chip-7.os" {
			return fmt.Errorf("heard %+v, %w", m, err)
		}
		return nil
	})
}

// allowed reports whether servers let who has creds subscribe to a subject.
func (s *story) allowed(url, creds, subject string) bool {
	s.t.Helper()
	nc := s.dial(url, creds, nats.NoReconnect())
	defer nc.Close()
	_, err := nc.SubscribeSync(subject)
	if err := errors.Join(err, nc.FlushTimeout(5*time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return nc.LastError() == nil // a refusal comes before the answer to the flush
}
