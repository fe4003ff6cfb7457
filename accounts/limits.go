package accounts

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// JetStreamEdit is a change of an account's JetStream limits. They are either
// global or by tier, the number of replicas of a stream, never both. Storage
// and stream sizes are in bytes; [Unlimited] is allowed everywhere, and a
// storage of 0 allows none of that kind.
type JetStreamEdit struct {
	Tier *int // 1, 3, … edits the limits of that tier; nil and 0 the global ones

	MemStorage, DiskStorage     *int64
	Streams, Consumers          *int64
	MaxMemStream, MaxDiskStream *int64
	MaxAckPending               *int64
	MaxBytesRequired            *bool // streams must set their size
	Enable                      *int  // give this tier (0: global) unlimited storage
	RemoveTier                  *int  // remove the limits of this tier (0: global)
	Disable                     bool  // remove all limits, and so JetStream
}

// sets reports whether e names a single limit.
func (e JetStreamEdit) sets() bool {
	return e.MemStorage != nil || e.DiskStorage != nil || e.Streams != nil || e.Consumers != nil ||
		e.MaxMemStream != nil || e.MaxDiskStream != nil || e.MaxAckPending != nil || e.MaxBytesRequired != nil
}

// asks reports whether e names a limit other than 0, which asks for nothing.
func (e JetStreamEdit) asks() bool {
	return e.MaxBytesRequired != nil && *e.MaxBytesRequired || slices.ContainsFunc(
		[]*int64{e.MemStorage, e.DiskStorage, e.Streams, e.Consumers, e.MaxMemStream, e.MaxDiskStream, e.MaxAckPending},
		func(n *int64) bool { return n != nil && *n != 0 })
}

// Empty reports whether e changes nothing.
func (e JetStreamEdit) Empty() bool {
	return e.Tier == nil && !e.sets() && e.Enable == nil && e.RemoveTier == nil && !e.Disable
}

// Check is fault.Usage when parts of e exclude each other.
func (e JetStreamEdit) Check() error {
	alone := 0
	for _, given := range []bool{e.Tier != nil || e.sets(), e.Enable != nil, e.RemoveTier != nil, e.Disable} {
		if given {
			alone++
		}
	}
	switch {
	case alone > 1:
		return fault.New(fault.Usage, "enabling, disabling and removing a tier exclude each other and all other JetStream limits")
	case e.Tier != nil && *e.Tier != 0 && !e.sets():
		return fault.New(fault.Usage, "a tier without a limit changes nothing").
			WithHint("add a limit, such as --js-disk-storage 1GiB, or use --js-enable %d", *e.Tier)
	}
	for _, tier := range []*int{e.Tier, e.Enable, e.RemoveTier} {
		if tier != nil && *tier < 0 {
			return fault.New(fault.Usage, "%d is no tier: 0 is global, 1 and more are numbers of replicas", *tier)
		}
	}
	return nil
}

// jetStream applies the JetStream part of e.
func (e Edit) jetStream(l *jwt.OperatorLimits) error {
	js := e.JetStream
	if err := js.Check(); err != nil {
		return err
	}
	if e.System && (js.asks() || js.Enable != nil) {
		return fault.New(fault.Denied, "the system account may not have JetStream").ByRule("system account").
			WithHint("use JetStream in another account; --js-disable removes what is left of it here")
	}
	switch {
	case js.Disable:
		l.JetStreamLimits, l.JetStreamTieredLimits = jwt.JetStreamLimits{}, nil
	case js.RemoveTier != nil:
		return removeTier(l, *js.RemoveTier)
	case js.Enable != nil:
		return js.enable(l, *js.Enable)
	case js.sets() && !e.System:
		tier := 0
		set(&tier, js.Tier)
		return js.edit(l, tier)
	}
	return nil
}

func tierName(tier int) string { return fmt.Sprintf("R%d", tier) }

func tierText(tier int) string {
	if tier == 0 {
		return "global limits"
	}
	return "limits of tier " + tierName(tier)
}

func removeTier(l *jwt.OperatorLimits, tier int) error {
	if tier == 0 {
		l.JetStreamLimits = jwt.JetStreamLimits{}
		return nil
	}
	if _, ok := l.JetStreamTieredLimits[tierName(tier)]; !ok {
		return fault.New(fault.NotFound, "the account has no JetStream %s", tierText(tier)).ByRule("tier").
			WithHint("%s", tiersHint(l))
	}
	l.JetStreamTieredLimits = maps.Clone(l.JetStreamTieredLimits)
	delete(l.JetStreamTieredLimits, tierName(tier))
	return nil
}

