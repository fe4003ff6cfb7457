package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// Servers with a resolver of their own take and forget accounts on these
// subjects.
const (
	subjectStockUpdate = "$SYS.REQ.CLAIMS.UPDATE"
	subjectStockDelete = "$SYS.REQ.CLAIMS.DELETE"
)

// stockQuiet ends the wait for servers to say that they are there.
const stockQuiet = 300 * time.Millisecond

// noService reports whether servers answered and no accountd did.
func noService(err error) bool { return errors.Is(err, api.ErrNoService) }

// stockPush gives new versions to servers without accountd. Their answers say
// that they stored a claim, which proves nothing about what they enforce. What
// accountd has taken before is not pushed past it.
func (s *session) stockPush(ctx context.Context, r *root, items []api.Item, cause error) ([]api.Result, error) {
	if s.link.connect == nil {
		return nil, cause // an HTTP server of another kind
	}
	docs := make([]*claims.Document, len(items))
	for i, item := range items {
		if item.Delete != "" {
			return nil, fault.New(fault.Denied, "servers without accountd cannot be proven to delete an account: %w", cause).
				ByRule("no-service").WithHint("remove it from the servers with: nsc push --account-removal %s, and from the local store with --no-push", item.Delete)
		}
		var err error
		if docs[i], err = claims.Decode(item.JWT); err != nil {
			return nil, err
		}
		if pub, _, err := r.Published(docs[i].Subject); err != nil || pub.Revision > 0 {
			return nil, errors.Join(cause, err)
		}
	}
	answers, err := s.askStock(ctx, subjectStockUpdate, tokens(docs))
	if err != nil {
		return nil, err
	}
	out := make([]api.Result, len(items))
	for i, doc := range docs {
		out[i] = api.Result{Key: doc.Subject, Name: doc.Name, Outcome: outcomePushed, ID: doc.ID}
		s.pushed[doc.Subject] = answers[i]
	}
	return out, nil
}

func tokens(docs []*claims.Document) []string {
	out := make([]string, len(docs))
	for i, doc := range docs {
		out[i] = doc.Token
	}
	return out
}

// askStock sends requests to every server that keeps accounts in a folder, and
// returns what each of them answered to each request.
func (s *session) askStock(ctx context.Context, subject string, bodies []string) ([][]api.NodeProof, error) {
	nc, err := s.link.connect(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "no server answers: %w", err)
	}
	defer nc.Close()
	g := &gatherer{nc: nc, timeout: s.flags.timeout, quiet: stockQuiet}
	servers, err := g.directories(ctx)
	if err != nil {
		return nil, err
	}
	if servers == 0 {
		return nil, fault.New(fault.Unavailable, "no server at %s takes claims", nc.ConnectedUrl()).
			WithHint("configure one with: nsc generate config --nats-resolver")
	}
	out := make([][]api.NodeProof, len(bodies))
	questions := make([]question, len(bodies))
	for i, body := range bodies {
		questions[i] = question{subject: subject, body: body, answers: servers, take: func(data []byte) {
			out[i] = append(out[i], stockAnswer(data))
		}}
	}
	return out, g.round(ctx, questions)
}

func nextMsg(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	if err == nil && len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return nil, nats.ErrNoResponders
	}
	return msg, err
}

// stockAnswer reads the answer of one server.
func stockAnswer(data []byte) api.NodeProof {
	var a struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
		Data struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"data"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return api.NodeProof{Server: "?", State: api.Rejected, Reason: "answered in an unknown form"}
	}
	n := api.NodeProof{Server: first(a.Server.Name, "?"), State: api.Pending, Reason: "taken, not proven"}
	switch {
	case a.Error != nil:
		n.State, n.Reason = api.Rejected, a.Error.Description
	case a.Data.Code != 200:
		n.State, n.Reason = api.Rejected, fmt.Sprintf("%s (%d)", a.Data.Message, a.Data.Code)
	}
	return n
}

// pushedTo returns the function that ends a push without proof.
func pushedTo(nodes []api.NodeProof) func(*receipt) error {
	return func(rec *receipt) error {
		rec.Outcome, rec.Nodes = outcomePushed, nodes
		for _, n := range nodes {
			if n.State == api.Rejected {
				return fault.New(fault.Pending, "server %s did not take %s: %s", n.Server, rec.Name, n.Reason).About(rec.Kind, rec.Name)
			}
		}
		return nil
	}
}
