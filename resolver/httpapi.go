package resolver

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

const (
	maxHTTPBody = 1 << 20          // bytes of a posted request, as many as over NATS
	maxHTTPWait = 25 * time.Second // of one proof; below the listener's own limits
)

// apiRoutes adds the requests of package api: the same as over NATS, posted as
// JSON, with the same signed envelopes.
func (s *Service) apiRoutes(mux *http.ServeMux) {
	gate := make(chan struct{}, maxRunning)
	handle := func(subject string, h func(*http.Request, []byte) (any, error)) {
		mux.HandleFunc("POST "+api.HTTPPath(subject), limited(gate, h))
	}
	handle(api.SubjectPut, signedHTTP(s.Put))
	handle(api.SubjectOpPut, signedHTTP(s.PutOperator))
	handle(api.SubjectForget, signedHTTP(s.Forget))
	handle(api.SubjectAllow, signedHTTP(s.Allow))
	handle(api.SubjectReject, signedHTTP(s.Reject))
	handle(api.SubjectKeys, signedHTTP(s.GiveKeys))
	handle(api.SubjectDeny, signedHTTP(s.Deny))
	handle(api.SubjectSealer, readHTTP(s, s.Sealer))
	handle(api.SubjectGet, readHTTP(s, s.Get))
	handle(api.SubjectList, readHTTP(s, s.List))
	handle(api.SubjectStatus, readHTTP(s, s.Status))
	handle(api.SubjectSeen, readHTTP(s, s.Seen))
	handle(api.SubjectStreams, readHTTP(s, s.Streams))
	handle(api.SubjectProof, readHTTP(s, func(ctx context.Context, req api.ProofRequest) api.ProofReply {
		req.WaitMs = min(req.WaitMs, int(maxHTTPWait.Milliseconds()))
		return s.Proof(ctx, req)
	}))
	handle(api.SubjectProofs, readHTTP(s, func(ctx context.Context, req api.ProofsRequest) api.ProofsReply {
		req.WaitMs = min(req.WaitMs, int(maxHTTPWait.Milliseconds()))
		return s.Proofs(ctx, req)
	}))
	mux.HandleFunc("GET "+api.HTTPPath(api.SubjectStatus), limited(gate, func(r *http.Request, _ []byte) (any, error) {
		if err := s.mayRead(r, nil); err != nil {
			return nil, err
		}
		return s.Status(r.Context(), api.StatusRequest{Account: r.URL.Query().Get("account")}), nil
	}))
	mux.HandleFunc("GET "+api.PathInfo, func(w http.ResponseWriter, r *http.Request) {
		info, err := s.info(r.Context())
		if err == nil {
			info.Open = ofThisMachine(r)
		}
		writeJSON(w, info, err)
	})
}

// limited reads the body within its limits and bounds the requests in hand.
func limited(gate chan struct{}, h func(*http.Request, []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case gate <- struct{}{}:
			defer func() { <-gate }()
		default:
			writeJSON(w, nil, fault.New(fault.Unavailable, "accountd is busy").WithHint("try again"))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHTTPBody))
		if err != nil {
			writeJSON(w, nil, fault.New(fault.Invalid, "the request has more than %d bytes or was cut short", maxHTTPBody).ByRule("size"))
			return
		}
		out, err := h(r, body)
		writeJSON(w, out, err)
	}
}

func signedHTTP[R any](call signedCall[R]) func(*http.Request, []byte) (any, error) {
	return func(r *http.Request, body []byte) (any, error) {
		return call(r.Context(), "http", r.Header.Get(api.AuthHeader), body), nil
	}
}

func readHTTP[Q, R any](s *Service, call func(context.Context, Q) R) func(*http.Request, []byte) (any, error) {
	return func(r *http.Request, body []byte) (any, error) {
		if err := s.mayRead(r, body); err != nil {
			return nil, err
		}
		var req Q
		if err := decodeBody(body, &req); err != nil {
			return nil, err
		}
		return call(r.Context(), req), nil
	}
}

// mayRead lets this machine read everything, and others with a signed request:
// lists name every tenant.
func (s *Service) mayRead(r *http.Request, body []byte) error {
	if ofThisMachine(r) {
		return nil
	}
	token := r.Header.Get(api.AuthHeader)
	if token == "" || len(token) > maxRequestToken {
		return fault.New(fault.Denied, "reading from another machine needs a signed request").ByRule("signed request")
	}
	req, err := open(token, body)
	if err != nil {
		return err
	}
	return s.cfg.Store.View(r.Context(), func(rd store.Reader) error {
		g, err := s.grounds(rd, actor{})
		if err != nil {
			return err
		}
		return s.authenticate(g, req)
	})
}

// ofThisMachine reports whether r was made on this machine, and for it: a proxy
// here speaks for others, and a page in a browser here can send what it likes
// to a name of its own that resolves to this machine.
func ofThisMachine(r *http.Request) bool {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(from).IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	asked := (&url.URL{Host: r.Host}).Hostname()
	return asked == "localhost" || net.ParseIP(asked).IsLoopback()
}

func (s *Service) info(ctx context.Context) (*api.Info, error) {
	var trust operator.Trust
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		var err error
		_, trust, err = s.trust(r)
		return err
	})
	if err != nil {
		return nil, s.readError(err).Fault()
	}
	return &api.Info{
		Schema: api.Schema, Service: api.Service, Version: serviceVersion,
		Operator: string(trust.Key), Server: string(s.cfg.Server), Custody: s.custody(trust),
	}, nil
}

// writeJSON answers with v, or with an error alone. The status is that of the
// request, or of its only item.
func writeJSON(w http.ResponseWriter, v any, err error) {
	status := fault.HTTPStatus(err)
	if err != nil {
		v = struct {
			Schema int        `json:"schema"`
			Error  *api.Error `json:"error"`
		}{api.Schema, api.ToError(err)}
	} else if e := errorIn(v); e != nil {
		status = fault.HTTPStatus(e.Fault())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}

// errorIn returns the error that a reply carries.
func errorIn(v any) *api.Error {
	switch r := v.(type) {
	case api.PutReply:
		if r.Error == nil && len(r.Results) == 1 {
			return r.Results[0].Error
		}
		return r.Error
	case api.ForgetReply:
		return r.Error
	case api.DoneReply:
		return r.Error
	case api.SealerReply:
		return r.Error
	case api.GetReply:
		return r.Error
	case api.ListReply:
		return r.Error
	case api.ProofReply:
		return r.Error
	case api.ProofsReply:
		return r.Error
	case api.StatusReply:
		return r.Error
	case api.SeenReply:
		return r.Error
	}
	return nil
}
