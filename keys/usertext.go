package keys

import (
	"crypto/ed25519"
	"encoding/binary"

	"github.com/nats-io/nkeys"
)

// UserText is a new user key as text, for those who make many and keep none. It
// holds the seed and is wiped after use.
type UserText struct {
	Public [size]byte
	Seed   [seedSize]byte
}

// seedSize is the length of a seed as text.
const seedSize = 58

// Make puts the key of 32 random bytes into t. It is what [NewUser] does
// without its allocations.
func (t *UserText) Make(random *[ed25519.SeedSize]byte) {
	key := ed25519.NewKeyFromSeed(random[:])
	defer clear(key)
	const user, seed = byte(nkeys.PrefixByteUser), byte(nkeys.PrefixByteSeed)
	var raw [2 + ed25519.SeedSize + 2]byte
	defer clear(raw[:])
	raw[0] = user
	copy(raw[1:], key[ed25519.SeedSize:])
	binary.LittleEndian.PutUint16(raw[33:], crc16(raw[:33]))
	b32.Encode(t.Public[:], raw[:35])
	raw[0], raw[1] = seed|user>>5, user&31<<3
	copy(raw[2:], random[:])
	binary.LittleEndian.PutUint16(raw[34:], crc16(raw[:34]))
	b32.Encode(t.Seed[:], raw[:])
}

// Wipe overwrites the seed.
func (t *UserText) Wipe() { clear(t.Seed[:]) }

// crc16 is the checksum at the end of encoded keys: CRC-16/XMODEM.
func crc16(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
	}
	return crc
}
