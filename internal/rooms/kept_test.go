package rooms_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// returns puts p on a new connection and starts it.
func (h *hall) returns(p rooms.Peer, connID string) (*rooms.Member, *box) {
	h.t.Helper()
	p.ConnID = connID
	h.apply(h.truth.put(p))
	return h.attach(h.room(), p)
}

func wantSignals(t *testing.T, what string, b *box, want ...string) {
	t.Helper()
	if got := only[string](b); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestSignalsThatAreNotConfirmedFollowToTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		a, _ := h.join(person("p_a", "c"))
		b, out := h.join(person("p_b", "c"))
		a.Relay("p_b", "p_a 1")
		out.confirm(b)
		a.Relay("p_b", "p_a 2")
		a.Relay("p_b", "p_a 3") // written to a link that is dead
		b.Detach()
		if got := a.Relay("p_b", "p_a 4"); got != rooms.Queued {
			t.Errorf("outcome %v", got)
		}
		_, out = h.returns(person("p_b", ""), "c2")
		a.Relay("p_b", "p_a 5")
		wantSignals(t, "at the return", out, "p_a 2", "p_a 3", "p_a 4", "p_a 5")

		// And so on, here when the connection is replaced while it is thought alive.
		b, out = h.returns(person("p_b", ""), "c3")
		wantSignals(t, "on the third", out, "p_a 2", "p_a 3", "p_a 4", "p_a 5")
		out.confirm(b)
		_, out = h.returns(person("p_b", ""), "c4")
		wantSignals(t, "once they are confirmed", out)
	})
}

// A connection that is closing refuses, before anyone has noticed that it does.
func TestSignalThatAClosingConnectionRefusesFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		a, _ := h.join(person("p_a", "c"))
		_, out := h.join(person("p_b", "c"))
		out.close()
		if got := a.Relay("p_b", "p_a 1"); got != rooms.Delivered {
			t.Errorf("outcome %v", got)
		}
		_, out = h.returns(person("p_b", ""), "c2")
		wantSignals(t, "at the return", out, "p_a 1")
	})
}

// A confirmation of an earlier mark leaves what was sent after it.
func TestConfirmationCoversWhatWasSentBeforeItsMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		a, _ := h.join(person("p_a", "c"))
		b, out := h.join(person("p_b", "c"))
		a.Relay("p_b", "p_a 1")
		mark := out.Track()
		a.Relay("p_b", "p_a 2")
		b.Confirmed(mark)
		b.Confirmed(0) // an older one is no news
		_, out = h.returns(person("p_b", ""), "c2")
		wantSignals(t, "at the return", out, "p_a 2")
	})
}

func TestUnconfirmedSignalsAreBounded(t *testing.T) {
	for name, o := range map[string]rooms.Options{
		"count": {SentLimit: 8, Shares: true},
		"bytes": {SentBytes: 8 * len("p_a 0"), Shares: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openWith(t, o)
				a, _ := h.join(person("p_a", "c"))
				b, out := h.join(person("p_b", "c"))
				var want []string
				say := func(from string, m *rooms.Member, times int) {
					for i := range times {
						want = append(want, fmt.Sprint(from, " ", i))
						if got := m.Relay("p_b", want[len(want)-1]); got != rooms.Delivered {
							t.Fatalf("signal %d of %s: %v", i, from, got)
						}
					}
				}
				say("p_a", a, 2)
				if got := a.Relay("p_b", "p_a x"); got != rooms.Crowded {
					t.Errorf("beyond the share of a sender: %v, want Crowded", got)
				}
				for _, from := range []string{"p_c", "p_d", "p_e"} {
					m, _ := h.join(person(from, "c"))
					say(from, m, 2)
				}
				f, _ := h.join(person("p_f", "c"))
				if got := f.Relay("p_b", "p_f x"); got != rooms.NotYet {
					t.Errorf("beyond the bound: %v, want NotYet", got)
				}
				if out.pings == 0 {
					t.Error("no early confirmation was asked for")
				}
				out.confirm(b)
				if got := a.Relay("p_b", "p_a 8"); got != rooms.Delivered {
					t.Errorf("after the confirmation: %v", got)
				}
				wantSignals(t, "delivered", out, append(want, "p_a 8")...)
			})
		})
	}
}

