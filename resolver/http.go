package resolver

import (
	"errors"
	"net/http"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// Handler serves single lookups over HTTP, as the archived account server did.
// The ETag of a claim is its jti.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwt/v1/accounts/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if _, err := keys.ParseAccount(id); err != nil {
			httpError(w, err)
			return
		}
		s.serveJWT(w, r, store.Account, id)
	})
	mux.HandleFunc("GET /jwt/v1/operator", func(w http.ResponseWriter, r *http.Request) {
		s.serveJWT(w, r, store.Operator, "")
	})
	return mux
}

func (s *Service) serveJWT(w http.ResponseWriter, r *http.Request, kind store.Kind, key string) {
	token, err := s.CurrentJWT(r.Context(), kind, key)
	if err != nil {
		httpError(w, err)
		return
	}
	d, err := claims.Decode(token)
	if err != nil {
		s.log.Error("stored claim is damaged", "kind", kind, "key", key, "err", err)
		httpError(w, errors.New("damaged"))
		return
	}
	etag := `"` + d.ID + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = w.Write([]byte(token)) // the client went away
}

func httpError(w http.ResponseWriter, err error) {
	text := "internal error"
	if fault.As(err) != nil {
		text = err.Error()
	}
	http.Error(w, text, fault.HTTPStatus(err))
}
