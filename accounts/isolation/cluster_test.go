package isolation_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/internal/natstest"
)

// clusterName is what mappings bound to a cluster name.
const clusterName = "c1"

// cluster is two real servers of one operator in this process.
type cluster struct {
	operator pair
	claims   *jwt.OperatorClaims
	system   *tenantKeys
	resolver *server.MemAccResolver
	nodes    []*server.Server
	leafs    []int   // ports for leaf nodes
	control  []*conn // one connection to each node, in an account of their own
	beats    int
}

// pair is a key with its public side.
type pair struct {
	kp  nkeys.KeyPair
	pub string
}

func newPair(kind nkeys.PrefixByte) pair {
	kp, err := nkeys.CreatePair(kind)
	if err != nil {
		panic(err) // without random numbers nothing can be tested
	}
	pub, err := kp.PublicKey()
	if err != nil {
		panic(err)
	}
	return pair{kp, pub}
}

// startCluster starts the servers and returns when they hear each other.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{operator: newPair(nkeys.PrefixByteOperator), resolver: &server.MemAccResolver{}}
	c.system = newTenant("SYS")
	c.claims = jwt.NewOperatorClaims(c.operator.pub)
	c.claims.SystemAccount = c.system.pub
	c.store(t, c.system.claims)
	ports := natstest.FreePorts(t, 4)
	ports, c.leafs = ports[:2], ports[2:]
	for i := range ports {
		c.nodes = append(c.nodes, c.start(t, i, ports))
	}
	for _, n := range c.nodes {
		if !n.ReadyForConnections(20 * time.Second) {
			t.Fatalf("%s does not listen", n.Name())
		}
	}
	natstest.Eventually(t, 20*time.Second, func() error {
		for _, n := range c.nodes {
			if n.NumRemotes() != len(c.nodes)-1 {
				return fmt.Errorf("%s has %d remotes", n.Name(), n.NumRemotes())
			}
		}
		return nil
	})
	c.startControl(t)
	return c
}

func (c *cluster) start(t testing.TB, i int, ports []int) *server.Server {
	t.Helper()
	opts := &server.Options{
		ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		TrustedOperators: []*jwt.OperatorClaims{c.claims}, SystemAccount: c.system.pub, AccountResolver: c.resolver,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 64 << 20,
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: c.leafs[i], Compression: server.CompressionOpts{Mode: server.CompressionOff}},
		// One connection between the servers keeps everything in order.
		Cluster: server.ClusterOpts{Name: clusterName, Host: "127.0.0.1", Port: ports[i], PoolSize: -1},
		Routes:  []*url.URL{{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[1-i])}},
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// store signs claims of an account and lets servers find them.
func (c *cluster) store(t testing.TB, ac *jwt.AccountClaims) {
	t.Helper()
	token, err := ac.Encode(c.operator.kp)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.resolver.Store(ac.Subject, token); err != nil {
		t.Fatal(err)
	}
}

// startControl connects to both servers and waits until each hears the other.
func (c *cluster) startControl(t testing.TB) {
	t.Helper()
	ctl := newTenant("CTL")
	c.store(t, ctl.claims)
	u := ctl.newUser("ctl")
	for _, n := range c.nodes {
		k, refusal := dial(t, n, u)
		if refusal != "" {
			t.Fatal(refusal)
		}
		if why := k.subscribe("beat.*", ""); why != "" {
			t.Fatal(why)
		}
		c.control = append(c.control, k)
	}
	natstest.Eventually(t, 20*time.Second, func() error {
		for i, k := range c.control {
			k.publish([]message{{subject: "beat.start", id: "0"}})
			if len(c.control[1-i].collect()["0"]) == 0 {
				return fmt.Errorf("node %d does not hear node %d", 1-i, i)
			}
		}
		return nil
	})
}

// settle returns when everything that each server has sent to the other was
// taken up there: messages and interest share one connection, in order.
func (c *cluster) settle(t testing.TB) {
	t.Helper()
	for i, k := range c.control {
		c.beats++
		id := "b" + strconv.Itoa(c.beats)
		k.publish([]message{{subject: "beat.x", id: id}})
		c.control[1-i].await(id)
	}
}

// message is one publish. Its payload is the id.
type message struct{ subject, reply, id string }

// conn is a client of the bare protocol, which sends what a hostile client can
// and sees errors in their order.
type conn struct {
	t    testing.TB
	leaf bool // it speaks as a leaf node does
	nc   net.Conn
	r    *bufio.Reader
	got  map[string][]string // subjects on which the message of an id arrived
	// replies of the messages, by id
	reply map[string]string
}

// dial logs in as a client and returns why the server refuses, "" if it does not.
func dial(t testing.TB, s *server.Server, u *user) (*conn, string) {
	t.Helper()
	return dialAt(t, s.Addr().String(), u, false)
}