// Protocol 1 cannot come back to its seat: what it has not confirmed is bounded, and sent once.
func TestNothingIsSentAgainToProtocol1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openWith(t, rooms.Options{SentLimit: 8, Shares: true})
		a, _ := h.join(person("p_a", "c"))
		old := person("p_b", "c")
		old.Protocol = 1
		b, out := h.join(old)
		for range 2 {
			if got := a.Relay("p_b", "p_a hello"); got != rooms.Delivered {
				t.Fatal(got)
			}
		}
		if got := a.Relay("p_b", "p_a hello"); got != rooms.Crowded {
			t.Errorf("beyond the share of a sender: %v", got)
		}
		out.confirm(b)
		if got := a.Relay("p_b", "p_a hello"); got != rooms.Delivered {
			t.Errorf("after the confirmation: %v", got)
		}
		b.Detach()
		old.ConnID = "c2"
		h.apply(h.truth.put(old))
		_, out = h.attach(h.room(), old)
		wantSignals(t, "at another connection", out)
	})
}

func TestHandoverTakesFromAConnectionThatIsThoughtAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		a, _ := h.join(person("p_a", "c"))
		_, out := h.join(person("p_b", "c"))
		a.Relay("p_b", "p_a 1")
		a.Relay("p_b", "p_a 2")

		moved := h.truth.put(at(other, "p_b", "c2")) // and the change is still on its way here
		if got := h.Handover("k", "p_b", other, 1); len(got.Frames) != 0 {
			t.Errorf("%d signals by a revision before its arrival here", len(got.Frames))
		}
		held := h.Handover("k", "p_b", other, moved.Rev)
		if len(held.Frames) != 2 || string(held.Frames[0]) != "p_a 1" || !slices.Equal(held.From, []string{"p_a", "p_a"}) {
			t.Errorf("handed over %q from %q", held.Frames, held.From)
		}
		if cuts := out.wasCut(); !slices.Equal(cuts, []string{"replaced"}) {
			t.Errorf("the old connection was cut %q", cuts)
		}
		if got := a.Relay("p_b", "p_a 3"); got != rooms.Elsewhere {
			t.Errorf("the next signal: %v, want Elsewhere", got)
		}
		h.apply(moved)
		if cuts := out.wasCut(); len(cuts) != 1 {
			t.Errorf("cut again: %q", cuts)
		}
	})
}

// Another node keeps signals for one that has come here. Newer ones wait for them.
func TestOlderSignalsOfAnotherNodeComeFirst(t *testing.T) {
	older := rooms.Held{Frames: [][]byte{[]byte("p_a 1"), []byte("p_c 1")}, From: []string{"p_a", "p_c"}}
	for name, c := range map[string]struct {
		do   func(m *rooms.Member)
		want []string
	}{
		"in time":       {func(m *rooms.Member) { m.Receive(older) }, []string{"p_a 1", "p_c 1", "p_a 2"}},
		"never":         {func(m *rooms.Member) { m.GoOn(true) }, []string{"p_a 2"}},
		"when too late": {func(m *rooms.Member) { m.GoOn(false); m.Receive(older) }, []string{"p_a 2", "p_c 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t)
				a, _ := h.join(person("p_a", "c"))
				h.join(person("p_c", "c"))
				h.apply(h.truth.put(person("p_b", "c")))
				b := &box{}
				m, roster, err := h.room().Attach("p_b", "c", b)
				if err != nil {
					t.Fatal(err)
				}
				m.Expect()
				m.Start(whole{roster})
				if got := a.Relay("p_b", "p_a 2"); got != rooms.Queued {
					t.Errorf("while older ones may come: %v, want Queued", got)
				}
				wantSignals(t, "meanwhile", b)
				c.do(m)
				wantSignals(t, "then", b, c.want...)
				if got := a.Relay("p_b", "p_a 3"); got != rooms.Delivered {
					t.Errorf("and after that: %v", got)
				}
			})
		})
	}
}

