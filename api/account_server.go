package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// maxRedirects bounds the redirects that are followed, on one host.
const maxRedirects = 5

// maxServerText bounds what is shown of the text of a server, in bytes.
const maxServerText = 400

// AccountServer speaks to a server that takes and gives claims over HTTP as the
// archived account server did; accountd is one of them. Nothing that it says is
// trusted: who asks checks the claims.
type AccountServer struct {
	base   string // without a slash at the end
	client *http.Client
}

// NewAccountServer returns the account server at the http or https URL base, as
// the claims of an operator name it. cfg is for TLS, nil for the defaults.
func NewAccountServer(base string, cfg *tls.Config) (*AccountServer, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "%q is not an http or https URL", base)
	}
	return &AccountServer{base: strings.TrimRight(base, "/"), client: httpClient(cfg, stayOnHost)}, nil
}

// Close ends its connections.
func (a *AccountServer) Close() { a.client.CloseIdleConnections() }

// Claim returns the JWT at base itself, which is the URL of an operator's.
func (a *AccountServer) Claim(ctx context.Context) (string, error) {
	_, text, err := a.do(ctx, http.MethodGet, "", "", "")
	return text, err
}

// Operator returns the operator's JWT.
func (a *AccountServer) Operator(ctx context.Context) (string, error) {
	_, text, err := a.do(ctx, http.MethodGet, "/operator", "", "")
	return text, err
}

// Account returns the JWT of an account; fault.NotFound if there is none.
func (a *AccountServer) Account(ctx context.Context, key string) (string, error) {
	_, text, err := a.do(ctx, http.MethodGet, "/accounts/"+key, "", "")
	return text, err
}

// Post sends a version of an account, which its own key may have signed. base
// is the jti of the version that it replaces, "" where that is not known;
// accountd refuses it with fault.Conflict where another one is stored. It
// returns what the server says about it. fault.Pending means that the version
// waits for the operator, fault.Unavailable that it is not known whether it was
// taken.
func (a *AccountServer) Post(ctx context.Context, key, token, base string) (string, error) {
	status, text, err := a.do(ctx, http.MethodPost, "/accounts/"+key, token, base)
	if err == nil && status == http.StatusAccepted {
		return "", fault.New(fault.Pending, "%s", shown(text)).ByRule("proposed")
	}
	return shown(text), err
}

func (a *AccountServer) do(ctx context.Context, method, path, body, base string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", fault.New(fault.Usage, "%q is no URL of an account server: %w", a.base, err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/jwt")
	}
	if base != "" {
		req.Header.Set("If-Match", `"`+base+`"`)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, "", fault.New(fault.Unavailable, "the account server did not answer: %w", err).About("server", a.base)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, claims.MaxToken+1))
	switch {
	case err != nil:
		return 0, "", fault.New(fault.Unavailable, "the account server at %s did not finish its answer: %w", a.base, err).About("server", a.base)
	case len(data) > claims.MaxToken:
		return 0, "", fault.New(fault.Untrusted, "the account server at %s answers with more than %d bytes", a.base, claims.MaxToken).About("server", a.base).ByRule("size")
	}
	text := strings.TrimSpace(string(data))
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, "", fault.New(statusCode(resp.StatusCode), "%s answers %s: %s", a.base, resp.Status, shown(text)).About("server", a.base)
	}
	return resp.StatusCode, text, nil
}

// statusCode is the code of a refusal with an HTTP status. Of what is not known
// to be a refusal, nobody knows whether it was done.
func statusCode(status int) fault.Code {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fault.Invalid
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		return fault.Denied
	case http.StatusNotFound, http.StatusGone:
		return fault.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return fault.Conflict
	}
	return fault.Unavailable
}

// shown is the text of a server in one line that a terminal may show.
func shown(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, text)
	if len(text) > maxServerText {
		text = strings.ToValidUTF8(text[:maxServerText], "") + "…"
	}
	return strings.TrimSpace(text)
}

// stayOnHost follows redirects that stay on the host and keep the method.
func stayOnHost(req *http.Request, via []*http.Request) error {
	was := via[0]
	switch {
	case req.URL.Host != was.URL.Host || req.URL.Scheme != was.URL.Scheme:
		return errors.New("it redirects to another host")
	case req.Method != was.Method:
		return errors.New("it redirects to a page that takes nothing")
	case len(via) > maxRedirects:
		return errors.New("it redirects without end")
	}
	return nil
}
