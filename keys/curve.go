package keys

import (
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// Curve is the public side of a key that requests are encrypted for.
type Curve string

// ParseCurve checks that s is a public curve key (X…).
func ParseCurve(s string) (Curve, error) {
	return parse[Curve](s, "curve", nkeys.IsValidPublicCurveKey)
}

// CurvePair is the private side of a [Curve] key. It signs nothing.
type CurvePair struct{ *pair }

// Key returns the public side.
func (p CurvePair) Key() Curve { return Curve(p.public) }

// NewCurve makes a curve key.
func NewCurve() (CurvePair, error) {
	kp, err := nkeys.CreateCurveKeys()
	if err != nil {
		return CurvePair{}, fmt.Errorf("make a curve key: %w", err)
	}
	return curve(kp)
}

// CurveFromSeed reads the seed of a curve key (SX…). It keeps a copy of it.
func CurveFromSeed(seed []byte) (CurvePair, error) {
	kp, err := nkeys.FromCurveSeed(seed)
	if err != nil {
		// The library's error may not be wrapped: it must never show the seed.
		return CurvePair{}, fault.New(fault.Invalid, "not a seed of a curve key")
	}
	return curve(kp)
}

func curve(kp nkeys.KeyPair) (CurvePair, error) {
	defer kp.Wipe()
	public, err1 := kp.PublicKey()
	seed, err2 := kp.Seed()
	if err1 != nil || err2 != nil {
		return CurvePair{}, fault.New(fault.Internal, "encode a curve key")
	}
	return CurvePair{&pair{public: public, seed: seed}}, nil
}
