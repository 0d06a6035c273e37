package limits

import (
	"net/netip"
	"sync"
	"time"

	"signald/internal/netid"
)

// Line is a rate that all sites share, as they share the line of a host. While it is not full
// anybody may use all of it; when it is, each active site still has its equal part, so that no
// site is slowed by how much another one asks for. A nil Line allows everything.
type Line struct {
	rate Rate

	mu     sync.Mutex
	free   float64 // tokens; below 0 while parts are used after others have borrowed
	at     int64
	parts  map[netip.Prefix]*part
	second int64
	active int // sites seen in this second
	before int // in the one before
}

// part is what one site may use in any case.
type part struct {
	tokens float64
	at     int64
	second int64 // in which the site was last active
}

// NewLine makes a line of this rate.
func NewLine(r Rate) *Line {
	return &Line{rate: r, free: r.Burst, at: clock(), parts: map[netip.Prefix]*part{}}
}

// Take reports whether the site of an address may spend tokens now.
func (l *Line) Take(ip netip.Addr, tokens float64) bool {
	if l == nil {
		return true
	}
	now := clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = min(l.rate.Burst, l.free+l.comes(now-l.at))
	l.at = now
	p, sites := l.partLocked(netid.Site(ip), now)
	p.tokens = min(l.rate.Burst/sites, p.tokens+l.comes(now-p.at)/sites)
	p.at = now
	switch {
	case tokens <= p.tokens:
		p.tokens -= tokens
	case tokens > l.free:
		return false
	}
	l.free -= tokens
	return true
}

// comes is how many tokens come in so many ns.
func (l *Line) comes(ns int64) float64 { return l.rate.PerSecond * float64(ns) / float64(time.Second) }

// partLocked finds a site's part, and how many sites share the line.
func (l *Line) partLocked(site netip.Prefix, now int64) (*part, float64) {
	if second := now / int64(time.Second); second != l.second {
		l.before, l.active = l.active, 0
		if second > l.second+1 {
			l.before = 0
		}
		l.second = second
		for key, p := range l.parts {
			if p.second < second-1 {
				delete(l.parts, key)
			}
		}
	}
	p := l.parts[site]
	if p == nil && len(l.parts) >= maxAccounts { // those that there is no room to remember are one site
		site = netip.Prefix{}
		p = l.parts[site]
	}
	fresh := p == nil
	if fresh {
		p = &part{second: -1}
		l.parts[site] = p
	}
	if p.second != l.second {
		p.second = l.second
		l.active++
	}
	sites := float64(max(l.active, l.before))
	if fresh {
		p.tokens, p.at = l.rate.Burst/sites, now
	}
	return p, sites
}
