package api

import (
	"slices"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// Schema is the version of every request, reply and JSON output. It only
// grows, and fields are only added.
const Schema = 1

// OwnInbox begins the reply subjects of accountd's own requests to stock
// servers. The doors of accountd leave those alone.
const OwnInbox = "_INBOX.accountd-own."

// Subjects of the service in the system account. The micro service of the name
// Service announces them; its metadata hold MetaOperator and MetaServer.
const (
	Service        = "accountd"
	SubjectPut     = "accountd.v1.claims.put"
	SubjectOpPut   = "accountd.v1.operator.put"
	SubjectGet     = "accountd.v1.claims.get"
	SubjectList    = "accountd.v1.claims.list"
	SubjectProof   = "accountd.v1.claims.proof"
	SubjectProofs  = "accountd.v1.claims.proofs"
	SubjectStatus  = "accountd.v1.status"
	SubjectSeen    = "accountd.v1.users.seen"
	SubjectForget  = "accountd.v1.servers.forget"
	SubjectStreams = "accountd.v1.servers.streams"
	SubjectNotify  = "accountd.v1.servers.notify"
	SubjectAllow   = "accountd.v1.accounts.allow"
	SubjectReject  = "accountd.v1.proposals.reject"
	SubjectSealer  = "accountd.v1.keys.recipient"
	SubjectKeys    = "accountd.v1.keys.put"
	SubjectDeny    = "accountd.v1.devices.deny"
	KindPermit     = "permit"   // of GetRequest and ListRequest: an account that may be made
	KindProposal   = "proposal" // a version that waits for a signature of the operator
	MetaOperator   = "operator"
	MetaServer     = "server"
	MetaCustody    = "custody"
	AuthHeader     = "Accountd-Auth"
	RequestType    = "accountd_request" // nats.type of the token in AuthHeader
	RequestLife    = 60 * time.Second   // of that token
	RequestSkew    = 5 * time.Minute    // tolerance on its iat
	NonceMemory    = 10 * time.Minute
	DigestField    = "sha256" // of that token: hex SHA-256 of the body
	MaxClaim       = 1<<20 - 4<<10
	ExportStream   = "stream"
	ExportService  = "service"
	OutcomePut     = "committed"
	OutcomeSame    = "unchanged"
	OutcomeDeleted = "deleted"
	OutcomeRestore = "restored"
	OutcomeRefused = "refused"
	OutcomeDry     = "would be admitted"
)

// Item is one conditional change of one account.
type Item struct {
	JWT     string `json:"jwt,omitempty"`     // the new version, or
	Delete  string `json:"delete,omitempty"`  // the public key of the account to delete
	Base    string `json:"base,omitempty"`    // jti of the version it replaces; absent: must not exist
	Restore bool   `json:"restore,omitempty"` // the JWT brings a deleted account back; Base is the tombstone's jti
	Force   bool   `json:"force,omitempty"`   // delete although others import from it
	Accept  string `json:"accept,omitempty"`  // jti of the proposal that this version answers

	// Deletion is the request to delete as stock servers take it, signed by an
	// operator key, for an accountd that signs nothing itself.
	Deletion string `json:"deletion,omitempty"`

	Retire []string `json:"retire,omitempty"` // signing keys of versions before accountd's first, to be retired

	// What this version takes back on purpose. The signed request authorises it.
	Unrevoke []string          `json:"unrevoke,omitempty"` // user keys or *, or "stream|service SUBJECT KEY" for an export's list
	Unretire []string          `json:"unretire,omitempty"` // signing keys
	Drop     []revocation.Drop `json:"drop,omitempty"`
}

// PutRequest asks for changes of accounts: one transaction, one outcome an item.
type PutRequest struct {
	Items           []Item `json:"items"`
	AllowIncomplete bool   `json:"allow_incomplete,omitempty"`
	DryRun          bool   `json:"dry_run,omitempty"`
	Host            string `json:"host,omitempty"`    // where the caller runs, for the log
	Request         string `json:"request,omitempty"` // id that the log carries
}

// OperatorPutRequest asks for a new version of the operator's JWT.
type OperatorPutRequest struct {
	JWT     string `json:"jwt"`
	Base    string `json:"base,omitempty"`
	Host    string `json:"host,omitempty"`
	Request string `json:"request,omitempty"`
	// Undelegate allows to drop the signing key that was made for accountd.
	Undelegate bool `json:"undelegate,omitempty"`
}

// Error is a refusal as it travels.
type Error struct {
	Code    fault.Code `json:"code"`
	Rule    string     `json:"rule,omitempty"`
	Message string     `json:"message"`
	Hint    string     `json:"hint,omitempty"`
}

// ToError turns err into what may be shown to a client: the text of our own
// refusals, and nothing of an unexpected one.
func ToError(err error) *Error {
	if err == nil {
		return nil
	}
	if f := fault.As(err); f != nil && f.Code != fault.Internal {
		return &Error{Code: f.Code, Rule: f.Rule, Message: f.Msg, Hint: f.Hint}
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return &Error{Code: code, Message: "the request was not finished"}
	}
	return &Error{Code: fault.Internal, Message: "internal error; the log of accountd has the details"}
}

// Fault turns a received Error into ours.
func (e *Error) Fault() error {
	if e == nil {
		return nil
	}
	return &fault.Error{Code: e.Code, Rule: e.Rule, Msg: e.Message, Hint: e.Hint}
}

// Version describes a stored version of a claim.
type Version struct {
	Kind     string    `json:"kind"` // operator, account, permit or proposal
	Key      string    `json:"key"`
	Name     string    `json:"name"`
	Revision uint64    `json:"revision"`
	ID       string    `json:"id"` // jti
	IssuedAt int64     `json:"iat"`
	Deleted  bool      `json:"deleted,omitempty"`
	Actor    string    `json:"actor,omitempty"` // who put it
	At       time.Time `json:"at"`              // when it was put
	Host     string    `json:"host,omitempty"`  // where from, as the actor said
	Findings []string  `json:"findings,omitempty"`
	JWT      string    `json:"jwt,omitempty"` // only in replies to get
	Size     int       `json:"size"`          // bytes of the JWT
}

// Result is the outcome of one item.
type Result struct {
	Key      string   `json:"key"`
	Name     string   `json:"name,omitempty"`
	Outcome  string   `json:"outcome"`
	Revision uint64   `json:"revision,omitempty"`
	ID       string   `json:"id,omitempty"` // jti of the stored version
	Findings []string `json:"findings,omitempty"`
	Current  *Version `json:"current,omitempty"` // on a conflict: what is stored
	Error    *Error   `json:"error,omitempty"`
}

// PutReply answers PutRequest and OperatorPutRequest. Error is set when the
// request as a whole was refused and nothing was looked at.
type PutReply struct {
	Schema  int      `json:"schema"`
	Results []Result `json:"results,omitempty"`
	Error   *Error   `json:"error,omitempty"`
}

// GetRequest asks for one stored claim by public key, or by name for accounts.
// An empty request asks for the operator.
type GetRequest struct {
	Account string `json:"account,omitempty"`
	Kind    string `json:"kind,omitempty"` // KindProposal; absent: what is in force
}

// GetReply answers GetRequest.
type GetReply struct {
	Schema  int              `json:"schema"`
	Version *Version         `json:"version,omitempty"`
	Retired map[string]int64 `json:"retired,omitempty"` // signing keys gone for ever, and when, Unix seconds
	Dropped []string         `json:"dropped,omitempty"` // user keys whose revocation left the JWT
	Error   *Error           `json:"error,omitempty"`
}

// What a Proposal does.
const (
	DoSign    = "sign"    // a version that a tenant signed itself
	DoCompact = "compact" // takes out what is of no use any more
	DoRoll    = "roll"    // gives all cohorts of a fleet new keys, whose seeds nsc keeps
)

// Proposal is a change of an account that waits for a signature of the operator.
type Proposal struct {
	Account string `json:"account"` // public key
	Name    string `json:"name"`
	Do      string `json:"do"`
	Since   int64  `json:"since"`        // Unix seconds
	By      int64  `json:"by,omitempty"` // from then on it is late, Unix seconds; 0 for no such time

	Fleet string `json:"fleet,omitempty"` // to be rolled

	ID   string `json:"jti,omitempty"`  // of a tenant's version
	Size int    `json:"size,omitempty"` // of that, bytes
}

// Roll is a fleet with keys that were replaced and are not retired yet.
type Roll struct {
	Account string `json:"account"` // public key
	Name    string `json:"name"`    // of the account
	Fleet   string `json:"fleet"`
	Old     int    `json:"old_keys"` // that admit what they signed
	Next    int64  `json:"next"`     // when the first of them is retired, Unix seconds
	Last    int64  `json:"last"`     // when the last is
}

// ListRequest pages through all accounts, tombstones included, in key order, or
// through what is open of another kind.
type ListRequest struct {
	Kind      string `json:"kind,omitempty"`      // KindPermit or KindProposal; absent: accounts
	Importing string `json:"importing,omitempty"` // key of an account: only accounts that import from it
	After     string `json:"after,omitempty"`
	Limit     int    `json:"limit,omitempty"` // at most 1000
}

// ListReply answers ListRequest. More says that another page follows.
type ListReply struct {
	Schema   int       `json:"schema"`
	Accounts []Version `json:"accounts"`
	More     bool      `json:"more,omitempty"`
	// Due is, with the first page of proposals, what is due in accounts.
	Due   []Proposal `json:"due,omitempty"`
	Error *Error     `json:"error,omitempty"`
}

// ProofRequest asks for the proof of a version, waiting up to WaitMs for it.
type ProofRequest struct {
	Key      string `json:"key"` // of the account, or of the operator
	Revision uint64 `json:"revision"`
	WaitMs   int    `json:"wait_ms,omitempty"` // at most 60000
}

// ProofReply answers ProofRequest. Proven says that every expected server has
// the version, or a newer one, in force (or stored, where it can be no more).
type ProofReply struct {
	Schema int         `json:"schema"`
	Proven bool        `json:"proven"`
	Nodes  []NodeProof `json:"nodes"`
	Error  *Error      `json:"error,omitempty"`
}

// ProofsRequest asks for the proofs of several versions, waiting up to WaitMs
// for all of them.
type ProofsRequest struct {
	Items  []ProofItem `json:"items"`             // at most 1000
	WaitMs int         `json:"wait_ms,omitempty"` // at most 60000
}

// ProofItem is one version, as in ProofRequest.
type ProofItem struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
}