// dial logs in to one server, as a client or as a hostile leaf node, which keeps
// back nothing that the server would have to refuse.
func (c *cluster) dial(t testing.TB, node int, u *user, leaf bool) (*conn, string) {
	t.Helper()
	if !leaf {
		return dial(t, c.nodes[node], u)
	}
	return dialAt(t, fmt.Sprintf("127.0.0.1:%d", c.leafs[node]), u, true)
}

func dialAt(t testing.TB, addr string, u *user, leaf bool) (*conn, string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	c := &conn{t: t, leaf: leaf, nc: nc, r: bufio.NewReader(nc), got: map[string][]string{}, reply: map[string]string{}}
	var info struct {
		Nonce string `json:"nonce"`
	}
	line, err := c.r.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	sig, err := u.kp.Sign([]byte(info.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	say := map[string]any{"jwt": u.token, "sig": base64.RawURLEncoding.EncodeToString(sig), "headers": true, "protocol": 1}
	if leaf {
		name := nc.LocalAddr().String() // no two are called the same
		say["name"], say["server_id"], say["version"] = name, name, server.VERSION
	} else {
		say["verbose"], say["pedantic"], say["lang"] = false, false, "go"
	}
	hello, err := json.Marshal(say)
	if err != nil {
		t.Fatal(err)
	}
	errs := c.exchange(fmt.Sprintf("CONNECT %s\r\n", hello))
	return c, errs
}

// answerWithin is how long a server may take to answer a ping.
const answerWithin = 20 * time.Second

// exchange sends operations and returns the error that the server gives before
// it answers the ping behind them, "" for none.
func (c *conn) exchange(ops string) string {
	if _, err := c.nc.Write([]byte(ops + "PING\r\n")); err != nil {
		return err.Error()
	}
	return c.untilPong()
}

func (c *conn) untilPong() string {
	if err := c.nc.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return err.Error()
	}
	problem := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			if problem == "" {
				problem = "closed: " + err.Error()
			}
			return problem
		}
		switch op, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " "); op {
		case "PONG":
			return problem
		case "PING":
			_, _ = c.nc.Write([]byte("PONG\r\n"))
		case "-ERR":
			problem = rest
		case "MSG", "HMSG", "LMSG":
			c.take(op, strings.Fields(rest))
		}
	}
}

// take reads the body of a message.
func (c *conn) take(op string, words []string) {
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		c.t.Fatal(err)
	}
	head := 0
	before := 2 // subject and subscription
	if c.leaf {
		before = 1
	}
	fixed := before + 1
	if op == "HMSG" {
		fixed++
		if head, err = strconv.Atoi(words[len(words)-2]); err != nil {
			c.t.Fatal(err)
		}
	}
	body := make([]byte, size+2)
	for n := 0; n < len(body); {
		k, err := c.r.Read(body[n:])
		if err != nil {
			c.t.Fatal(err)
		}
		n += k
	}
	id := string(body[head:size])
	c.got[id] = append(c.got[id], words[0])
	if len(words) > fixed && words[before] != "|" { // which goes before queues
		c.reply[id] = words[before]
		if words[before] == "+" {
			c.reply[id] = words[before+1]
		}
	}
}

// subscribe returns why the server refuses.
func (c *conn) subscribe(pattern, queue string) string {
	switch {
	case c.leaf && queue != "":
		return c.exchange(fmt.Sprintf("LS+ %s %s 1\r\n", pattern, queue))
	case c.leaf:
		return c.exchange(fmt.Sprintf("LS+ %s\r\n", pattern))
	}
	return c.exchange(fmt.Sprintf("SUB %s %s 1\r\n", pattern, queue))
}

// publish sends messages and returns the errors of those that are refused.
func (c *conn) publish(list []message) []string {
	var b strings.Builder
	op := "PUB"
	if c.leaf {
		op = "LMSG"
	}
	for _, m := range list {
		fmt.Fprintf(&b, op+" %s %s %d\r\n%s\r\nPING\r\n", m.subject, m.reply, len(m.id), m.id)
	}
	if _, err := c.nc.Write([]byte(b.String())); err != nil {
		c.t.Fatal(err)
	}
	errs := make([]string, len(list))
	for i := range list {
		errs[i] = c.untilPong()
	}
	return errs
}

// collect returns what has arrived, by id.
func (c *conn) collect() map[string][]string {
	c.exchange("")
	return c.got
}

// await reads until the message of an id arrives.
func (c *conn) await(id string) {
	for len(c.got[id]) == 0 {
		if why := c.exchange(""); why != "" {
			c.t.Fatal(why)
		}
	}
}