// A sender whose node has forgotten how far it had counted counts on above that.
func TestSeqGoesOnWhereNobodyKnowsTheCount(t *testing.T) {
	h := open(t)
	m, _ := h.join(person("p_a", "c"))
	h.join(person("p_b", "c"))
	for range 3 {
		m.NextSeq("p_b")
	}
	again := open(t) // this node, started anew, or another one
	again.truth = h.truth
	again.Rooms = rooms.New(plain{}, h.truth.load, rooms.Options{NodeID: node})
	p := person("p_a", "c2")
	change := h.truth.put(p)
	again.apply(change)
	room := again.room()
	m, _, err := room.Attach("p_a", "c2", &box{})
	if err != nil {
		t.Fatal(err)
	}
	m.Resumed()
	first := m.NextSeq("p_b")
	if first <= 3 || m.NextSeq("p_b") != first+1 {
		t.Errorf("counts on with %d", first)
	}
	m.Receive(rooms.Held{Seqs: map[string]uint64{"p_b": 3}})
	if got := m.NextSeq("p_b"); got != first+2 {
		t.Errorf("after the handover %d, want %d", got, first+2)
	}
	for _, forgotten := range []rooms.Held{{}, {Seqs: map[string]uint64{"p_c": 1}}} { // of a node that was started anew, or had not been told itself
		change := again.truth.put(person("p_a", "c3"))
		again.Rooms = rooms.New(plain{}, h.truth.load, rooms.Options{NodeID: node})
		again.apply(change)
		if m, _, err = again.room().Attach("p_a", "c3", &box{}); err != nil {
			t.Fatal(err)
		}
		m.Resumed()
		m.Receive(forgotten)
		if got := m.NextSeq("p_b"); got <= first+2 {
			t.Errorf("after a handover of %v it counts on with %d", forgotten.Seqs, got)
		}
	}
}

func TestSignalsForARoomThatIsNotLoadedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		w := h.truth
		w.put(at(other, "p_a", "c"))
		joined := w.put(person("p_b", "c"))
		outcomes := make(chan rooms.Outcome, 10)
		deliver := func(text string) {
			h.Deliver("k", "p_a", "p_b", 0, []byte(text), func(o rooms.Outcome, _ rooms.Route) { outcomes <- o })
		}
		deliver("p_a early")
		if got := <-outcomes; got != rooms.NotYet {
			t.Errorf("before anybody comes: %v, want NotYet", got)
		}
		room := h.Open("k")
		deliver("p_a 1")
		deliver("p_a 2")
		if len(outcomes) != 0 {
			t.Errorf("answered %v before the roster was read", <-outcomes)
		}
		if err := room.Load(context.Background()); err != nil {
			t.Fatal(err)
		}
		if first, second := <-outcomes, <-outcomes; first != rooms.Queued || second != rooms.Queued {
			t.Errorf("then %v and %v", first, second)
		}
		p := joined.Peer
		_, out := h.attach(room, p)
		wantSignals(t, "behind the answer", out, "p_a 1", "p_a 2")
		h.apply(w.leave("p_b", "leave"))
		h.Release(room)

		w.mu.Lock()
		w.fail = 1
		w.mu.Unlock()
		room = h.Open("k")
		deliver("p_a 3")
		if err := room.Load(context.Background()); err == nil {
			t.Fatal("the store is away, and it was read")
		}
		h.Release(room)
		if got := <-outcomes; got != rooms.NotYet {
			t.Errorf("for a room that could not be read: %v, want NotYet", got)
		}
		if h.Count() != 0 {
			t.Errorf("%d rooms", h.Count())
		}
	})
}

// News that waits for an answer has the bounds of an outbox; a member that has more is cut.
func TestNewsBeforeTheAnswerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.apply(h.truth.put(person("p_a", "c")))
		b := &box{}
		m, roster, err := h.room().Attach("p_a", "c", b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1100 {
			h.apply(h.truth.put(person(fmt.Sprint("p_", i%8), fmt.Sprint("c", i))))
			time.Sleep(20 * time.Millisecond) // a delta each
		}
		m.Start(whole{roster})
		if !b.overrun || len(b.got()) != 1 {
			t.Errorf("overrun %v, %d frames", b.overrun, len(b.got()))
		}
	})
}

// A map of large blobs to many is told less often than a small one.
func TestLargeMapsAreRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		blob := make([]byte, 31<<10)
		var watch *box
		for i := range 50 {
			p := person(fmt.Sprint("p_", i), "c")
			p.Protocol, p.SDP, p.Candidate = 1, blob, blob
			if _, b := h.join(p); watch == nil {
				watch = b
			}
		}
		time.Sleep(time.Minute)
		before := len(watch.got())
		for i := range 100 {
			p := person("p_0", "c")
			p.Protocol, p.SDP, p.Candidate, p.Name = 1, blob, blob, fmt.Sprint("name ", i)
			h.apply(h.truth.put(p))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		maps := only[whole](watch)
		if n := len(watch.got()) - before; n > 20 || n < 10 {
			t.Errorf("%d maps in 10 s", n)
		}
		if last := maps[len(maps)-1].Peers[0].Name; last != "name 99" {
			t.Errorf("the last map has %q", last)
		}
	})
}
