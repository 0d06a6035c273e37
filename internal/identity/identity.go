// Package identity is who somebody is by the word of an application that the
// operator trusts: join tokens, JWTs that it signs for the people it has signed in.
package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"signald/internal/fault"
	"signald/internal/protocol"
)

// Identity is what a token says of its bearer.
type Identity struct {
	Sub     string // who it is, for all meetings
	Name    string // how others are to see it; may be empty
	Meeting string // the meeting it is good for; "*": any
	Role    string // Guest, Cohost or Host
	Until   time.Time
}

// Expired reports whether the token, good when it was shown, is not any more.
func (i *Identity) Expired() bool { return time.Now().After(i.Until) }

// Roles that a token can give.
const (
	Guest  = "guest"
	Cohost = "cohost"
	Host   = "host"
)

// Any is the meeting of a token that is good for all.
const Any = "*"

// Good reports whether the token is for this meeting.
func (i *Identity) Good(meetingID string) bool { return i.Meeting == Any || i.Meeting == meetingID }

// Algorithms that are taken. There is no "none" among them.
const (
	hs256 = "HS256"
	eddsa = "EdDSA"
)

// leeway is how far clocks may be apart.
const leeway = 10 * time.Second

// maxToken bounds what is looked at, in bytes.
const maxToken = 4 << 10

// key is one that tokens may be signed with.
type key struct {
	id, alg string
	verify  any // of jwt: []byte, ed25519.PublicKey
	sign    any // nil: others sign, we only verify
}

// Keys verify tokens. Several are in force while one takes over from another. They may be used and read
// again at the same time.
type Keys struct {
	list   []string // as ParseKeys has them
	keys   atomic.Pointer[[]key]
	parser *jwt.Parser
}

// ParseKeys reads keys as kid:alg:base64. The alg is HS256, with at least 32 bytes,
// or EdDSA, with the 32 bytes of a public key or the 64 of a private one. An
// element @file stands for the lines of a file. No keys: nil.
func ParseKeys(list []string) (*Keys, error) {
	keys, err := parseKeys(list)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	k := &Keys{
		list:   list,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{hs256, eddsa}), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
	}
	k.keys.Store(&keys)
	return k, nil
}

// Reload reads the files among the keys again, and returns how many keys are in force. After an error those from before are.
func (k *Keys) Reload() (int, error) {
	if k == nil {
		return 0, nil
	}
	keys, err := parseKeys(k.list)
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key any more")
	}
	if err != nil {
		return len(*k.keys.Load()), err
	}
	k.keys.Store(&keys)
	return len(keys), nil
}

func parseKeys(list []string) (keys []key, err error) {
	var problems []error
	for _, element := range list {
		lines, err := linesOf(element)
		if err != nil {
			problems = append(problems, err)
		}
		for _, line := range lines {
			one, err := parseKey(line)
			switch {
			case err != nil:
				problems = append(problems, err)
			case find(keys, one.id) != nil:
				problems = append(problems, fmt.Errorf("two keys are called %s", one.id))
			default:
				keys = append(keys, one)
			}
		}
	}
	return keys, errors.Join(problems...)
}

func linesOf(element string) ([]string, error) {
	path, isFile := strings.CutPrefix(element, "@")
	if !isFile {
		return []string{element}, nil
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// parseKey never tells the key itself in an error.
func parseKey(line string) (key, error) {
	id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
	alg, encoded, found := strings.Cut(rest, ":")
	if !found || id == "" {
		return key{}, errors.New("a key is kid:alg:base64")
	}
	encoded = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(encoded), "=")
	secret, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return key{}, fmt.Errorf("key %s is not base64", id)
	}
	k := key{id: id, alg: alg}
	switch {
	case alg == hs256 && len(secret) >= 32:
		k.verify, k.sign = secret, secret
	case alg == hs256:
		return key{}, fmt.Errorf("key %s has %d bytes: HS256 needs at least 32", id, len(secret))
	case alg == eddsa && len(secret) == ed25519.PublicKeySize:
		k.verify = ed25519.PublicKey(secret)
	case alg == eddsa && len(secret) == ed25519.PrivateKeySize:
		private := ed25519.PrivateKey(secret)
		k.verify, k.sign = private.Public(), private
	case alg == eddsa:
		return key{}, fmt.Errorf("key %s has %d bytes: EdDSA needs 32 (public) or 64 (private)", id, len(secret))
	default:
		return key{}, fmt.Errorf("key %s: the algorithm is HS256 or EdDSA", id)
	}
	return k, nil
}

