package limits_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/limits"
)

// slowly is a rule with a token in 4 s after 20 at once.
var slowly = limits.GuessRule{
	Network: limits.Rate{PerSecond: 0.25, Burst: 20}, Site: limits.Rate{PerSecond: 0.25, Burst: 200}, Patience: 4500 * time.Millisecond,
}

// try tries once: what is behind it takes a while, as a database does.
func try(g *limits.Guesses, a limits.Attempt, right bool) (tried bool) {
	guess, _, ok := g.Begin(context.Background(), a)
	if !ok {
		return false
	}
	time.Sleep(10 * time.Millisecond) // virtual
	guess.Settle(!right)
	return true
}

// at is an attempt from an address at a subject, by a connection of its own.
func at(from, subject, lane string) limits.Attempt {
	return limits.Attempt{IP: ip(from), Subject: subject, Lane: lane}
}

// flood tries wrong secrets from now on until the test ends, each second one, each with a connection of
// its own if fresh.
func flood(g *limits.Guesses, subject string, fresh bool) (stop func()) {
	for i := range 20 {
		try(g, at("192.0.2.1", subject, fmt.Sprint("flood", i)), false)
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			lane := "flood"
			if fresh {
				lane = fmt.Sprint("flood ", i)
			}
			all.Go(func() { try(g, at("192.0.2.1", subject, lane), false) })
			select {
			case <-time.After(time.Second):
			case <-end:
				return
			}
		}
	})
	time.Sleep(10*time.Second + 7*time.Millisecond)
	return func() { close(end); all.Wait() }
}

func TestGuessesAtTheSameTimeGetNoFurtherThanOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(slowly)
		var told, tried atomic.Int64
		g.Tell = func(netip.Addr, string) { told.Add(1) }
		var all sync.WaitGroup
		for i := range 400 {
			all.Go(func() {
				if try(g, at("192.0.2.1", "m", fmt.Sprint(i)), false) {
					tried.Add(1)
				}
			})
		}
		all.Wait()
		if tried.Load() != 21 || told.Load() != 21 { // the one more for the patience of 4.5 s
			t.Errorf("%d tried, %d told to others; want the burst of 20, and one", tried.Load(), told.Load())
		}
		if _, wait, ok := g.Begin(t.Context(), limits.Attempt{IP: ip("192.0.2.1"), Subject: "m", Until: time.Now()}); ok || wait <= 0 {
			t.Error("there is more")
		}
	})
}

func TestNoMoreThanAThousandGuessesAnHour(t *testing.T) {
	for name, attempt := range map[string]func(i int) limits.Attempt{
		"at one meeting":       func(int) limits.Attempt { return at("192.0.2.1", "m", "l") },
		"at many meetings":     func(i int) limits.Attempt { return at("192.0.2.1", fmt.Sprint(i), fmt.Sprint(i)) },
		"from a site's /64s":   func(i int) limits.Attempt { return at(fmt.Sprintf("2001:db8:0:%x::1", i%65536), "m", fmt.Sprint(i)) },
		"by fresh connections": func(i int) limits.Attempt { return at("192.0.2.1", "m", fmt.Sprint(i)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := limits.NewGuesses(limits.GuessRule{
					Network: limits.Rate{PerSecond: 1 / 4.5, Burst: 20}, Site: limits.Rate{PerSecond: 1 / 4.5, Burst: 200}, Patience: 4750 * time.Millisecond,
				})
				var tried atomic.Int64
				var all sync.WaitGroup
				i, end := 0, time.Now().Add(time.Hour)
				for time.Now().Before(end) {
					for range 3 {
						a := attempt(i)
						all.Go(func() {
							if try(g, a, false) {
								tried.Add(1)
							}
						})
						i++
					}
					time.Sleep(4 * time.Second)
				}
				if n := tried.Load(); n < 800 || n > 1000 {
					t.Errorf("%d guesses in an hour", n)
				}
				all.Wait()
			})
		})
	}
}

func TestRightGuessesAtTheSameTimeAllPassAndCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(slowly)
		began := time.Now()
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				if !try(g, at("192.0.2.1", "m", fmt.Sprint(i)), true) {
					t.Error("refused")
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 500/20*10*time.Millisecond {
			t.Errorf("took %s: more than 20 at a time", took)
		}
		for range 20 {
			if !try(g, at("192.0.2.1", "m", ""), false) {
				t.Error("a right one was charged")
			}
		}
	})
}

