package limits

import (
	"net/netip"
	"sync"

	"signald/internal/netid"
)

// Sample chooses which of many similar log lines are written: a few of each network at once,
// and then one in a while that tells how many were left out.
type Sample struct {
	limit *Limit

	mu      sync.Mutex
	leftOut map[netip.Prefix]int
}

// NewSample lets lines of each network through as the rate says. A zero rate lets all through.
func NewSample(r Rate) *Sample {
	return &Sample{limit: NewLimit(Rule{Network: r}, false), leftOut: map[netip.Prefix]int{}}
}

// Take reports whether the next line of the network is written, and how many before it were not.
func (s *Sample) Take(ip netip.Addr) (leftOut int, ok bool) {
	if s == nil {
		return 0, true
	}
	_, ok = s.limit.Take(Payer{IP: ip}, 1)
	network := netid.Network(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		leftOut = s.leftOut[network]
		delete(s.leftOut, network)
		return leftOut, true
	}
	if _, there := s.leftOut[network]; there || len(s.leftOut) < maxAccounts {
		s.leftOut[network]++
	}
	return 0, false
}
