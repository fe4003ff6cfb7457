package resolver

import "github.com/accountd/accountd/api"

// Meter counts what the service decides. Its methods may be called from any
// goroutine and must not block.
type Meter interface {
	// Decided is one item, or one request that was refused as a whole: the door
	// it came through, its outcome, and the rule that refused it, "" for none.
	Decided(via, outcome, rule string)
	// Stored is a version of an account that was committed, and its size.
	Stored(account, name string, bytes int)
}

type noMeter struct{}

func (noMeter) Decided(string, string, string) {}
func (noMeter) Stored(string, string, int)     {}

// count reports a decided request.
func (s *Service) count(via string, reply api.PutReply) {
	if reply.Error != nil {
		s.cfg.Meter.Decided(via, api.OutcomeRefused, ruleOrCode(reply.Error))
		return
	}
	for _, r := range reply.Results {
		s.cfg.Meter.Decided(via, r.Outcome, ruleOrCode(r.Error))
	}
}

func ruleOrCode(e *api.Error) string {
	switch {
	case e == nil:
		return ""
	case e.Rule != "":
		return e.Rule
	}
	return string(e.Code)
}