func find(keys []key, id string) *key {
	for i := range keys {
		if keys[i].id == id {
			return &keys[i]
		}
	}
	return nil
}

type claims struct {
	jwt.RegisteredClaims
	Name    string `json:"name,omitempty"`
	Meeting string `json:"meeting"`
	Role    string `json:"role,omitempty"`
}

// Verify reads a token. Errors: token_expired, unauthorized. Without keys no token
// is good.
func (k *Keys) Verify(token string) (*Identity, error) {
	if k == nil || len(token) > maxToken {
		return nil, fault.New(fault.Unauthorized)
	}
	var c claims
	_, err := k.parser.ParseWithClaims(token, &c, k.keyOf)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, fault.New(fault.TokenExpired).Because(err)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return nil, fault.New(fault.Unauthorized).
			WithMessage("The token is not valid yet. Check the clocks of this server and of who made the token.").Because(err)
	case err != nil:
		return nil, fault.New(fault.Unauthorized).WithMessage("The token is not valid.").Because(err)
	}
	if c.Role == "" {
		c.Role = Guest
	}
	id := &Identity{Sub: c.Subject, Name: c.Name, Meeting: c.Meeting, Role: c.Role, Until: c.ExpiresAt.Add(leeway)}
	if id.Sub == "" || id.Meeting == "" || !slices.Contains([]string{Guest, Cohost, Host}, id.Role) {
		return nil, fault.New(fault.Unauthorized).WithMessage("The token lacks a sub or a meeting, or has a role that there is not.")
	}
	// As clients write them: a key, a sub or a name that looks like another is that one.
	if err := protocol.Validate(&protocol.Claims{Sub: &id.Sub, Name: &id.Name, Meeting: &id.Meeting}); err != nil {
		return nil, fault.New(fault.Unauthorized).WithMessage("The token's sub, name or meeting cannot be used here.").Because(err)
	}
	return id, nil
}

// keyOf finds the key that a token names. The algorithm is the key's to say: a
// token that could choose would be checked with a public key as its secret.
func (k *Keys) keyOf(t *jwt.Token) (any, error) {
	id, named := t.Header["kid"].(string)
	keys := *k.keys.Load()
	one := find(keys, id)
	if !named && len(keys) == 1 {
		one = &keys[0]
	}
	_, critical := t.Header["crit"] // RFC 7515: what is not understood there makes the token invalid
	switch {
	case critical:
		return nil, errors.New("crit names what is not understood here")
	case one == nil:
		return nil, errors.New("unknown key")
	case one.alg != t.Method.Alg():
		return nil, errors.New("the algorithm is not the key's")
	}
	return one.verify, nil
}

// Sign makes a token, with the key of that id or else the first that can sign.
func (k *Keys) Sign(kid string, id Identity, ttl time.Duration) (string, error) {
	var by *key
	var keys []key
	if k != nil {
		keys = *k.keys.Load()
		for i := range keys {
			if one := &keys[i]; one.sign != nil && (kid == "" || one.id == kid) {
				by = one
				break
			}
		}
	}
	switch {
	case by == nil && kid != "" && k != nil && find(keys, kid) == nil:
		return "", fmt.Errorf("SIGNALD_TOKEN_KEYS has no key %q", kid)
	case by == nil:
		return "", errors.New("no key to sign with: SIGNALD_TOKEN_KEYS needs an HS256 key or a private EdDSA key")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(by.alg), claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: id.Sub, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Name: id.Name, Meeting: id.Meeting, Role: id.Role,
	})
	t.Header["kid"] = by.id
	return t.SignedString(by.sign)
}
