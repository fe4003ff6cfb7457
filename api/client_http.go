package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/accountd/accountd/fault"
)

// Paths of the service over HTTP: each request of package api is posted as JSON
// to HTTPPath of its subject, with the signed envelope in AuthHeader.
const (
	PathInfo = "/v1/info"
	// maxReply bounds what a client reads of an answer, in bytes.
	maxReply = 8 << 20
)

// HTTPPath returns the path that answers what subject answers over NATS.
func HTTPPath(subject string) string {
	path := "/" + strings.ReplaceAll(strings.TrimPrefix(subject, "accountd."), ".", "/")
	return strings.TrimSuffix(path, "/put") // a put is a POST of the thing itself
}

// Info is the answer to GET PathInfo.
type Info struct {
	Schema   int    `json:"schema"`
	Service  string `json:"service"` // accountd
	Version  string `json:"version"`
	Operator string `json:"operator"`
	Server   string `json:"server"`
	Custody  string `json:"custody"`
	Open     bool   `json:"open"` // whoever asks may read without a signature
}

type httpLink struct {
	base   string // scheme and host, without a slash at the end
	client *http.Client
}

// DialHTTP asks accountd at the http or https URL base, whose path is ignored,
// who it is. cfg is for TLS, nil for the defaults. Errors: fault.Unavailable when nobody or no accountd answers.
func DialHTTP(ctx context.Context, base string, now func() time.Time, cfg *tls.Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "%q is not an http or https URL", base)
	}
	l := httpLink{base: u.Scheme + "://" + u.Host, client: httpClient(cfg, func(*http.Request, []*http.Request) error {
		return errors.New("accountd does not redirect") // a signed request is for one place
	})}
	data, status, err := l.do(ctx, http.MethodGet, PathInfo, "", nil)
	if err != nil {
		return nil, err
	}
	var info Info
	if status != http.StatusOK || json.Unmarshal(data, &info) != nil || info.Service != Service {
		return nil, fault.New(fault.Unavailable, "%w at %s", ErrNoService, l.base).About("server", l.base)
	}
	return &Client{Operator: info.Operator, Server: info.Server, Custody: info.Custody, Open: info.Open, link: l, now: now}, nil
}

func httpClient(cfg *tls.Config, redirect func(*http.Request, []*http.Request) error) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, TLSClientConfig: cfg, ForceAttemptHTTP2: true},
		CheckRedirect: redirect,
	}
}

func (l httpLink) close() { l.client.CloseIdleConnections() }

func (l httpLink) send(ctx context.Context, subject, auth string, body []byte) ([]byte, error) {
	data, _, err := l.do(ctx, http.MethodPost, HTTPPath(subject), auth, body)
	return data, err
}

func (l httpLink) do(ctx context.Context, method, path, auth string, body []byte) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, fault.New(fault.Internal, "make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if auth != "" {
		req.Header.Set(AuthHeader, auth)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "accountd at %s did not answer: %w", l.base, err).About("server", l.base)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "accountd at %s did not finish its answer: %w", l.base, err).About("server", l.base)
	}
	return data, resp.StatusCode, nil
}
