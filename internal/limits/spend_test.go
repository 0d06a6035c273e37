package limits_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func allowed(l *limits.Limit, p limits.Payer, tries int) (n int) {
	for range tries {
		if _, ok := l.Take(p, 1); ok {
			n++
		}
	}
	return n
}

func TestEachOwnerPaysAndHasItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits.NewLimit(limits.Rule{
			Network: limits.Rate{PerSecond: 1, Burst: 10}, Site: limits.Rate{PerSecond: 1, Burst: 25},
			Meeting: limits.Rate{PerSecond: 1, Burst: 40}, Server: limits.Rate{PerSecond: 1, Burst: 60},
		}, false)
		if n := allowed(l, limits.Payer{IP: ip("2001:db8:1:1::1"), Meeting: "a"}, 100); n != 10 {
			t.Errorf("a network spends %d, want 10", n)
		}
		if n := allowed(l, limits.Payer{IP: ip("2001:db8:1:1::2"), Meeting: "a"}, 100); n != 0 {
			t.Errorf("another address of the same network spends %d, want 0", n)
		}
		allowed(l, limits.Payer{IP: ip("2001:db8:1:2::1"), Meeting: "a"}, 100)
		refusal, ok := l.Take(limits.Payer{IP: ip("2001:db8:1:1::1"), Meeting: "a"}, 1)
		if ok || refusal.Owner != limits.Network || refusal.Wait != time.Second {
			t.Errorf("got %+v, %v", refusal, ok)
		}
		if n := allowed(l, limits.Payer{IP: ip("2001:db8:1:3::1"), Meeting: "a"}, 100); n != 5 {
			t.Errorf("the third network of a site spends %d, want the 5 that the site has left", n)
		}
		if n := allowed(l, limits.Payer{IP: ip("192.0.2.1"), Meeting: "a"}, 100); n != 10 {
			t.Errorf("a stranger to them spends %d, want 10", n)
		}
		if n := allowed(l, limits.Payer{IP: ip("192.0.2.2"), Meeting: "a"}, 100); n != 5 {
			t.Errorf("the meeting has 5 left, and %d were spent", n)
		}
		if n := allowed(l, limits.Payer{IP: ip("192.0.2.2"), Meeting: "b"}, 100); n != 5 {
			t.Errorf("what the meeting refused was charged to the network: %d of 5 are left", n)
		}
		for i := range 3 {
			allowed(l, limits.Payer{IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)})}, 10)
		}
		if refusal, ok := l.Take(limits.Payer{IP: ip("198.51.100.1")}, 1); ok || refusal.Owner != limits.Server {
			t.Errorf("over the server's bound: %+v, %v", refusal, ok)
		}
		time.Sleep(10 * time.Second)
		if n := allowed(l, limits.Payer{IP: ip("192.0.2.1")}, 100); n != 10 {
			t.Errorf("after 10 s a network spends %d, want 10", n)
		}
	})
}

func TestNilAllowsEverything(t *testing.T) {
	var l *limits.Limit
	var purses *limits.Purses
	if n := allowed(l, limits.Payer{}, 1000); n != 1000 {
		t.Errorf("%d of 1000", n)
	}
	purse := purses.Open(ip("192.0.2.1"))
	if _, ok := purse.Take(0, 1e9); !ok {
		t.Error("a nil purse refuses")
	}
	purse.Close()
	l.Charge(limits.Spent{Owner: limits.Network, Key: "192.0.2.1/32", Tokens: 1})
	if l.Spent() != nil {
		t.Error("something was spent")
	}
}

func TestNodesChargeWhatWasSpentElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := limits.Rule{Network: limits.Rate{PerSecond: 1, Burst: 10}, Site: limits.Rate{PerSecond: 1, Burst: 30}, Meeting: limits.Rate{PerSecond: 1, Burst: 20}, Person: limits.Rate{PerSecond: 1, Burst: 20}}
		here, there := limits.NewLimit(rule, true), limits.NewLimit(rule, true)
		who := limits.Payer{IP: ip("2001:db8::1"), Person: "u-1", Meeting: "m"}
		allowed(here, who, 7)
		for _, s := range here.Spent() {
			there.Charge(s)
		}
		if again := here.Spent(); len(again) > 0 {
			t.Errorf("told twice: %v", again)
		}
		if n := allowed(there, who, 100); n != 3 {
			t.Errorf("the other node allows %d more, want 3", n)
		}
		told := there.Spent()
		if len(told) != 4 {
			t.Errorf("what another node has told is not told on: %v", told)
		}
		for range 100 { // more than there was
			there.Charge(limits.Spent{Owner: limits.Network, Key: "2001:db8::/64", Tokens: 10})
		}
		time.Sleep(10 * time.Second)
		if n := allowed(there, who, 100); n != 10 {
			t.Errorf("an account went below empty: %d after 10 s", n)
		}
		for _, bad := range []limits.Spent{{Owner: limits.Network, Key: "x", Tokens: 1}, {Owner: "nobody", Key: "x", Tokens: 1}, {Owner: limits.Meeting, Key: "m", Tokens: -5}} {
			there.Charge(bad)
		}
	})
}

func TestReconnectingRefillsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purses := limits.NewPurses(limits.Rate{PerSecond: 5, Burst: 30}, limits.Rate{PerSecond: 50, Burst: 200})
		spent := 0
		for range 100 { // connections, one after the other, within a second
			purse := purses.Open(ip("192.0.2.1"))
			for {
				if _, ok := purse.Take(0, 1); !ok {
					break
				}
				spent++
			}
			purse.Close()
			time.Sleep(10 * time.Millisecond)
		}
		if spent < 30 || spent > 36 {
			t.Errorf("%d messages in a second by reconnecting, want the 35 of one connection", spent)
		}
		neighbour := purses.Open(ip("192.0.2.2"))
		if _, ok := neighbour.Take(0, 30); !ok {
			t.Error("another network pays")
		}
		time.Sleep(time.Minute)
		if purse := purses.Open(ip("192.0.2.1")); purse != nil {
			if _, ok := purse.Take(0, 30); !ok {
				t.Error("a purse is not full after a minute")
			}
		}
	})
}

