package accounts

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// ExportEdit says what an export to add is like, or is a change of one. What is
// nil stays as it is, and of a new export as usual: a public stream that is
// named after its subject.
type ExportEdit struct {
	Name, Description, InfoURL *string
	Service, Private           *bool // else a stream, and public

	TokenPosition *uint // public only: the wildcard token, from 1, that is the importer's key; 0 for none
	Advertise     *bool

	// Services only; an export that becomes a stream loses them.
	ResponseType      *string // as [ParseResponseType] returns it
	ResponseThreshold *time.Duration
	AllowTrace        *bool
	Latency           *string // the subject that measurements go to, "" for none
	Sampling          *int    // as [ParseSampling] returns it
}

// ParseResponseType reads Singleton, Stream or Chunked in any case.
func ParseResponseType(s string) (string, error) {
	for _, t := range []string{jwt.ResponseTypeSingleton, jwt.ResponseTypeStream, jwt.ResponseTypeChunked} {
		if strings.EqualFold(s, t) {
			return t, nil
		}
	}
	return "", invalid("response-type", "%q is no response type; there are Singleton, Stream and Chunked", s)
}

// ParseSampling reads which requests are measured: a percentage, 1 to 100, or
// "header", which is 0, for those that carry a tracing header.
func ParseSampling(s string) (int, error) {
	if strings.EqualFold(s, "header") || strings.EqualFold(s, "headers") {
		return int(jwt.Headers), nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 1 || n > 100 {
		return 0, invalid("sampling", "%q is neither a percentage, 1 to 100, nor header", s)
	}
	return n, nil
}

// Add adds an export of subject to ac. It is fault.Conflict when ac exports
// some of it already in the same way, and fault.Invalid for what servers refuse.
func (e ExportEdit) Add(ac *jwt.AccountClaims, subject string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	ex := &jwt.Export{Subject: jwt.Subject(subject), Type: jwt.Stream}
	if err := e.change(ex); err != nil {
		return err
	}
	if ex.Name == "" {
		ex.Name = subject
	}
	for _, other := range ac.Exports {
		if other == nil || other.Type != ex.Type {
			continue
		}
		if have := string(other.Subject); Within(subject, have) || Within(have, subject) {
			return fault.New(fault.Conflict, "account %q exports the %s %q already, which overlaps %q", ac.Name, other.Type, have, subject).
				About("export", subject).ByRule("overlap").
				WithHint("change that one with: nsc edit export -a %s -s '%s', or remove it with nsc delete export", ac.Name, have)
		}
	}
	ac.Exports.Add(ex)
	return CheckAccount(ac)
}

// Apply changes the export of ac that at names; where at leaves a stream and a
// service, Service says which of them. The revocations of activations stay, and
// errors are those of [ExportRef.Find] and of Add.
func (e ExportEdit) Apply(ac *jwt.AccountClaims, at ExportRef) error {
	ex, err := at.Find(ac)
	if fault.Is(err, fault.Usage) && e.Service != nil {
		at.Type = jwt.Stream
		if *e.Service {
			at.Type = jwt.Service
		}
		ex, err = at.Find(ac)
	}
	if err != nil {
		return err
	}
	if err := e.change(ex); err != nil {
		return err
	}
	return CheckAccount(ac)
}

func (e ExportEdit) change(ex *jwt.Export) error {
	set(&ex.Name, e.Name)
	set(&ex.Description, e.Description)
	set(&ex.InfoURL, e.InfoURL)
	set(&ex.TokenReq, e.Private)
	set(&ex.AccountTokenPosition, e.TokenPosition)
	set(&ex.Advertise, e.Advertise)
	if e.Service != nil {
		ex.Type = jwt.Stream
		if *e.Service {
			ex.Type = jwt.Service
		}
	}
	if ex.TokenReq && ex.AccountTokenPosition > 0 {
		return invalid("token-position", "the export %q is private: a token of the subject admits importers to public exports only", ex.Subject)
	}
	if ex.IsService() {
		return e.service(ex)
	}
	if what := e.servicesOnly(); what != "" {
		return invalid("service-only", "the export %q is a stream, and %s is for services", ex.Subject, what).
			WithHint("export a service with --service")
	}
	ex.ResponseType, ex.ResponseThreshold, ex.AllowTrace, ex.Latency = "", 0, false, nil
	return nil
}

// servicesOnly names what e sets and streams do not have.
func (e ExportEdit) servicesOnly() string {
	switch {
	case e.ResponseType != nil:
		return "the type of responses"
	case e.ResponseThreshold != nil && *e.ResponseThreshold != 0:
		return "the response threshold"
	case e.AllowTrace != nil && *e.AllowTrace:
		return "tracing"
	case e.Latency != nil && *e.Latency != "", e.Sampling != nil:
		return "measuring latency"
	}
	return ""
}

func (e ExportEdit) service(ex *jwt.Export) error {
	if ex.ResponseType == "" {
		ex.ResponseType = jwt.ResponseTypeSingleton
	}
	if e.ResponseType != nil {
		ex.ResponseType = jwt.ResponseType(*e.ResponseType)
	}
	set(&ex.ResponseThreshold, e.ResponseThreshold)
	set(&ex.AllowTrace, e.AllowTrace)
	if e.Latency != nil {
		switch {
		case *e.Latency == "":
			ex.Latency = nil
		case ex.Latency == nil:
			ex.Latency = &jwt.ServiceLatency{}
			fallthrough
		default:
			ex.Latency.Results = jwt.Subject(*e.Latency)
		}
	}
	if e.Sampling == nil {
		return nil
	}
	if ex.Latency == nil {
		return invalid("sampling", "a sampling rate needs a subject that measurements of %q go to", ex.Subject).
			WithHint("name one with --latency")
	}
	ex.Latency.Sampling = jwt.SamplingRate(*e.Sampling)
	return nil
}

// ExportRef names an export of an account by its subject, "" for the only one,
// and by its type where a stream and a service have one subject.
type ExportRef struct {
	Subject string
	Type    jwt.ExportType // jwt.Unknown for either
}

func (at ExportRef) String() string {
	kind := "export"
	if at.Type != jwt.Unknown {
		kind = at.Type.String() + " export"
	}
	if at.Subject == "" {
		return kind
	}
	return kind + " " + at.Subject
}

// Find returns the export in ac: fault.NotFound if there is none, and
// fault.Usage if there are several that at may mean.
func (at ExportRef) Find(ac *jwt.AccountClaims) (*jwt.Export, error) {
	var found []*jwt.Export
	for _, ex := range ac.Exports {
		if ex != nil && (at.Type == jwt.Unknown || ex.Type == at.Type) && (at.Subject == "" || string(ex.Subject) == at.Subject) {
			found = append(found, ex)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, noExport(ac, at)
	case at.Subject == "":
		return nil, fault.New(fault.Usage, "account %q has %d exports and none is named", ac.Name, len(found)).
			WithHint("name one with --subject, such as --subject '%s'", found[0].Subject)
	}
	return nil, fault.New(fault.Usage, "account %q exports %q both as stream and as service", ac.Name, at.Subject).
		WithHint("say which with --service or --service=false")
}

// Cover is Find for a subject within the export, the exact one first; the type
// must be given.
func (at ExportRef) Cover(ac *jwt.AccountClaims) (*jwt.Export, error) {
	if at.Subject == "" {
		return at.Find(ac)
	}
	if ex := exportFor(ac.Exports, at.Type, at.Subject); ex != nil {
		return ex, nil
	}
	return nil, noExport(ac, at)
}

func noExport(ac *jwt.AccountClaims, at ExportRef) error {
	return fault.New(fault.NotFound, "account %q has no %s", ac.Name, at).About("export", at.Subject).
		WithHint("list its exports with: nsc list exports -a %s", fault.Words(ac.Name))
}

// RemoveExport takes an export out of ac; errors are those of [ExportRef.Find].
func RemoveExport(ac *jwt.AccountClaims, at ExportRef) error {
	ex, err := at.Find(ac)
	if err != nil {
		return err
	}
	ac.Exports = slices.DeleteFunc(ac.Exports, func(e *jwt.Export) bool { return e == ex })
	return nil
}
