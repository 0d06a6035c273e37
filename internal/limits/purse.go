package limits

import (
	"net/netip"
	"sync"
	"time"

	"signald/internal/netid"
)

// Purses hold what single connections may spend. A purse outlives its connection: the next
// connection of the same network goes on with it, so that reconnecting refills nothing.
type Purses struct {
	rates []Rate

	mu     sync.Mutex
	parked map[netip.Prefix][]*Purse
	swept  int64
}

// Purse belongs to one connection, whose events are handled one at a time: it has no lock. A
// nil Purse allows everything.
type Purse struct {
	of      *Purses
	network netip.Prefix
	full    []int64 // by kind, see accounts
}

// parkedPerNetwork bounds the purses remembered of one network. More of them are of no use to
// somebody who reconnects, as each connection takes one.
const parkedPerNetwork = 64

// NewPurses makes purses for so many kinds of spending.
func NewPurses(rates ...Rate) *Purses {
	return &Purses{rates: rates, parked: map[netip.Prefix][]*Purse{}}
}

// Open gives a new connection its purse: the emptiest that a former connection of its network
// has left, or a full one.
func (p *Purses) Open(ip netip.Addr) *Purse {
	if p == nil {
		return nil
	}
	network, now := netid.Network(ip), clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.parked[network]
	emptiest, debt := -1, int64(0)
	for i, purse := range list {
		if d := purse.debt(now); d > debt {
			emptiest, debt = i, d
		}
	}
	if emptiest < 0 {
		delete(p.parked, network)
		return &Purse{of: p, network: network, full: make([]int64, len(p.rates))}
	}
	purse := list[emptiest]
	list[emptiest] = list[len(list)-1]
	list[len(list)-1] = nil
	p.parked[network] = list[:len(list)-1]
	return purse
}

// Close parks the purse of a connection that has ended.
func (p *Purse) Close() {
	if p == nil {
		return
	}
	now, all := clock(), p.of
	all.mu.Lock()
	defer all.mu.Unlock()
	all.sweepLocked(now)
	list := all.parked[p.network]
	if p.debt(now) > 0 && len(list) < parkedPerNetwork && (list != nil || len(all.parked) < maxAccounts) {
		all.parked[p.network] = append(list, p)
	}
}

// Take spends tokens of a kind, or says how long until there are enough.
func (p *Purse) Take(kind int, tokens float64) (wait time.Duration, ok bool) {
	if p == nil {
		return 0, true
	}
	now := clock()
	a := accounts[int]{rate: p.of.rates[kind]}
	full := a.after(p.full[kind], tokens, now)
	if wait := full - now - a.seconds(a.rate.Burst); wait > 0 {
		return time.Duration(wait), false
	}
	p.full[kind] = full
	return 0, true
}

// debt is how long the purse takes to be full again, in ns; not positive: it is full.
func (p *Purse) debt(now int64) int64 {
	var most int64
	for _, full := range p.full {
		most = max(most, full-now)
	}
	return most
}

func (p *Purses) sweepLocked(now int64) {
	if now-p.swept < sweepEvery {
		return
	}
	p.swept = now
	for network, list := range p.parked {
		kept := list[:0]
		for _, purse := range list {
			if purse.debt(now) > 0 {
				kept = append(kept, purse)
			}
		}
		clear(list[len(kept):])
		if p.parked[network] = kept; len(kept) == 0 {
			delete(p.parked, network)
		}
	}
}
