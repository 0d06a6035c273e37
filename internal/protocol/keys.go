package protocol

import "strings"

// What a key has that nobody chose: KeyLength characters of KeyAlphabet, Crockford's base 32, which
// people can read to each other; 100 random bits.
const (
	KeyLength   = 20
	KeyAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
)

// Guessable reports whether a meeting's key may be found by trying: all but keys that look as if
// nobody chose them, this server's own or UUIDs. Words have no digits.
func Guessable(key string) bool {
	const digits, hex = "0123456789", "0123456789abcdefABCDEF"
	switch {
	case !strings.ContainsAny(key, digits):
		return true
	case len(key) == KeyLength:
		return strings.Trim(key, KeyAlphabet) != "" || strings.Trim(key, digits) == ""
	case len(key) == 36:
		parts := strings.Split(key, "-")
		if len(parts) != 5 {
			return true
		}
		for i, length := range []int{8, 4, 4, 4, 12} {
			if len(parts[i]) != length || strings.Trim(parts[i], hex) != "" {
				return true
			}
		}
		return strings.Trim(key, digits+"-") == ""
	}
	return true
}
