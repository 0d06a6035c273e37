package protocol

import (
	"fmt"

	"signald/internal/fault"
)

// ownSecret checks a secret of the client's own making: printable ASCII, so that HTTP headers hold it,
// too, and long enough not to be guessed. Empty is none.
func ownSecret(field, s string, least, most int) error {
	if s == "" {
		return nil
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return fault.Invalid(field, field+" consists of visible ASCII characters.")
		}
	}
	if len(s) < least || len(s) > most {
		return fault.Invalid(field, fmt.Sprintf("%s has %d to %d characters, of which 128 bits are random.", field, least, most))
	}
	return nil
}

// MaxIdempotencyKey is how many characters the header Idempotency-Key has at most.
const MaxIdempotencyKey = 128

// CheckIdempotencyKey checks the header of a creation; empty is none.
func CheckIdempotencyKey(s string) error {
	return ownSecret("Idempotency-Key", s, MinAttempt, MaxIdempotencyKey)
}
