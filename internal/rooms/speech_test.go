package rooms_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// say is a revision in which something is said.
func (w *truth) say(from, text string, to ...string) rooms.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rev++
	c := rooms.Change{Rev: w.rev, Kind: rooms.Spoken, Speech: &rooms.Speech{From: from, To: to, Frame: []byte(text)}}
	w.said = append(w.said, c)
	return c
}

func (w *truth) spoken(_ context.Context, _ string, after, upTo int64) ([]rooms.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail > 0 {
		w.fail--
		return nil, errAway
	}
	var list []rooms.Change
	for _, c := range w.said {
		if c.Rev > after && c.Rev <= upTo {
			list = append(list, c)
		}
	}
	return list, nil
}

func talking(t testing.TB) *hall {
	h := &hall{t: t, truth: &truth{}}
	h.Rooms = rooms.New(plain{}, h.truth.load, rooms.Options{NodeID: node, Spoken: h.truth.spoken})
	return h
}

func heard(b *box) string { return strings.Join(only[string](b), " ") }

func TestWhatIsSaidReachesThoseItIsForInOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := talking(t)
		_, a := h.join(person("p_a", "c1"))
		_, b := h.join(person("p_b", "c2"))
		_, c := h.join(person("p_c", "c3"))
		said := []rooms.Change{
			h.truth.say("p_a", "1"), h.truth.say("p_b", "2"), h.truth.say("p_a", "to-c", "p_c"), h.truth.say("p_c", "4"),
		}
		for _, i := range []int{3, 1, 0, 2} { // however they come
			h.apply(said[i])
			h.apply(said[i]) // and if they come twice
		}
		synctest.Wait()
		for _, want := range []struct {
			box  *box
			hear string
		}{{a, "2 4"}, {b, "1 4"}, {c, "1 2 to-c"}} {
			if got := heard(want.box); got != want.hear {
				t.Errorf("heard %q, want %q", got, want.hear)
			}
		}
		time.Sleep(time.Second)
		if n := h.truth.loaded(); n != 1 {
			t.Errorf("the store was read %d times though nothing was missing", n)
		}
	})
}

func TestSpeechThatGotLostIsReadFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := talking(t)
		_, a := h.join(person("p_a", "c1"))
		h.join(person("p_b", "c2"))
		h.apply(h.truth.say("p_b", "1"))
		h.truth.say("p_b", "lost")
		h.truth.say("p_b", "secret", "p_other")
		h.truth.fail = 1 // and the store is away at first
		h.apply(h.truth.say("p_b", "4"))
		h.apply(h.truth.say("p_b", "5"))
		time.Sleep(2 * time.Second)
		if got := heard(a); got != "1 lost 4 5" {
			t.Errorf("heard %q", got)
		}
		h.truth.say("p_b", "6") // nothing comes after it: somebody compares
		if err := h.Refresh(context.Background(), "k"); err != nil {
			t.Fatal(err)
		}
		if got := heard(a); got != "1 lost 4 5 6" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestSpeechComesAfterTheNewsOfWhoSpeaksAndIsNoNewsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := talking(t)
		_, a := h.join(person("p_a", "c1"))
		h.apply(h.truth.put(person("p_n", "c2"))) // told at once
		h.apply(h.truth.put(person("p_b", "c3"))) // gathered
		h.apply(h.truth.say("p_b", "hello"))
		frames := a.got()
		if last, ok := frames[len(frames)-1].(string); !ok || last != "hello" {
			t.Fatalf("got %v", frames)
		}
		known := slices.ContainsFunc(only[rooms.Delta](a), func(d rooms.Delta) bool {
			return slices.ContainsFunc(d.Joined, func(p rooms.Peer) bool { return p.PeerID == "p_b" })
		})
		if !known {
			t.Errorf("heard of %v before they were there", frames)
		}
		time.Sleep(time.Second)
		deltas := len(only[rooms.Delta](a))
		h.apply(h.truth.say("p_b", "again"))
		time.Sleep(time.Second)
		if n := len(only[rooms.Delta](a)); n != deltas {
			t.Errorf("%d deltas for a message", n-deltas)
		}
		h.apply(h.truth.leave("p_b", "leave"))
		time.Sleep(time.Second)
		all := only[rooms.Delta](a)
		if d := all[len(all)-1]; d.Since > all[len(all)-2].Rev || d.Rev != h.truth.roster().Rev {
			t.Errorf("the delta after it does not follow: %+v", d)
		}
	})
}

func TestWhoTakesASeatHearsWhatIsSaidFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := talking(t)
		m, a := h.join(person("p_a", "c1"))
		h.apply(h.truth.say("p_b", "1"))
		m.Detach()
		h.apply(h.truth.say("p_b", "2")) // the store keeps it for its return
		h.apply(h.truth.put(person("p_a", "c2")))
		back := &box{}
		member, roster, err := h.room().Attach("p_a", "c2", back)
		if err != nil {
			t.Fatal(err)
		}
		h.apply(h.truth.say("p_b", "3"))
		h.Hint("k", rooms.Speech{From: "p_b", Frame: []byte("typing")})
		member.Start(whole{roster})
		h.Hint("k", rooms.Speech{From: "p_b", To: []string{"p_c"}, Frame: []byte("typing-to-c")})
		h.Hint("k", rooms.Speech{From: "p_b", Frame: []byte("typing")})
		if heard(a) != "1" || heard(back) != "3 typing" {
			t.Errorf("heard %q, then %q", heard(a), heard(back))
		}
		if _, ok := back.got()[0].(whole); !ok || roster.Rev != 4 {
			t.Errorf("the answer, of rev %d, was not first: %v", roster.Rev, back.got())
		}
	})
}
