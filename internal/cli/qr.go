package cli

import (
	"strings"

	"rsc.io/qr"

	"github.com/accountd/accountd/fault"
)

// quiet is the margin of a QR code, in modules.
const quiet = 4

// qrText draws a QR code with half blocks, two modules a character: dark ones
// are left out, as on a terminal with a dark background.
func qrText(text string) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", fault.New(fault.Invalid, "the token does not fit into a QR code: %w", err)
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			upper, lower := !code.Black(x, y), !code.Black(x, y+1)
			switch {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
