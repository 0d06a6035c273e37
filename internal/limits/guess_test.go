package limits_test

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

// guess tries once: what is behind it takes a while, as a database does.
func guess(p *limits.PerIP, right bool) (tried bool) {
	g, _, ok := p.Guess(context.Background(), someone)
	if !ok {
		return false
	}
	time.Sleep(10 * time.Millisecond) // virtual
	g.Settle(!right)
	return true
}

func TestGuessesAtTheSameTimeGetNoFurtherThanOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(0.001, 20)
		var told, tried atomic.Int64
		p.Tell = func(netip.Addr) { told.Add(1) }
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if guess(p, false) {
					tried.Add(1)
				}
			})
		}
		all.Wait()
		if tried.Load() != 20 || told.Load() != 20 {
			t.Errorf("%d tried, %d told to others; want the burst of 20", tried.Load(), told.Load())
		}
		if _, wait, ok := p.Guess(context.Background(), someone); ok || wait <= 0 {
			t.Error("there is more")
		}
	})
}

func TestRightGuessesAtTheSameTimeAllPassAndCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(0.001, 20)
		began := time.Now()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if !guess(p, true) {
					t.Error("refused")
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 1000/20*10*time.Millisecond {
			t.Errorf("took %s: more than 20 at a time", took)
		}
		if n := spend(p, someone); n != 20 {
			t.Errorf("%d left, want 20", n)
		}
	})
}

func TestWhoWaitsForAGuessIsRefusedWhenTheOthersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limits.NewPerIP(0.5, 1)
		first, _, ok := p.Guess(context.Background(), someone)
		if !ok {
			t.Fatal("refused")
		}
		brief, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, ok := p.Guess(brief, someone); ok {
			t.Error("two at once of one token")
		}
		refused := make(chan time.Duration)
		go func() {
			_, wait, ok := p.Guess(context.Background(), someone)
			if ok {
				wait = -1
			}
			refused <- wait
		}()
		synctest.Wait()
		first.Settle(true)
		if wait := <-refused; wait != 2*time.Second {
			t.Errorf("wait %s, want 2s", wait)
		}
		time.Sleep(2 * time.Second)
		if !guess(p, false) {
			t.Error("refused after the wait that was told")
		}
	})
}

func TestGuessesAreFreeWhenOff(t *testing.T) {
	p := limits.NewPerIP(0, 1)
	for range 3 {
		g, _, ok := p.Guess(context.Background(), someone)
		if !ok {
			t.Fatal("refused")
		}
		g.Settle(true)
	}
}