// A guesser and its neighbours have one address. Whatever the guesser does, what is right is answered, at
// another meeting at once, at the same one after a short wait.
func TestNeighboursOfAGuesserAreAnswered(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		t.Run(fmt.Sprint("fresh connections ", fresh), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := limits.NewGuesses(slowly)
				defer flood(g, "m", fresh)()
				began := time.Now()
				if !try(g, at("192.0.2.1", "other", "neighbour"), true) || time.Since(began) > 10*time.Millisecond {
					t.Errorf("at another meeting: after %s", time.Since(began))
				}
				if !try(g, at("192.0.2.2", "m", "elsewhere"), true) || time.Since(began) > 20*time.Millisecond {
					t.Errorf("from another network: after %s", time.Since(began))
				}
				for asked := range 3 {
					began, tries := time.Now(), 0
					for !try(g, at("192.0.2.1", "m", fmt.Sprint("neighbour", asked)), true) {
						tries++
					}
					if took := time.Since(began); took > 9*time.Second || tries > 1 || !fresh && tries > 0 {
						t.Errorf("at the same meeting: after %s and %d refusals", took, tries)
					}
				}
			})
		})
	}
}

func TestSparedAttemptsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(slowly)
		asked := 0
		spared := func() bool { asked++; return true }
		attempt := at("192.0.2.1", "m", "l")
		attempt.Spared = spared
		try(g, attempt, true)
		if asked != 0 {
			t.Error("asked though there are tokens")
		}
		defer flood(g, "m", true)()
		began := time.Now()
		if !try(g, attempt, true) || time.Since(began) > 10*time.Millisecond || asked != 1 {
			t.Errorf("after %s, asked %d times", time.Since(began), asked)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(limits.GuessRule{Network: limits.Rate{PerSecond: 0.5, Burst: 1}, Patience: time.Minute})
		first, _, ok := g.Begin(t.Context(), at("192.0.2.1", "m", "a"))
		if !ok {
			t.Fatal("refused")
		}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, ok := g.Begin(brief, at("192.0.2.1", "m", "b")); ok {
			t.Error("two at once of one token")
		}
		limit := at("192.0.2.1", "m", "c")
		limit.Until = time.Now().Add(time.Second)
		if _, _, ok := g.Begin(t.Context(), limit); ok {
			t.Error("it waited for longer than it may")
		}
		began := time.Now()
		first.Settle(true)
		if !try(g, at("192.0.2.1", "m", "b"), true) || time.Since(began) != 2*time.Second+10*time.Millisecond {
			t.Errorf("the next token came after %s", time.Since(began))
		}
	})
}

func TestWrongGuessesElsewhereAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(slowly)
		for range 100 {
			g.Charge(ip("192.0.2.1"), "m")
		}
		now := limits.Attempt{IP: ip("192.0.2.1"), Subject: "m", Until: time.Now()}
		if try(g, now, true) {
			t.Error("what another node told does not count")
		}
		if now.Subject = "other"; !try(g, now, true) {
			t.Error("another subject pays")
		}
	})
}

// A flood of lanes and of sites is bounded in memory, and forgotten.
func TestLanesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limits.NewGuesses(slowly)
		for i := range 300 {
			for range 20 {
				g.Charge(ip(fmt.Sprintf("2001:db8:%x::1", i)), "")
			}
			for j := range 3 {
				go try(g, at(fmt.Sprintf("2001:db8:%x::1", i), "", fmt.Sprint(j)), false)
			}
		}
		for j := range 600 {
			go try(g, at("2001:db8::1", "", fmt.Sprint(j)), false)
		}
		time.Sleep(time.Minute)
		for range 20 {
			g.Charge(ip("2001:db8::1"), "")
		}
		try(g, at("2001:db8::1", "", ""), true)
		if lines, waiting := g.Held(); lines > 1 || waiting != 0 {
			t.Errorf("%d lines, %d wait", lines, waiting)
		}
	})
}

func TestGuessesAreFreeWhenOff(t *testing.T) {
	var g *limits.Guesses
	for range 3 {
		if !try(g, at("192.0.2.1", "m", ""), false) {
			t.Fatal("refused")
		}
	}
	g.Charge(ip("192.0.2.1"), "m")
}
