package keys

import "encoding/base32"

// b32 is the encoding of nkeys: standard base32 without padding.
var b32 = base32.StdEncoding.WithPadding(base32.NoPadding)