// Proof is one of ProofsReply, as in ProofReply.
type Proof struct {
	Proven bool        `json:"proven"`
	Nodes  []NodeProof `json:"nodes"`
}

// ProofsReply answers ProofsRequest with the proofs of its items, in their
// order: of the first ones only, when all do not fit into a message.
type ProofsReply struct {
	Schema int     `json:"schema"`
	Proofs []Proof `json:"proofs"`
	Error  *Error  `json:"error,omitempty"`
}

// NotifyRequest asks to send the stored version of an account to the stock
// servers again. The answer is a DoneReply.
type NotifyRequest struct {
	Account string `json:"account"`
}

// StreamsRequest asks for what an account has in JetStream.
type StreamsRequest struct {
	Account string `json:"account"` // public key
}

// StreamsReply answers StreamsRequest.
type StreamsReply struct {
	Schema int `json:"schema"`
	JetStreamUse
	Error *Error `json:"error,omitempty"`
}

// JetStreamUse is what an account has in JetStream, on the servers that could be
// asked.
type JetStreamUse struct {
	Streams []string `json:"streams"`          // names, sorted
	Memory  uint64   `json:"memory,omitempty"` // bytes, of all replicas
	Disk    uint64   `json:"disk,omitempty"`
}

// Merge adds what another server knows, who counts the bytes of all servers, too.
func (u *JetStreamUse) Merge(o JetStreamUse) {
	u.Streams = append(u.Streams, o.Streams...)
	slices.Sort(u.Streams)
	u.Streams = slices.Compact(u.Streams)
	u.Memory, u.Disk = max(u.Memory, o.Memory), max(u.Disk, o.Disk)
}

