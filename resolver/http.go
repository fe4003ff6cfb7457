package resolver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// Register serves package api under /v1 of mux, and the endpoints of the archived
// account server under /jwt/v1, so that tools and servers that speak to it
// change nothing but the URL. The ETag of a claim is its jti. Options of
// lookups: ?text (plain text), ?decode (header and body as JSON), ?check (404
// for an expired claim), ?notify (send it to the servers again).
func (s *Service) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /jwt/v1/accounts/{id}", s.serveAccount)
	mux.HandleFunc("GET /jwt/v1/accounts/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK) // servers probe it when they start
	})
	mux.HandleFunc("POST /jwt/v1/accounts/{id}", s.postJWT)
	mux.HandleFunc("GET /jwt/v1/operator", func(w http.ResponseWriter, r *http.Request) {
		s.serveClaim(w, r, store.Operator, "", r.URL.Query())
	})
	mux.HandleFunc("GET /jwt/v1/pack", s.servePack)
	s.apiRoutes(mux)
}

// postJWT admits a pushed account JWT, as nsc push sends it to an http URL. Of
// one that the account signed, If-Match names the version that it follows.
func (s *Service) postJWT(w http.ResponseWriter, r *http.Request) {
	token, err := io.ReadAll(http.MaxBytesReader(w, r.Body, claims.MaxToken+1))
	if err != nil {
		httpError(w, fault.New(fault.Invalid, "the request has more than %d bytes or was cut short", claims.MaxToken).ByRule("size"))
		return
	}
	jwt := strings.TrimSpace(string(token))
	if id := r.PathValue("id"); subjectOf(jwt) != id {
		httpError(w, fault.New(fault.Invalid, "the path does not name the account of the JWT").ByRule("malformed"))
		return
	}
	var res api.Result
	if isSelfSigned(jwt) {
		res, err = s.Countersign(r.Context(), "http", jwt, strings.Trim(r.Header.Get("If-Match"), `"*`))
	} else {
		res, err = s.Push(r.Context(), "http", jwt)
	}
	if err != nil {
		httpError(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, pushedText(res))
}

// servePack lists accounts as lines of key|JWT: up to ?max=N, 500 if absent,
// or all with ?max=all. It names every tenant, so other machines need a signed request.
func (s *Service) servePack(w http.ResponseWriter, r *http.Request) {
	if err := s.mayRead(r, nil); err != nil {
		httpError(w, err)
		return
	}
	limit := 500
	if v := r.URL.Query().Get("max"); v == "all" {
		limit = -1
	} else if v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			httpError(w, fault.New(fault.Usage, "max is a number from 1 on, or all"))
			return
		}
		limit = n
	}
	errEnough, begun := errors.New("enough"), false
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	err := s.Pack(r.Context(), func(key, token string) error {
		if limit == 0 {
			return errEnough
		}
		limit--
		begun = true
		_, err := fmt.Fprintf(w, "%s|%s\n", key, token)
		return err
	})
	if err == nil || errors.Is(err, errEnough) {
		return
	}
	s.log.Error("pack request failed", "err", err, "cause", errors.Unwrap(err))
	if begun {
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	httpError(w, err)
}

func httpError(w http.ResponseWriter, err error) {
	text := api.ToError(err).Message
	if fault.As(err) != nil {
		text = refusalText(err)
	}
	http.Error(w, text, fault.HTTPStatus(err))
}
