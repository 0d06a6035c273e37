package participants

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// newPeerID names a participation: 80 random bits.
func newPeerID() string {
	return "p_" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(random(10)))
}

// newTicketID names a place in a lobby.
func newTicketID() string { return "w" + newPeerID()[1:] }

// newTicket is the right to a place in a lobby: its name and 128 random bits.
func newTicket(id string) string { return id + "." + base64.RawURLEncoding.EncodeToString(random(16)) }

// newAdmissionToken is the right to pass the lobby: 128 random bits.
func newAdmissionToken() string { return "at_" + base64.RawURLEncoding.EncodeToString(random(16)) }

// newResumeToken is the right to come back as who one was: 128 random bits.
func newResumeToken() string { return "rt_" + base64.RawURLEncoding.EncodeToString(random(16)) }

// NewHostKey is the right to be a meeting's host: 128 random bits.
func NewHostKey() string { return "hk_" + base64.RawURLEncoding.EncodeToString(random(16)) }

// HashSecret is how secrets of full entropy are stored.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func sameHash(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, says its documentation
	return b
}
