package limits

import (
	"context"
	"net/netip"
	"time"
)

// Guess is an attempt that costs a token if it fails. Its token is set aside meanwhile, so that no number of
// guesses at the same time gets past the limit.
type Guess struct {
	limit  *PerIP // nil: there is none
	ip     netip.Addr
	bucket *bucket
}

// Guess begins an attempt, which ends with Settle; not ok: there are no tokens, and how long until there
// is one. Who has tokens, but as many attempts under way, waits for one of these to settle: a hundred
// people behind one address may come at once, if they are right.
func (p *PerIP) Guess(ctx context.Context, ip netip.Addr) (g Guess, wait time.Duration, ok bool) {
	if p.perSecond == 0 {
		return Guess{}, 0, true
	}
	for {
		p.mu.Lock()
		b := p.bucketLocked(ip)
		tokens := b.Tokens()
		if tokens >= float64(b.guesses+1) {
			b.guesses++
			p.mu.Unlock()
			return Guess{p, ip, b}, 0, true
		}
		if tokens < 1 {
			p.mu.Unlock()
			return Guess{}, time.Duration((1 - tokens) / p.perSecond * float64(time.Second)), false
		}
		settled := b.settled
		p.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return Guess{}, time.Second, false
		}
	}
}

// Settle ends the attempt, and counts it if it failed.
func (g Guess) Settle(failed bool) {
	if g.limit == nil {
		return
	}
	g.limit.mu.Lock()
	g.bucket.guesses--
	if failed {
		_, _ = take(g.bucket.Limiter, time.Now()) // other nodes may have taken it
	}
	close(g.bucket.settled)
	g.bucket.settled = make(chan struct{})
	g.limit.mu.Unlock()
	if failed && g.limit.Tell != nil {
		g.limit.Tell(g.ip)
	}
}
