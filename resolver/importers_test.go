package resolver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// TestImportersFollowTheStore: after any changes, what is known of importers is
// what a scan finds.
func TestImportersFollowTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fresh := func(i int) *claims.Document {
		ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
		ac.Name = fmt.Sprintf("a%d", i)
		d := w.sign(w.sk, ac)
		w.mustPut(d, "")
		return d
	}
	var docs []*claims.Document
	for i := range 6 {
		docs = append(docs, fresh(i))
	}
	importing := 0
	for range 80 {
		w.tick()
		i := rand.IntN(len(docs))
		item := api.Item{Base: docs[i].ID}
		if docs[i] = w.edit(docs[i], func(ac *jwt.AccountClaims) {
			ac.Imports = nil
			for _, from := range rand.Perm(len(docs))[:rand.IntN(3)] {
				if from != i {
					subject := jwt.Subject(fmt.Sprintf("s%d.%d", from, i))
					ac.Imports = append(ac.Imports, &jwt.Import{Name: string(subject), Account: docs[from].Subject, Subject: subject, Type: jwt.Stream})
				}
			}
		}); rand.IntN(8) > 0 {
			item.JWT = docs[i].Token
			reply := w.request(api.PutRequest{Items: []api.Item{item}, AllowIncomplete: true})
			if reply.Error != nil || reply.Results[0].Error != nil {
				t.Fatalf("%+v", reply)
			}
		} else {
			item.Delete, item.Force = docs[i].Subject, true
			if res := w.put(item); res.Error != nil {
				t.Fatalf("%+v", res.Error)
			}
			docs[i] = fresh(i)
		}
		err := w.store.View(t.Context(), func(r store.Reader) error {
			for _, d := range docs {
				got, err := w.s.importers.of(r, d.Subject)
				if err != nil {
					return err
				}
				var scanned importers
				want, err := scanned.of(r, d.Subject)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("importers of %s: %q, a scan finds %q, %v", d.Name, got, want, err)
				}
				importing += len(got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if importing == 0 {
		t.Error("nothing was ever imported")
	}
}
