package fleet

import (
	"encoding/json"
	"maps"
)

// Spare is a signing key of a fleet that was retired although nobody stole it,
// since it had signed for devices that are to be refused: for others, what it
// signed is as good as ever to renew by.
type Spare struct {
	Fleet string `json:"fleet"`
	Until int64  `json:"until"` // Unix seconds
}

// Spared are the keys of an account that are spared, by public key.
type Spared map[string]Spare

// Change adds keys of f until a time, and forgets those whose time has passed.
func (s Spared) Change(f string, keys []string, until, now int64) {
	maps.DeleteFunc(s, func(_ string, k Spare) bool { return k.Until <= now })
	for _, key := range keys {
		s[key] = Spare{f, max(until, s[key].Until)}
	}
}

// Encode writes s as text.
func (s Spared) Encode() (string, error) {
	data, err := json.Marshal(s)
	return string(data), err
}

// DecodeSpared reads what Encode wrote. "" is none.
func DecodeSpared(text string) (Spared, error) {
	s := Spared{}
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, invalid("malformed", "the spared keys are not of the expected form")
	}
	return s, nil
}
