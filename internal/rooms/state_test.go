package rooms_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// rule is a revision that changes what the meeting allows.
func (w *truth) rule(st rooms.State) rooms.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rev++
	w.state = st
	return rooms.Change{Rev: w.rev, Kind: rooms.Ruled, State: &st}
}

// lobbied is a revision that changes who waits.
func (w *truth) lobbied(waiter rooms.Waiter) rooms.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rev++
	w.lobby = slices.DeleteFunc(slices.Clone(w.lobby), func(other rooms.Waiter) bool { return other.Ticket == waiter.Ticket })
	if waiter.Standing == rooms.Waits || waiter.Standing == rooms.Admitted {
		w.lobby = append(w.lobby, waiter)
	}
	return rooms.Change{Rev: w.rev, Kind: rooms.Lobbied, Waiter: &waiter}
}

func role(p rooms.Peer, role string) rooms.Peer {
	p.Role = role
	return p
}

func TestStateIsToldInItsTurnBeforeTheRosterOfItsRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, a := h.join(person("p_a", "c"))
		time.Sleep(time.Second)
		before := len(a.got())
		muted := rooms.State{Camera: true, Spotlight: "p_a"}
		rule, joined := h.truth.rule(muted), h.truth.put(person("p_b", "c"))
		h.apply(joined, rule)
		time.Sleep(time.Second)
		news := a.got()[before:]
		if len(news) != 2 {
			t.Fatalf("told %v", news)
		}
		delta, ok := news[1].(rooms.Delta)
		if st, is := news[0].(stateNews); !is || st.state != muted || !ok || st.rev != delta.Rev || delta.Rev != joined.Rev || len(delta.Joined) != 1 {
			t.Errorf("told %+v", news)
		}
		_, late := h.join(person("p_c", "c"))
		time.Sleep(time.Second)
		if got := only[stateNews](late); len(got) != 0 {
			t.Errorf("a newcomer, whose answer holds it, is told %v", got)
		}
		if got := only[stateNews](a); len(got) != 1 {
			t.Errorf("told %v though nothing has changed", got)
		}
		if r := h.room().Roster(); r.State != muted {
			t.Errorf("the roster says %+v", r.State)
		}
	})
}

func TestLostStateIsHealedFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, a := h.join(person("p_a", "c"))
		want := rooms.State{Locked: true}
		h.truth.rule(want) // its message is lost
		h.apply(h.truth.put(person("p_b", "c")))
		time.Sleep(time.Second)
		if got := only[stateNews](a); len(got) != 1 || got[0].state != want {
			t.Errorf("told %v", got)
		}
	})
}

func TestNoticeIsForWhomItConcernsAndComesBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, host := h.join(role(person("p_host", "c"), rooms.RoleHost))
		_, co := h.join(role(person("p_co", "c"), rooms.RoleCohost))
		_, target := h.join(person("p_target", "c"))
		_, other := h.join(person("p_other", "c"))
		kick := h.truth.leave("p_target", "kicked")
		kick.Notice = &rooms.Notice{Action: "kick", PeerID: "p_target", By: "p_host"}
		h.apply(kick)
		for who, b := range map[string]*box{"host": host, "co-host": co, "target": target} {
			if got := only[rooms.Notice](b); len(got) != 1 || got[0] != *kick.Notice {
				t.Errorf("the %s is told %v", who, got)
			}
		}
		if got := only[rooms.Notice](other); len(got) != 0 || !slices.Equal(target.wasCut(), []string{"kicked"}) {
			t.Errorf("another is told %v, the target is cut %q", got, target.wasCut())
		}
		time.Sleep(time.Second)
		told := len(target.got())
		h.apply(h.truth.put(person("p_new", "c")))
		time.Sleep(time.Second)
		if got := target.got()[told:]; len(got) != 0 {
			t.Errorf("after its end the target is told %v", got)
		}
	})
}

// A reading of the store overtakes a change that waits for one before it: who is out is told why all the same.
func TestNoticeAndReasonSurviveAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, target := h.join(person("p_target", "c"))
		h.truth.put(person("p_lost", "c")) // its message is lost
		kick := h.truth.leave("p_target", "kicked")
		kick.Notice = &rooms.Notice{Action: "kick", PeerID: "p_target"}
		h.apply(kick)
		time.Sleep(time.Second)
		if got := only[rooms.Notice](target); len(got) != 1 || !slices.Equal(target.wasCut(), []string{"kicked"}) {
			t.Errorf("told %v, cut %q", got, target.wasCut())
		}
	})
}

