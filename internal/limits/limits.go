// Package limits is how often something may be done, by whom.
package limits

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// PerIP is a token bucket for each address, an IPv6 /64 counting as one.
type PerIP struct {
	perSecond float64
	burst     int
	// Tell, if set before use, is told of every token taken here, for other nodes to
	// take one too. It must not block.
	Tell func(netip.Addr)

	mu      sync.Mutex
	buckets map[netip.Prefix]*bucket
	swept   time.Time
}

// bucket belongs to who holds PerIP.mu.
type bucket struct {
	*rate.Limiter
	guesses int           // under way
	settled chan struct{} // closed and made anew when one is settled
}

// NewPerIP allows burst at once and perSecond after that. A perSecond of 0 allows
// everything.
func NewPerIP(perSecond float64, burst int) *PerIP {
	return &PerIP{perSecond: perSecond, burst: burst, buckets: map[netip.Prefix]*bucket{}, swept: time.Now()}
}

// Take uses up one token, or says how long until there is one.
func (p *PerIP) Take(ip netip.Addr) (wait time.Duration, ok bool) {
	if p.perSecond == 0 {
		return 0, true
	}
	wait, ok = p.TakeQuietly(ip)
	if ok && p.Tell != nil {
		p.Tell(ip)
	}
	return wait, ok
}

// TakeQuietly is Take for what another node has told.
func (p *PerIP) TakeQuietly(ip netip.Addr) (wait time.Duration, ok bool) {
	if p.perSecond == 0 {
		return 0, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return take(p.bucketLocked(ip).Limiter, time.Now())
}

func take(b *rate.Limiter, now time.Time) (time.Duration, bool) {
	r := b.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

func (p *PerIP) bucketLocked(ip netip.Addr) *bucket {
	ip = ip.Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	key, _ := ip.Prefix(bits) // the zero Prefix for the zero Addr
	p.sweepLocked()
	b := p.buckets[key]
	if b == nil {
		b = &bucket{Limiter: rate.NewLimiter(rate.Limit(p.perSecond), p.burst), settled: make(chan struct{})}
		p.buckets[key] = b
	}
	return b
}

// sweepLocked forgets full buckets, once a minute.
func (p *PerIP) sweepLocked() {
	now := time.Now()
	if now.Sub(p.swept) < time.Minute {
		return
	}
	p.swept = now
	for key, b := range p.buckets {
		if b.guesses == 0 && b.TokensAt(now) >= float64(p.burst) {
			delete(p.buckets, key)
		}
	}
}

// Bucket is one token bucket; nil allows everything.
type Bucket struct{ limiter *rate.Limiter }

// NewBucket allows burst at once and perSecond after that.
func NewBucket(perSecond float64, burst int) *Bucket {
	return &Bucket{rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// Take uses up one token, or says how long until there is one.
func (b *Bucket) Take() (wait time.Duration, ok bool) {
	if b == nil {
		return 0, true
	}
	return take(b.limiter, time.Now())
}
