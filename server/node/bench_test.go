package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

// BenchmarkCut measures, with idle clients of one account connected, the time
// from the commit of a revocation to the close that the client sees: by a node
// that follows the store, and by a stock server with a directory resolver that
// gets the claim pushed. One op is one revocation.
func BenchmarkCut(b *testing.B) {
	for _, clients := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("clients=%d/way=node", clients), func(b *testing.B) { benchNode(b, clients) })
		b.Run(fmt.Sprintf("clients=%d/way=stock", clients), func(b *testing.B) { benchStock(b, clients) })
	}
}

func crowd(b *testing.B, n *Node, app *tenant, clients int) {
	u := app.user("idle", nil, bearer)
	for range clients {
		c, err := rawDial(n, u.token, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
	}
}

func benchNode(b *testing.B, clients int) {
	w := newWorld(b)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(b, n, app.rec)
	crowd(b, n, app, clients)
	var cuts, sweeps, proofs []time.Duration
	for b.Loop() {
		u := app.user("victim", nil, bearer)
		c, err := rawDial(n, u.token, nil)
		if err != nil {
			b.Fatal(err)
		}
		app.claims.RevokeAt(u.key, time.Now())
		token := app.sign()
		start := time.Now()
		rec := app.putJWT(token)
		cuts = append(cuts, c.gone(b).Sub(start))
		eventually(b, "swept", func() bool { return n.answered(rec).Swept })
		sweeps = append(sweeps, time.Since(start))
		if p := await(b, n, rec); p.State != api.InForce || !p.Swept {
			b.Fatalf("%+v", p)
		}
		proofs = append(proofs, time.Since(start))
		// The next one starts when the server is done with this one.
		n.lock(app.key)()
	}
	report(b, cuts, "cut")
	report(b, sweeps, "swept")
	report(b, proofs, "proven")
}

// BenchmarkCutBackToBack revokes ten users of one account in a row, without
// waiting for any, with idle clients of that account connected: each from its
// own commit to the close that it sees. One op is ten revocations.
func BenchmarkCutBackToBack(b *testing.B) {
	const clients, row = 5000, 10
	w := newWorld(b)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(b, n, app.rec)
	crowd(b, n, app, clients)
	var cuts, last []time.Duration
	for b.Loop() {
		var users [row]*user
		ends := make([]chan time.Time, row)
		for i := range users {
			users[i] = app.user("victim", nil, bearer)
			c, err := rawDial(n, users[i].token, nil)
			if err != nil {
				b.Fatal(err)
			}
			ends[i] = make(chan time.Time, 1)
			go func() { ends[i] <- c.gone(b) }()
		}
		var began [row]time.Time
		var rec store.Record
		for i, u := range users {
			app.claims.RevokeAt(u.key, time.Now())
			token := app.sign()
			began[i] = time.Now()
			rec = app.putJWT(token)
		}
		for i, end := range ends {
			took := (<-end).Sub(began[i])
			cuts = append(cuts, took)
			if i == row-1 {
				last = append(last, took)
			}
		}
		await(b, n, rec)
		n.lock(app.key)()
	}
	report(b, cuts, "cut")
	report(b, last, "last-cut")
}

// answered is what the node can say about a version right now.
func (n *Node) answered(rec store.Record) api.NodeProof {
	p, _ := n.answer(rec.Key, rec.Revision)
	return p
}

func report(b *testing.B, d []time.Duration, what string) {
	slices.Sort(d)
	at := func(q float64) float64 {
		return float64(d[int(q*float64(len(d)-1))]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(0.5), what+"-p50-ms")
	b.ReportMetric(at(0.99), what+"-p99-ms")
}

// stockServer is a server with the directory resolver that comes with it.
func stockServer(b *testing.B, w *world, dir string) (*server.Server, *Node) {
	res, err := server.NewDirAccResolver(dir, 0, time.Hour, server.NoDelete)
	if err != nil {
		b.Fatal(err)
	}
	cfg, err := Config{Name: "stock", Dir: b.TempDir(), Source: w.src, Ports: Ports{Client: -1}}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	op, err := jwt.DecodeOperatorClaims(must(b)(w.operator.Encode(w.root)))
	if err != nil {
		b.Fatal(err)
	}
	opts, err := cfg.serverOptions(op, nil)
	if err != nil {
		b.Fatal(err)
	}
	opts.AccountResolver = res
	srv, err := server.NewServer(opts)
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	b.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		b.Fatal("not ready")
	}
	return srv, &Node{opts: opts, srv: srv}
}

func benchStock(b *testing.B, clients int) {
	w := newWorld(b)
	app := w.account("APP")
	dir := b.TempDir()
	for _, a := range []*tenant{w.sys, app} {
		if err := os.WriteFile(filepath.Join(dir, a.key+".jwt"), []byte(a.rec.JWT), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	srv, n := stockServer(b, w, dir)
	sys, err := nats.Connect("", nats.InProcessServer(srv), w.sys.user("sys", nil).option())
	if err != nil {
		b.Fatal(err)
	}
	defer sys.Close()
	crowd(b, n, app, clients)
	var cuts []time.Duration
	for b.Loop() {
		u := app.user("victim", nil, bearer)
		c, err := rawDial(n, u.token, nil)
		if err != nil {
			b.Fatal(err)
		}
		app.claims.RevokeAt(u.key, time.Now())
		token := app.sign()
		start := time.Now()
		answer := make(chan error, 1)
		go func() {
			_, err := sys.Request("$SYS.REQ.ACCOUNT."+app.key+".CLAIMS.UPDATE", []byte(token), time.Minute)
			answer <- err
		}()
		cuts = append(cuts, c.gone(b).Sub(start))
		if err := <-answer; err != nil {
			b.Fatal(err)
		}
	}
	report(b, cuts, "cut")
}

// BenchmarkStart measures a start until all listeners are open. START_MILLION
// makes it start with 1,000,000 accounts too, our way alone: to fill a directory
// and to start the stock way would take minutes.
func BenchmarkStart(b *testing.B) {
	sizes := []int{1000, 100_000}
	if os.Getenv("START_MILLION") != "" {
		sizes = append(sizes, 1_000_000)
	}
	for _, accounts := range sizes {
		w := newWorld(b)
		recs := fill(b, w, accounts)
		b.Run(fmt.Sprintf("accounts=%d/way=node", accounts), func(b *testing.B) { startNode(b, w) })
		if accounts > 100_000 {
			continue
		}
		b.Run(fmt.Sprintf("accounts=%d/way=stock", accounts), func(b *testing.B) { startStock(b, w, recs) })
	}
}

// fill stores many accounts. They share one JWT: a start does not read them,
// and the stock resolver looks at the file names and digests.
func fill(b *testing.B, w *world, accounts int) map[string]string {
	recs := map[string]string{w.sys.key: w.sys.rec.JWT}
	token := w.unsaved("FILL").sign()
	for i := range accounts {
		key := fmt.Sprintf("A%055d", i)
		w.src.put(store.Record{Kind: store.Account, Key: key, JWT: token, ID: key})
		recs[key] = token
	}
	return recs
}

func startNode(b *testing.B, w *world) {
	dir := b.TempDir()
	n, err := w.startWithin(10*time.Minute, Config{Dir: dir, CatchUp: 10 * time.Minute}) // follows all of them
	if err != nil {
		b.Fatal(err)
	}
	stop(b, n, Now)
	for b.Loop() {
		n, err := w.tryStart(Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop(b, n, Now)
		b.StartTimer()
	}
}

// BenchmarkStartTenants measures a start with JetStream tenants that have a
// stream on the node: the server opens the folder of each.
func BenchmarkStartTenants(b *testing.B) {
	for _, tenants := range []int{1, 100, 500} {
		b.Run(fmt.Sprintf("tenants=%d/way=node", tenants), func(b *testing.B) {
			w, dir := newWorld(b), b.TempDir()
			n := w.start(Config{Dir: dir})
			for i := range tenants {
				app := w.account(fmt.Sprintf("APP%d", i), jetStream)
				inForce(b, n, app.rec)
				nc := connect(b, n, app.user("u", nil))
				js, err := nc.JetStream(nats.MaxWait(time.Minute))
				if err == nil {
					_, err = js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}})
				}
				if err != nil {
					b.Fatal(err)
				}
				nc.Close()
			}
			stop(b, n, Now)
			for b.Loop() {
				n, err := w.tryStart(Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				stop(b, n, Now)
				b.StartTimer()
			}
		})
	}
}

func startStock(b *testing.B, w *world, recs map[string]string) {
	dir := b.TempDir()
	for key, token := range recs {
		if err := os.WriteFile(filepath.Join(dir, key+".jwt"), []byte(token), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		srv, _ := stockServer(b, w, dir)
		b.StopTimer()
		srv.Shutdown()
		srv.WaitForShutdown()
		b.StartTimer()
	}
}