func tiersHint(l *jwt.OperatorLimits) string {
	if len(l.JetStreamTieredLimits) == 0 {
		return "it has no tiers"
	}
	return "its tiers are " + strings.Join(slices.Sorted(maps.Keys(l.JetStreamTieredLimits)), ", ")
}

// enable gives a tier unlimited storage and sets no other limit.
func (e JetStreamEdit) enable(l *jwt.OperatorLimits, tier int) error {
	if err := oneKind(l, tier); err != nil {
		return err
	}
	old := limitsOf(l, tier)
	unlimited := jwt.JetStreamLimits{MemoryStorage: Unlimited, DiskStorage: Unlimited}
	if means(old) && old != unlimited {
		return fault.New(fault.Conflict, "the account has JetStream %s already", tierText(tier)).ByRule("tier").
			WithHint("change them one by one, or remove them first with --rm-js-tier %d", tier)
	}
	putLimits(l, tier, unlimited)
	return nil
}

// edit changes single limits. A tier that had none begins with no storage and
// no other limit.
func (e JetStreamEdit) edit(l *jwt.OperatorLimits, tier int) error {
	if err := oneKind(l, tier); err != nil {
		return err
	}
	js := limitsOf(l, tier)
	if !means(js) {
		js = jwt.JetStreamLimits{
			Streams: Unlimited, Consumer: Unlimited, MaxAckPending: Unlimited,
			MemoryMaxStreamBytes: Unlimited, DiskMaxStreamBytes: Unlimited,
		}
	}
	set(&js.MemoryStorage, e.MemStorage)
	set(&js.DiskStorage, e.DiskStorage)
	set(&js.Streams, e.Streams)
	set(&js.Consumer, e.Consumers)
	set(&js.MemoryMaxStreamBytes, e.MaxMemStream)
	set(&js.DiskMaxStreamBytes, e.MaxDiskStream)
	set(&js.MaxAckPending, e.MaxAckPending)
	set(&js.MaxBytesRequired, e.MaxBytesRequired)
	putLimits(l, tier, js)
	return nil
}

// oneKind refuses global limits beside tiers, and tiers beside global limits.
// Leftovers that limit nothing are no limits.
func oneKind(l *jwt.OperatorLimits, tier int) error {
	switch {
	case tier == 0 && len(l.JetStreamTieredLimits) > 0:
		return fault.New(fault.Conflict, "the account has JetStream limits by tier, which exclude global ones").ByRule("tier").
			WithHint("%s; name one with --js-tier, or remove all with --js-disable", tiersHint(l))
	case tier > 0 && means(l.JetStreamLimits):
		return fault.New(fault.Conflict, "the account has global JetStream limits, which exclude limits by tier").ByRule("tier").
			WithHint("remove them first with --rm-js-tier 0")
	}
	return nil
}

// means reports whether js allows or limits anything. The official tool leaves
// limits of -1 behind in accounts without storage.
func means(js jwt.JetStreamLimits) bool {
	for _, n := range []int64{js.Streams, js.Consumer, js.MaxAckPending, js.MemoryMaxStreamBytes, js.DiskMaxStreamBytes} {
		if n > 0 {
			return true
		}
	}
	return js.MemoryStorage != 0 || js.DiskStorage != 0 || js.MaxBytesRequired
}

func limitsOf(l *jwt.OperatorLimits, tier int) jwt.JetStreamLimits {
	if tier == 0 {
		return l.JetStreamLimits
	}
	return l.JetStreamTieredLimits[tierName(tier)]
}

func putLimits(l *jwt.OperatorLimits, tier int, js jwt.JetStreamLimits) {
	if tier == 0 {
		l.JetStreamLimits = js
		return
	}
	l.JetStreamLimits = jwt.JetStreamLimits{}
	tiers := maps.Clone(l.JetStreamTieredLimits)
	if tiers == nil {
		tiers = jwt.JetStreamTieredLimits{}
	}
	tiers[tierName(tier)] = js
	l.JetStreamTieredLimits = tiers
}
