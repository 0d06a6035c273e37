package limits_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

func TestSocketsElsewhereAreWhatNodesRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
		e := limits.NewElsewhere(3 * time.Second)
		expect := func(when string, wantA, wantB int) {
			t.Helper()
			if gotA, gotB := e.Count(a), e.Count(b); gotA != wantA || gotB != wantB {
				t.Errorf("%s: %d and %d, want %d and %d", when, gotA, gotB, wantA, wantB)
			}
		}
		expect("at first", 0, 0)
		e.Note("n_1", a, 0)
		e.Note("n_1", a, 2)
		e.Note("n_2", a, 3)
		e.Note("n_2", b, 1)
		expect("of two nodes", 5, 1)
		e.Note("n_1", a, 4) // what counts is the last word, not the sum
		expect("told anew", 7, 1)
		time.Sleep(3 * time.Second)
		e.Note("n_2", a, 3)
		time.Sleep(time.Millisecond)
		expect("after one fell silent", 3, 0)
		e.Note("n_2", a, 0)
		expect("after the last has gone", 0, 0)
	})
}