// StatusRequest asks how things stand, of all accounts or of one.
type StatusRequest struct {
	Account string `json:"account,omitempty"` // name or public key
}

// NodeStatus is the state of one expected server.
type NodeStatus struct {
	Server  string    `json:"server"`
	URL     string    `json:"url,omitempty"`
	Healthy bool      `json:"healthy"`
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since"`             // of this state
	Applied uint64    `json:"applied"`           // last change that it follows
	Behind  uint64    `json:"behind"`            // changes that it has yet to follow
	Seen    uint64    `json:"-"`                 // change up to which Behind counts; with 0 it is Applied, and nothing is counted
	Trusts  []string  `json:"trusts"`            // operator keys that the running server trusts, none if it does not run
	Restart []string  `json:"restart,omitempty"` // what it takes only when it restarts: operator keys
}

// Lacks is how many of the changes until head it has yet to follow.
func (n NodeStatus) Lacks(head uint64) uint64 {
	if seen := max(n.Seen, n.Applied); head > seen {
		return n.Behind + head - seen
	}
	return n.Behind
}

// AccountStatus is the state of one account on every expected server.
type AccountStatus struct {
	Version
	State  State       `json:"state"` // the weakest of the nodes
	Nodes  []NodeProof `json:"nodes"`
	Budget float64     `json:"budget"` // share of the largest possible claim in use, 0 to 1
}

