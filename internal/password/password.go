// Package password hashes what people choose as passwords, few at a time: bcrypt is slow on
// purpose, and must neither take every processor nor let one network wait for another's guesses.
package password

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"signald/internal/fault"
	"signald/internal/limits"
	"signald/internal/netid"
)

// Hasher hashes passwords and compares them. Its errors are fault.RateLimited when too many of
// a network wait already, and fault.Unavailable when the context ends first.
type Hasher struct {
	cost int
	gate *limits.Gate
	key  [sha256.Size]byte // of this process, for right

	mu      sync.Mutex
	right   map[[sha256.Size]byte]struct{} // keyed hashes of pairs that fit, so that a crowd costs one comparison
	running map[comparison]*outcome
}

// comparison is one that a network waits for: of several at once one is done.
type comparison struct {
	pair    [sha256.Size]byte
	network netip.Prefix
}

type outcome struct {
	done chan struct{} // closed when the rest is set
	fits bool
	err  error
}

// maxRight bounds the pairs that are remembered.
const maxRight = 4096

// New makes a Hasher that leaves half of the processors to others.
func New() *Hasher { return withCost(bcrypt.DefaultCost) }

// NewFast is New for tests that are not about the cost.
func NewFast() *Hasher { return withCost(bcrypt.MinCost) }

func withCost(cost int) *Hasher {
	h := &Hasher{cost: cost, gate: limits.NewGate(max(1, runtime.GOMAXPROCS(0)/2)), right: map[[sha256.Size]byte]struct{}{}, running: map[comparison]*outcome{}}
	_, _ = rand.Read(h.key[:]) // never fails, says its documentation
	return h
}

// Hash hashes a password of any length for a client at ip.
func (h *Hasher) Hash(ctx context.Context, ip netip.Addr, password string) (hash []byte, err error) {
	if waiting := h.gate.Do(ctx, ip, func() { hash, err = bcrypt.GenerateFromPassword(digest(password), h.cost) }); waiting != nil {
		return nil, busy(waiting)
	}
	return hash, err
}

// Matches reports whether a client at ip has sent the password of the hash.
func (h *Hasher) Matches(ctx context.Context, ip netip.Addr, hash []byte, password string) (bool, error) {
	return h.compare(ctx, ip, hash, digest(password))
}

// MatchesToken is Matches for a hash that bcrypt has made of the text itself, as other programs do.
func (h *Hasher) MatchesToken(ctx context.Context, ip netip.Addr, hash, token string) (bool, error) {
	return h.compare(ctx, ip, []byte(hash), []byte(token))
}

func (h *Hasher) compare(ctx context.Context, ip netip.Addr, hash, plain []byte) (fits bool, err error) {
	this := comparison{h.pair(hash, plain), netid.Network(ip)}
	for {
		h.mu.Lock()
		_, known := h.right[this.pair]
		same := h.running[this]
		own := !known && same == nil
		if own {
			same = &outcome{done: make(chan struct{})}
			h.running[this] = same
		}
		h.mu.Unlock()
		switch {
		case known:
			return true, nil
		case own:
			same.err = h.gate.Do(ctx, ip, func() { same.fits = bcrypt.CompareHashAndPassword(hash, plain) == nil })
			h.settle(this, same)
			if same.err != nil {
				return false, busy(same.err)
			}
			return same.fits, nil
		}
		select {
		case <-same.done:
			if same.err == nil {
				return same.fits, nil
			}
		case <-ctx.Done():
			return false, busy(ctx.Err())
		}
	}
}

// settle tells the others of a network what a comparison has come to, and remembers what fits.
func (h *Hasher) settle(this comparison, o *outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, this)
	close(o.done)
	if !o.fits {
		return
	}
	if len(h.right) >= maxRight {
		clear(h.right)
	}
	h.right[this.pair] = struct{}{}
}

// pair names a hash and what was compared with it, and tells neither.
func (h *Hasher) pair(hash, plain []byte) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, h.key[:])
	m.Write(hash)
	m.Write(plain)
	return [sha256.Size]byte(m.Sum(sum[:0]))
}

// digest is what bcrypt gets of a password of any length: it reads no more than 72 bytes, so
// longer ones would end there.
func digest(password string) []byte {
	sum := sha256.Sum256([]byte(password))
	return []byte(hex.EncodeToString(sum[:]))
}

func busy(err error) error {
	if errors.Is(err, limits.ErrBusy) {
		return fault.New(fault.RateLimited).WithMessage("Too many passwords from your address are being checked. Wait a moment and try again.").Because(err)
	}
	return fault.New(fault.Unavailable).Because(err)
}