// A flood of addresses is bounded in memory, and those already known are not disturbed.
func TestAccountsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits.NewLimit(limits.Rule{Network: limits.Rate{PerSecond: 0.01, Burst: 10}}, true)
		known := limits.Payer{IP: ip("192.0.2.1")}
		allowed(l, known, 1)
		strangers := 0
		for i := range 200_000 {
			if _, ok := l.Take(limits.Payer{IP: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}, 1); ok {
				strangers++
			}
		}
		if strangers > 1<<16+10 {
			t.Errorf("%d strangers have accounts", strangers)
		}
		if n := allowed(l, known, 100); n != 9 {
			t.Errorf("the known network has %d left, want 9", n)
		}
		if n := len(l.Spent()); n > 1<<16 {
			t.Errorf("%d accounts are told of", n)
		}
		time.Sleep(time.Hour)
		if n := allowed(l, limits.Payer{IP: ip("198.51.100.1")}, 100); n != 10 {
			t.Errorf("after the flood a stranger has %d, want 10", n)
		}
	})
}

func TestExpensiveWorkTakesTurnsByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := limits.NewGate(1)
		release := make(chan struct{})
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		do := func(from string, f func()) {
			all.Go(func() {
				if err := gate.Do(t.Context(), ip(from), f); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		do("192.0.2.9", func() { <-release })
		for i := range 128 {
			do("192.0.2.1", func() { mu.Lock(); order = append(order, fmt.Sprint("flood ", i)); mu.Unlock() })
		}
		if err := gate.Do(t.Context(), ip("192.0.2.1"), func() {}); !errors.Is(err, limits.ErrBusy) {
			t.Errorf("one more of one network: %v", err)
		}
		do("192.0.2.2", func() { mu.Lock(); order = append(order, "honest"); mu.Unlock() })
		ctx, cancel := context.WithCancel(t.Context())
		impatient := make(chan error)
		go func() { impatient <- gate.Do(ctx, ip("192.0.2.3"), func() { t.Error("ran after it was given up") }) }()
		synctest.Wait()
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(release)
		all.Wait()
		if len(order) != 129 || order[1] != "honest" {
			t.Errorf("the order was %v", order)
		}
		if err := gate.Do(t.Context(), ip("192.0.2.3"), func() {}); err != nil {
			t.Errorf("the gate stays shut: %v", err)
		}
	})
}

func TestConcurrentUseIsCountedByNetworkAndSite(t *testing.T) {
	c := limits.Concurrent{PerNetwork: 2, PerSite: 3, InAll: 5}
	var leaves []func()
	enter := func(from string) limits.Owner {
		leave, owner, ok := c.Enter(ip(from))
		if ok {
			leaves = append(leaves, leave)
		}
		return owner
	}
	for _, step := range []struct {
		from string
		want limits.Owner
	}{
		{"2001:db8:0:1::1", ""}, {"2001:db8:0:1::2", ""}, {"2001:db8:0:1::3", limits.Network},
		{"2001:db8:0:2::1", ""}, {"2001:db8:0:3::1", limits.Site}, {"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.2", limits.Server},
	} {
		if got := enter(step.from); got != step.want {
			t.Errorf("%s: %q, want %q", step.from, got, step.want)
		}
	}
	for _, leave := range leaves {
		leave()
	}
	if c.Count() != 0 {
		t.Errorf("%d are left", c.Count())
	}
}

func TestSampleTellsWhatItLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limits.NewSample(limits.Rate{PerSecond: 1, Burst: 3})
		written, told := 0, 0
		for range 100 {
			if leftOut, ok := s.Take(ip("192.0.2.1")); ok {
				written, told = written+1, told+leftOut
			}
		}
		if written != 3 || told != 0 {
			t.Errorf("%d lines at once, which tell of %d", written, told)
		}
		if _, ok := s.Take(ip("192.0.2.2")); !ok {
			t.Error("another network's line is left out")
		}
		time.Sleep(time.Second)
		if leftOut, ok := s.Take(ip("192.0.2.1")); !ok || leftOut != 97 {
			t.Errorf("the next line tells of %d, %v; want 97", leftOut, ok)
		}
	})
}

// One network has a part of what a meeting has, and the others have the rest; the part is told to other nodes.
func TestNetworkHasAShareOfAMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := limits.Rule{Meeting: limits.Rate{PerSecond: 1, Burst: 20}, Share: limits.Rate{PerSecond: 1, Burst: 10}}
		here, there := limits.NewLimit(rule, true), limits.NewLimit(rule, true)
		greedy, other := limits.Payer{IP: ip("2001:db8::1"), Meeting: "a meeting"}, limits.Payer{IP: ip("192.0.2.1"), Meeting: "a meeting"}
		if n := allowed(here, greedy, 100); n != 10 {
			t.Errorf("one network spends %d, want its share of 10", n)
		}
		for _, s := range here.Spent() {
			there.Charge(s)
		}
		if n := allowed(there, greedy, 100); n != 0 {
			t.Errorf("at another node it spends %d more", n)
		}
		if n := allowed(there, other, 100); n != 10 {
			t.Errorf("another network spends %d, want the 10 that are left", n)
		}
		if n := allowed(there, limits.Payer{IP: greedy.IP, Meeting: "another"}, 100); n != 10 {
			t.Errorf("in another meeting the first one spends %d", n)
		}
	})
}
