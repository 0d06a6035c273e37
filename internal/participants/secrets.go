package participants

import (
	"crypto/hmac"
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

// NewHostKey is the right to be a meeting's host: 128 random bits, or those that follow from a secret of
// the creator's, so that the same request again has the same key.
func NewHostKey(creators string) string {
	if creators != "" {
		return "hk_" + derived(creators, "host key")
	}
	return "hk_" + base64.RawURLEncoding.EncodeToString(random(16))
}

// SameSecret reports whether a secret is the one of a hash.
func SameSecret(hash []byte, secret string) bool { return sameHash(hash, HashSecret(secret)) }

// HashSecret is how secrets of full entropy are stored.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// derived is a secret of 128 bits that follows from another one, and tells nothing of it.
func derived(secret, what string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(what))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

func sameHash(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, says its documentation
	return b
}
