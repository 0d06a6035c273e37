package rooms_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"signald/internal/rooms"
)

func TestMessagesForWhoIsAwayAreKeptInOrderUpToALimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		queue int // so many fit
	}{
		{"Count", 1, 64},
		{"Bytes", 32 << 10, 8},
		{"OneTooBig", 256<<10 + 1, 0},
		{"OneThatJustFits", 256 << 10, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t)
				a, _ := h.join(person("p_a", "c"))
				b, out := h.join(person("p_b", "c"))
				for round := range 2 { // the second time there is room for as many again
					b.Detach()
					away := person("p_b", "c")
					away.Online = false
					h.apply(h.truth.put(away))
					var want []string
					for i := range c.queue + 3 {
						text := fmt.Sprintf("p_a %d", i)
						text += strings.Repeat(".", max(0, c.size-len(text)))
						got, expected := a.Relay("p_b", text), rooms.Gone
						if i < c.queue {
							want, expected = append(want, text), rooms.Queued
						}
						if got != expected {
							t.Fatalf("message %d: outcome %d, want %d", i, got, expected)
						}
					}
					if got := only[string](out); round == 0 && len(got) != 0 {
						t.Fatalf("%d came while away", len(got))
					}
					back := person("p_b", fmt.Sprint("c", round+2))
					h.apply(h.truth.put(back))
					b, out = h.attach(h.room(), back)
					if got := only[string](out); !slices.Equal(got, want) {
						t.Fatalf("%d messages at the return, want %d in order", len(got), len(want))
					}
					out.confirm(b)
					if _, ok := out.got()[0].(whole); !ok {
						t.Error("the answer was not first")
					}
				}
			})
		})
	}
}

func TestWhoIsReplacedOrOutIsCutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		m, b := h.join(person("p_a", "c"))
		h.apply(h.truth.put(person("p_a", "c"))) // the same connection: nothing
		if len(b.wasCut()) != 0 || !m.Seated() {
			t.Fatalf("cut %v by its own change", b.wasCut())
		}
		h.apply(h.truth.put(person("p_a", "c2")))
		if !reflect.DeepEqual(b.wasCut(), []string{"replaced"}) || m.Seated() {
			t.Fatalf("cut %v, seated %v", b.wasCut(), m.Seated())
		}
		newer, b2 := h.attach(h.room(), person("p_a", "c2"))
		h.apply(h.truth.leave("p_a", "kicked"))
		if !reflect.DeepEqual(b2.wasCut(), []string{"kicked"}) || newer.Seated() {
			t.Errorf("cut %v, seated %v", b2.wasCut(), newer.Seated())
		}
		if len(b.wasCut()) != 1 {
			t.Errorf("the old one was cut again: %v", b.wasCut())
		}
	})
}

func TestWhoHasDetachedIsNotCut(t *testing.T) {
	h := open(t)
	m, b := h.join(person("p_a", "c"))
	m.Detach()
	h.apply(h.truth.leave("p_a", "leave"))
	if len(b.wasCut()) != 0 {
		t.Errorf("cut %v", b.wasCut())
	}
}

func TestSeatTakenByAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r := h.room()
		old, oldBox := h.join(person("p_a", "c"))
		b, toB := h.join(person("p_b", "c"))
		h.apply(h.truth.put(person("p_a", "c2")))

		if _, _, err := r.Attach("p_a", "c", &box{}); !errors.Is(err, rooms.ErrSeatTaken) {
			t.Errorf("the old connection attached: %v", err)
		}
		if _, _, err := r.Attach("p_nobody", "c", &box{}); !errors.Is(err, rooms.ErrSeatTaken) {
			t.Errorf("nobody attached: %v", err)
		}
		newBox := &box{}
		newer, roster, err := r.Attach("p_a", "c2", newBox)
		if err != nil {
			t.Fatal(err)
		}
		before := len(oldBox.got())
		b.Relay("p_a", "p_b for the new one")
		old.Start("p_a late answer") // its client may still hear the answer, and nothing else
		old.Detach()                 // too late: it has no seat
		newer.Start(whole{roster})
		if got := only[string](newBox); !slices.Equal(got, []string{"p_b for the new one"}) {
			t.Errorf("%v", got)
		}
		if old.Seated() || !newer.Seated() {
			t.Errorf("seated: old %v, new %v", old.Seated(), newer.Seated())
		}
		if got := old.Relay("p_b", "p_a forged"); got != rooms.Unseated {
			t.Errorf("the old one relays: %d", got)
		}
		if got := newer.Relay("p_b", "p_a real"); got != rooms.Delivered {
			t.Errorf("the new one relays: %d", got)
		}
		h.apply(h.truth.put(person("p_c", "c")))
		synctest.Wait()
		if got := only[string](toB); !slices.Equal(got, []string{"p_a real"}) {
			t.Errorf("%v", got)
		}
		if got := len(oldBox.got()) - before; got != 1 {
			t.Errorf("the old connection got %d frames, want its answer alone", got)
		}
		if len(newBox.wasCut()) != 0 {
			t.Errorf("the new one was cut: %v", newBox.wasCut())
		}
	})
}

