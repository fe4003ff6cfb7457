package main

import (
	"testing"
	"time"

	"github.com/accountd/accountd/api"
)

func TestSeen(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	account := d.putAccount(t, "qcon")
	d.userOf(t, account, 0)
	re, err := d.client(t).Seen(t.Context(), api.SeenRequest{Account: account.PublicKey(), User: "*"})
	if err != nil || re.Connections != 1 || time.Since(time.Unix(re.IssuedAt, 0)) > time.Minute {
		t.Errorf("%+v %v", re, err)
	}
	d.ends(t)
}
