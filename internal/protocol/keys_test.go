package protocol_test

import (
	"testing"

	"signald/internal/protocol"
)

func TestKeysThatNobodyChoseAreNoGuesses(t *testing.T) {
	for key, want := range map[string]bool{
		"k7f2m9q0x3c8v5b1n6d4":                   false,
		"0123456789abcdefghjk":                   false,
		"5f0c6e0a-7d0b-4b53-9a58-0d1c2f3e4a5b":   false,
		"5F0C6E0A-7D0B-4B53-9A58-0D1C2F3E4A5B":   false,
		"":                                       true,
		"a":                                      true,
		"team":                                   true,
		"k7f2m9q0x3c8v5b1n6d":                    true,
		"K7F2M9Q0X3C8V5B1N6D4":                   true,
		"weekly meeting no. 4":                   true,
		"abcdefghjkmnpqrstvwx":                   true,
		"20261121202611212026":                   true,
		"the weekly meeting of everybody, no. 1": true,
		"5f0c6e0a-7d0b-4b53-9a58-0d1c2f3e4a5":    true,
		"the-weekly-meeting-of-all-of-berlin2":   true,
		"12345678-1234-1234-1234-123456789012":   true,
	} {
		if protocol.Guessable(key) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
}
