package limits_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

func TestLineThatIsFullLeavesEverySiteItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits.NewLine(limits.Rate{PerSecond: 1000, Burst: 250})
		honest, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1::1")
		passed := map[string]float64{}
		const seconds = 20
		for tick := range seconds * 100 {
			for n := range 50 { // floods from many networks of one site
				greedy := netip.MustParseAddr(fmt.Sprintf("2001:db8:9:%x::1", n))
				if l.Take(greedy, 10) {
					passed["greedy"] += 10
				}
			}
			if tick%10 == 0 { // 300 a second, below the third that is its part
				if l.Take(honest, 30) {
					passed["honest"] += 30
				} else if tick > 200 {
					t.Errorf("tick %d: refused within its part", tick)
				}
				if l.Take(other, 10) {
					passed["other"] += 10
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		sum := passed["greedy"] + passed["honest"] + passed["other"]
		if most := 1000.0*seconds + 3*250; sum > most || sum < 0.9*1000*seconds {
			t.Errorf("%v: %v in all, want %v", passed, sum, 1000*seconds)
		}
		if passed["other"] < 0.95*100*seconds {
			t.Errorf("%v", passed)
		}
	})
}

func TestLineThatIsNotFullIsAnybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits.NewLine(limits.Rate{PerSecond: 1000, Burst: 250})
		for n := range 100 { // idle neighbours take nothing away
			l.Take(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 0)
		}
		refused := 0
		for range 2000 {
			l.Take(netip.MustParseAddr("198.51.100.1"), 0)
			if !l.Take(ip("192.0.2.1"), 9) {
				refused++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if refused > 0 {
			t.Errorf("%d refused of a line that is not full", refused)
		}
	})
}
