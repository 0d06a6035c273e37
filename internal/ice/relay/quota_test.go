package relay

import (
	"fmt"
	"net/netip"
	"testing"
)

// A customer with many networks gets four times as much as one with a single address, and no more.
func TestSiteHasFourTimesTheAllocationsOfANetwork(t *testing.T) {
	q := newQuota(0, 3, 0)
	flow := 0
	take := func(addr string) bool {
		flow++
		return q.take(fmt.Sprint(flow), "p", netip.MustParseAddr(addr))
	}
	took := 0
	for network := range 20 {
		for range 5 {
			if take(fmt.Sprintf("2001:db8:1:%x::1", network)) {
				took++
			}
		}
	}
	if took != 12 {
		t.Errorf("%d of one /48, want 12", took)
	}
	if !take("2001:db8:2::1") || !take("192.0.2.1") {
		t.Error("another site is refused")
	}
	for n := range flow + 1 {
		q.ended(fmt.Sprint(n))
	}
	if q.count() != 0 || len(q.sites) != 0 || len(q.ips) != 0 || len(q.users) != 0 {
		t.Errorf("%+v", q)
	}
	if !take("2001:db8:1::1") {
		t.Error("what was given back is not there")
	}
}