func TestRelayTellsGoneFromUnknown(t *testing.T) {
	h := open(t)
	m, _ := h.join(person("p_a", "c"))
	h.join(person("p_b", "c"))
	h.apply(h.truth.put(at(other, "p_far", "c")))
	h.apply(h.truth.leave("p_b", "leave"))
	for to, want := range map[string]rooms.Outcome{
		"p_b": rooms.Gone, "p_nobody": rooms.Unknown, "": rooms.Unknown,
		"p_far": rooms.Elsewhere, // not of this node, so nothing is kept for it here
		"p_a":   rooms.Delivered,
	} {
		if got := m.Relay(to, "p_a hello"); got != want {
			t.Errorf("to %q: outcome %d, want %d", to, got, want)
		}
	}
	for i := range 64 { // only the last are remembered
		id := fmt.Sprint("p_", i)
		h.apply(h.truth.put(person(id, "c")), h.truth.leave(id, "leave"))
	}
	if got := m.Relay("p_0", "p_a hello"); got != rooms.Gone {
		t.Errorf("to the 64th last: %d, want Gone", got)
	}
	if got := m.Relay("p_b", "p_a hello"); got != rooms.Unknown {
		t.Errorf("to the 65th last: %d, want Unknown", got)
	}
	m.Detach()
	if got := m.Relay("p_nobody", "p_a hello"); got != rooms.Unseated {
		t.Errorf("without a seat: %d, want Unseated", got)
	}
}

func TestSeqCountsPerReceiverAndSurvivesTheReturn(t *testing.T) {
	h := open(t)
	m, _ := h.join(person("p_a", "c"))
	h.join(person("p_b", "c"))
	h.join(person("p_c", "c"))
	want := func(m *rooms.Member, to string, seq uint64) {
		t.Helper()
		if got := m.NextSeq(to); got != seq {
			t.Errorf("seq to %s is %d, want %d", to, got, seq)
		}
	}
	want(m, "p_b", 1)
	want(m, "p_b", 2)
	want(m, "p_c", 1)
	m.Detach()
	h.apply(h.truth.put(person("p_a", "c2")))
	back, _ := h.attach(h.room(), person("p_a", "c2"))
	want(back, "p_b", 3)
	want(back, "p_nobody", 0) // who is not here is not counted, so that made-up names take no memory
	want(back, "p_nobody", 0)
	h.apply(h.truth.leave("p_b", "leave"))
	want(back, "p_b", 0)
	h.apply(h.truth.put(person("p_b", "c2")))
	want(back, "p_b", 1) // someone new: the count was forgotten with the old one
	h.apply(h.truth.leave("p_a", "leave"))
	want(back, "p_c", 0)
}

func TestRoomLivesAsLongAsItIsHeldOrHasAParticipantOfThisNode(t *testing.T) {
	h := open(t)
	r, err := h.Acquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	h.apply(h.truth.put(person("p_a", "c")), h.truth.put(at(other, "p_far", "c")))
	h.Release(r)
	if h.Count() != 1 {
		t.Fatal("the room went though p_a is in it")
	}
	again, err := h.Acquire(t.Context(), "k")
	if err != nil || again != r {
		t.Fatalf("another room: %v", err)
	}
	h.apply(h.truth.leave("p_a", "leave"))
	if h.Count() != 1 {
		t.Fatal("the room went though it is held")
	}
	h.Release(r)
	if h.Count() != 0 {
		t.Error("the room stays for someone at another node")
	}
	h.apply(h.truth.leave("p_far", "leave")) // no room: nothing to do
	if h.Count() != 0 || h.truth.loaded() != 1 {
		t.Errorf("%d rooms, %d loads", h.Count(), h.truth.loaded())
	}
}
