package limits_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

var someone = netip.MustParseAddr("192.0.2.1")

// spend takes tokens until there is none and says how many there were.
func spend(p *limits.PerIP, ip netip.Addr) (n int) {
	for n < 1000 {
		if _, ok := p.Take(ip); !ok {
			return n
		}
		n++
	}
	return n
}

func TestBurstThenRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(2, 5)
		if n := spend(p, someone); n != 5 {
			t.Fatalf("%d at once, want 5", n)
		}
		wait, ok := p.Take(someone)
		if ok || wait != 500*time.Millisecond {
			t.Fatalf("the next: %v, %v; want in 500ms", wait, ok)
		}
		time.Sleep(wait - time.Millisecond)
		if _, ok := p.Take(someone); ok {
			t.Fatal("taken too early")
		}
		time.Sleep(time.Millisecond)
		if _, ok := p.Take(someone); !ok {
			t.Fatal("not there after the wait that was told")
		}
		time.Sleep(time.Hour)
		if n := spend(p, someone); n != 5 {
			t.Fatalf("%d after an hour, want no more than the burst", n)
		}
	})
}

func TestRefusedTakesCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(1, 1)
		spend(p, someone)
		for range 100 {
			p.Take(someone)
		}
		time.Sleep(time.Second)
		if _, ok := p.Take(someone); !ok {
			t.Fatal("who asks too often waits longer")
		}
	})
}

func TestOneNetworkIsOneGuest(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		shared bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"2001:db8::1", "2001:db8::1%eth0", true},
	} {
		p := limits.NewPerIP(0.001, 1)
		p.Take(netip.MustParseAddr(c.a))
		if _, ok := p.Take(netip.MustParseAddr(c.b)); ok == c.shared {
			t.Errorf("%s and %s: shared %v", c.a, c.b, !ok)
		}
	}
	p := limits.NewPerIP(0.001, 1) // of unknown addresses all are one
	p.Take(netip.Addr{})
	if _, ok := p.Take(netip.Addr{}); ok {
		t.Error("the unknown address has no limit")
	}
}

func TestOff(t *testing.T) {
	p := limits.NewPerIP(0, 1)
	if n := spend(p, someone); n != 1000 {
		t.Errorf("%d taken", n)
	}
	var none *limits.Bucket
	if _, ok := none.Take(); !ok {
		t.Error("no bucket: refused")
	}
}

func TestFullBucketsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(0.1, 10)
		for i := range 1000 {
			p.Take(netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)}))
		}
		spend(p, someone)
		if n := p.Known(); n != 1001 {
			t.Fatalf("%d known", n)
		}
		time.Sleep(61 * time.Second) // the thousand are full again, someone is not
		if _, ok := p.Take(netip.MustParseAddr("198.51.100.1")); !ok {
			t.Fatal("refused")
		}
		if n := p.Known(); n != 2 {
			t.Errorf("%d known after the sweep, want 2", n)
		}
		if n := spend(p, someone); n != 6 {
			t.Errorf("%d left, want the 6 of a minute: the sweep must not give any", n)
		}
	})
}

func TestManyAtOnceGetNoMoreThanThereIs(t *testing.T) {
	p := limits.NewPerIP(0.0001, 100)
	var taken atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			other := netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", i))
			for range 50 {
				if _, ok := p.Take(someone); ok {
					taken.Add(1)
				}
				p.Take(other)
			}
		})
	}
	all.Wait()
	if n := taken.Load(); n != 100 {
		t.Errorf("%d taken, want 100", n)
	}
}

func TestBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limits.NewBucket(50, 200)
		for i := range 200 {
			if _, ok := b.Take(); !ok {
				t.Fatalf("refused after %d", i)
			}
		}
		wait, ok := b.Take()
		if ok || wait != 20*time.Millisecond {
			t.Fatalf("%v, %v; want in 20ms", wait, ok)
		}
		time.Sleep(wait)
		if _, ok := b.Take(); !ok {
			t.Fatal("not there after the wait that was told")
		}
	})
}
