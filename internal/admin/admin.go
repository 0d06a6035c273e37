// Package admin is whether somebody is the admin: by the credential of the settings, or by a session that
// was opened with it.
package admin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"signald/internal/password"
)

// Credential is what the admin has to know.
type Credential struct {
	token string // the token itself
	hash  string // or its bcrypt hash

	passwords *password.Hasher
}

// New makes a credential of the setting: the token, or its bcrypt hash; empty: nobody is admin.
func New(setting string, passwords *password.Hasher) *Credential {
	c := &Credential{token: setting, passwords: passwords}
	if IsHash(setting) {
		c.token, c.hash = "", setting
	}
	return c
}

// IsHash reports whether a setting is a hash, though perhaps a bad one.
func IsHash(setting string) bool { return strings.HasPrefix(setting, "$2") }

// Hash makes a hash for New. bcrypt knows no more than 72 bytes.
func Hash(token string) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.DefaultCost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errors.New("the token is longer than 72 bytes")
	}
	return string(b), err
}

// CheckHash says what is wrong with a hash of the settings.
func CheckHash(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && cost < bcrypt.DefaultCost {
		err = fmt.Errorf("its cost is %d, less than %d", cost, bcrypt.DefaultCost)
	}
	return err
}

// Is reports whether a client at ip has sent the token. The time it takes says nothing about
// it. Errors: those of password.Hasher.
func (c *Credential) Is(ctx context.Context, ip netip.Addr, token string) (bool, error) {
	switch {
	case token == "":
		return false, nil
	case c.token != "":
		a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(c.token))
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1, nil
	case c.hash == "":
		return false, nil
	}
	return c.passwords.MatchesToken(ctx, ip, c.hash, token)
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Store keeps sessions, for all nodes.
type Store interface {
	AddAdminSession(ctx context.Context, tokenHash, proof []byte, expires time.Time) error
	AdminSession(ctx context.Context, tokenHash []byte) (proof []byte, expires time.Time, err error)
	EndAdminSession(ctx context.Context, tokenHash []byte) error
}

// Sessions are those of the admin's browsers. They are stored, so that all nodes know them and an end is
// an end everywhere. The store has no more than a hash of a session's token; and its proof, a hash of the
// credential with that token for a key, which fits no other credential and tells nothing about this one.
type Sessions struct {
	store      Store
	credential *Credential
	life       time.Duration
}

// NewSessions makes them; each ends after life.
func NewSessions(s Store, c *Credential, life time.Duration) *Sessions {
	return &Sessions{store: s, credential: c, life: life}
}

const sessionPrefix = "as_"

// Open opens a session.
func (s *Sessions) Open(ctx context.Context) (token string, expires time.Time, err error) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, says its documentation
	token = sessionPrefix + base64.RawURLEncoding.EncodeToString(b)
	expires = time.Now().Add(s.life).UTC().Truncate(time.Second)
	return token, expires, s.store.AddAdminSession(ctx, hashOf(token), s.proof(token), expires)
}

// Find reports whether the token is of a session, and when that ends.
func (s *Sessions) Find(ctx context.Context, token string) (expires time.Time, ok bool, err error) {
	if !strings.HasPrefix(token, sessionPrefix) || len(token) != len(sessionPrefix)+43 {
		return expires, false, nil
	}
	proof, expires, err := s.store.AdminSession(ctx, hashOf(token))
	return expires, err == nil && hmac.Equal(proof, s.proof(token)) && time.Now().Before(expires), err
}

// End ends the session, if there is one.
func (s *Sessions) End(ctx context.Context, token string) error {
	return s.store.EndAdminSession(ctx, hashOf(token))
}

func hashOf(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func (s *Sessions) proof(token string) []byte {
	return mac([]byte(token), s.credential.token+"\x00"+s.credential.hash)
}