// StatusReply answers StatusRequest.
type StatusReply struct {
	Schema     int             `json:"schema"`
	Operator   Version         `json:"operator"`
	Custody    string          `json:"custody"`
	Warnings   []string        `json:"warnings,omitempty"` // about the operator itself
	Head       uint64          `json:"head"`               // last change of the store
	Nodes      []NodeStatus    `json:"nodes"`
	Total      int             `json:"total"`          // accounts, without tombstones
	InForce    int             `json:"in_force"`       // of them, in force everywhere
	Stored     int             `json:"stored"`         // of them, in force or stored everywhere
	Accounts   []AccountStatus `json:"accounts"`       // the one asked for, else those that need a look
	More       bool            `json:"more,omitempty"` // there are more of those
	Tombstones int             `json:"tombstones"`
	Proposals  []Proposal      `json:"proposals,omitempty"` // what waits for a signature of the operator
	Rolls      []Roll          `json:"rolls,omitempty"`     // fleets whose replaced keys are not all retired
	Error      *Error          `json:"error,omitempty"`
}

// ForgetRequest asks to expect a stock server no more that has gone for good.
type ForgetRequest struct {
	Server  string `json:"server"` // name, or cluster/name where two have one name
	Host    string `json:"host,omitempty"`
	Request string `json:"request,omitempty"`
}

// ForgetReply answers ForgetRequest.
type ForgetReply struct {
	Schema int    `json:"schema"`
	Error  *Error `json:"error,omitempty"`
}

// AllowRequest lets the holder of an account's key make that account, or takes
// that back. An account that exists stays.
type AllowRequest struct {
	Account string `json:"account"` // public key
	Remove  bool   `json:"remove,omitempty"`
	Host    string `json:"host,omitempty"`
	Request string `json:"request,omitempty"`
}

// RejectRequest ends a proposal without a new version.
type RejectRequest struct {
	Account string `json:"account"` // name or public key
	Base    string `json:"base"`    // jti of the proposal
	Host    string `json:"host,omitempty"`
	Request string `json:"request,omitempty"`
}

// DenyRequest lets devices get no new credentials, by enrolling or renewing, until
// a time; or lifts that.
type DenyRequest struct {
	Account string `json:"account"`         // public key
	Marks   []byte `json:"marks"`           // 8 bytes each, at most MaxMarks; see fleet.Mark
	Until   int64  `json:"until,omitempty"` // Unix seconds
	Lift    bool   `json:"lift,omitempty"`
	// Spare are signing keys that go although nobody stole them, with their roles:
	// other devices may renew by what they signed until then.
	Spare   map[string]string `json:"spare,omitempty"`
	Host    string            `json:"host,omitempty"`
	Request string            `json:"request,omitempty"`
}

// MaxMarks bounds the devices of one DenyRequest, so that it fits a message.
const MaxMarks = 50_000

// DenyReply answers DenyRequest.
type DenyReply struct {
	Schema  int    `json:"schema"`
	Changed int    `json:"changed"` // ids and keys that are denied now and were not, or the other way round
	Error   *Error `json:"error,omitempty"`
}

// DoneReply answers requests that have nothing to tell but that it was done.
type DoneReply struct {
	Schema int    `json:"schema"`
	Error  *Error `json:"error,omitempty"`
}