// The node of who was kicked may learn of it last.
func TestSignalsOfWhoIsOutAreNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_b", "c"))
		h.apply(h.truth.put(at(other, "p_eve", "c")), h.truth.leave("p_eve", "kicked"))
		var outcome rooms.Outcome
		h.Deliver("k", "p_eve", "p_b", 0, []byte("psst"), func(o rooms.Outcome, _ rooms.Route) { outcome = o })
		if outcome != rooms.Unseated || slices.Contains(only[string](b), "psst") {
			t.Errorf("%v, told %v", outcome, only[string](b))
		}
		h.Deliver("k", "p_unknown", "p_b", 0, []byte("hello"), func(o rooms.Outcome, _ rooms.Route) { outcome = o })
		if outcome != rooms.Delivered { // whose joining was lost on the way
			t.Errorf("%v", outcome)
		}
	})
}

func TestLobbyIsForHostsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, host := h.join(role(person("p_host", "c"), rooms.RoleHost))
		g := person("p_g", "c")
		_, guest := h.join(g)
		last := func(b *box) (names []string) {
			time.Sleep(time.Second)
			if all := only[lobbyNews](b); len(all) > 0 {
				for _, w := range all[len(all)-1].waiting {
					names = append(names, w.Ticket)
				}
			}
			return names
		}
		a, b := rooms.Waiter{Ticket: "w_a"}, rooms.Waiter{Ticket: "w_b"}
		h.apply(h.truth.lobbied(a), h.truth.lobbied(b))
		if got := last(host); !slices.Equal(got, []string{"w_a", "w_b"}) || len(only[lobbyNews](host)) != 1 {
			t.Errorf("the host sees %v, in %d messages", got, len(only[lobbyNews](host)))
		}
		if got := only[lobbyNews](guest); len(got) != 0 {
			t.Errorf("a guest sees %v", got)
		}
		h.apply(h.truth.put(role(g, rooms.RoleCohost)))
		if got := last(guest); !slices.Equal(got, []string{"w_a", "w_b"}) {
			t.Errorf("promoted, it sees %v", got)
		}
		h.apply(h.truth.put(g))
		a.Standing = rooms.Admitted
		h.apply(h.truth.lobbied(a))
		if got := last(host); !slices.Equal(got, []string{"w_b"}) {
			t.Errorf("the host sees %v", got)
		}
		if got := only[lobbyNews](guest); len(got) != 1 {
			t.Errorf("demoted, it is told %v", got)
		}
		b.Standing = rooms.Out
		h.truth.lobbied(b) // its message is lost
		h.apply(h.truth.put(person("p_x", "c")))
		if got := last(host); len(got) != 0 {
			t.Errorf("the host sees %v", got)
		}
		_, second := h.join(role(person("p_second", "c"), rooms.RoleHost))
		if got := only[lobbyNews](second); len(last(second)) != 0 || len(got) > 1 {
			t.Errorf("a second host is told %v", got)
		}
	})
}

func TestWhoWaitsIsToldOnceWhateverIsLost(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, admitted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := open(t)
				r := h.room()
				out := &box{}
				w := rooms.Waiter{Ticket: "w_a", ConnID: "c1"}
				h.apply(h.truth.lobbied(w))
				stop := r.Wait("w_a", "c1", out)
				w.Standing = rooms.Denied
				if admitted {
					w.Standing = rooms.Admitted
				}
				decided := h.truth.lobbied(w)
				if !lost {
					h.apply(decided)
				}
				h.apply(h.truth.put(person("p_x", "c")))
				time.Sleep(time.Second)
				got := only[decision](out)
				switch {
				case lost && !admitted: // asking again will tell it why
					if len(got) != 0 || !slices.Equal(out.wasCut(), []string{"server"}) {
						t.Errorf("told %v, cut %q", got, out.wasCut())
					}
				case len(got) != 1 || bool(got[0]) != admitted || len(out.wasCut()) != 0:
					t.Errorf("lost %v, admitted %v: told %v, cut %q", lost, admitted, got, out.wasCut())
				}
				stop()
				late := &box{}
				r.Wait("w_a", "c1", late)()
				if admitted && len(only[decision](late)) != 1 {
					t.Errorf("who comes late is told %v", late.got())
				}
			})
		}
	}
}
