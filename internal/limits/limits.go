// Package limits is how often something may be done, by whom.
package limits

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"signald/internal/netid"
)

// PerIP is a token bucket for each address, an IPv6 /64 counting as one.
type PerIP struct {
	perSecond float64
	burst     int

	mu      sync.Mutex
	buckets map[netip.Prefix]*rate.Limiter
	swept   time.Time
}

// NewPerIP allows burst at once and perSecond after that. A perSecond of 0 allows
// everything.
func NewPerIP(perSecond float64, burst int) *PerIP {
	return &PerIP{perSecond: perSecond, burst: burst, buckets: map[netip.Prefix]*rate.Limiter{}, swept: time.Now()}
}

// Take uses up one token, or says how long until there is one.
func (p *PerIP) Take(ip netip.Addr) (wait time.Duration, ok bool) {
	if p.perSecond == 0 {
		return 0, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return take(p.bucketLocked(ip), time.Now())
}

func take(b *rate.Limiter, now time.Time) (time.Duration, bool) {
	r := b.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

func (p *PerIP) bucketLocked(ip netip.Addr) *rate.Limiter {
	key := netid.Network(ip)
	p.sweepLocked()
	b := p.buckets[key]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(p.perSecond), p.burst)
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
		if b.TokensAt(now) >= float64(p.burst) {
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
