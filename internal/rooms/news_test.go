package rooms_test

import (
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

func TestNewsWithin20msIsOneDeltaOfItsNetEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		h.join(person("p_stays", "c"))
		h.join(person("p_goes", "c"))
		time.Sleep(time.Second)
		calm := len(only[rooms.Delta](b))

		h.apply(h.truth.put(person("p_first", "c"))) // goes out at once, for it was calm
		time.Sleep(time.Millisecond)
		since := h.truth.roster().Rev
		away := person("p_stays", "c")
		away.Online = false
		renamed := person("p_new", "c")
		renamed.Name = "renamed"
		for _, c := range []rooms.Change{
			h.truth.put(person("p_new", "c")), h.truth.put(away), h.truth.put(renamed),
			h.truth.put(person("p_brief", "c")), h.truth.leave("p_brief", "leave"),
			h.truth.put(person("p_goes", "c2")), h.truth.leave("p_goes", "timeout"),
		} {
			h.apply(c)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		deltas := only[rooms.Delta](b)[calm:]
		want := rooms.Delta{
			MeetingID: "k", Since: since, Rev: since + 7,
			Joined: []rooms.Peer{renamed}, Changed: []rooms.Peer{away},
			Left: []rooms.Departure{{"p_brief", "leave"}, {"p_goes", "timeout"}},
		}
		if len(deltas) != 2 || !reflect.DeepEqual(deltas[1], want) {
			t.Errorf("%+v\nwant one more than the first: %+v", deltas, want)
		}
		times := b.times()
		if d := times[len(times)-1].Sub(times[len(times)-2]); d != 20*time.Millisecond {
			t.Errorf("%v between the two", d)
		}
	})
}

func TestDeltasAreAtMostOnePer20ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		for range 1000 {
			h.apply(h.truth.put(person("p_watch", "c")))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		times := b.times()[1:]
		if len(times) < 45 || len(times) > 52 {
			t.Errorf("%d deltas in a second", len(times))
		}
		for i := range times[1:] {
			if d := times[i+1].Sub(times[i]); d < 20*time.Millisecond {
				t.Fatalf("%v between two deltas", d)
			}
		}
	})
}

func TestMapsAreAtMostOnePer250msAndTheLastStateIsAlwaysSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		old := person("p_old", "c")
		old.Protocol = 1
		_, b := h.join(old)
		for i := range 100 {
			p := person("p_new", "c")
			p.SDP = []byte{byte(i)}
			h.apply(h.truth.put(p))
			time.Sleep(10 * time.Millisecond)
		}
		last := person("p_new", "c")
		last.SDP = []byte("the last")
		h.apply(h.truth.put(last))
		time.Sleep(time.Second)

		maps := only[whole](b)
		if !reflect.DeepEqual(maps[len(maps)-1].Roster, h.truth.roster()) {
			t.Errorf("the last map is %v", maps[len(maps)-1])
		}
		if len(only[rooms.Delta](b)) != 0 {
			t.Error("deltas for protocol 1")
		}
		times := b.times()[1:] // without the answer
		if len(times) < 4 || len(times) > 6 {
			t.Errorf("%d maps in a second", len(times))
		}
		for i := range times[1:] {
			if d := times[i+1].Sub(times[i]); d < 250*time.Millisecond {
				t.Fatalf("%v between two maps", d)
			}
		}
		h.apply(h.truth.leave("p_new", "leave"))
		time.Sleep(time.Second)
		maps = only[whole](b)
		if !reflect.DeepEqual(maps[len(maps)-1].Roster, h.truth.roster()) {
			t.Errorf("after a leave the last map is %v", maps[len(maps)-1])
		}
	})
}

// What the map does not show sends none.
func TestMediaAndPresenceSendNoMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		old := person("p_old", "c")
		old.Protocol = 1
		_, b := h.join(old)
		time.Sleep(time.Second)
		before := len(b.got())
		old.Media.Audio = true
		h.apply(h.truth.put(old))
		time.Sleep(time.Second)
		if n := len(b.got()); n != before {
			t.Errorf("%d frames more", n-before)
		}
	})
}

func TestWhoHasTheNewsInItsAnswerIsNotToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, watch := h.join(person("p_watch", "c"))
		time.Sleep(time.Millisecond)
		h.apply(h.truth.put(person("p_b", "c")))
		_, b := h.join(person("p_a", "c"))
		time.Sleep(time.Second)
		if len(only[rooms.Delta](watch)) == 0 || len(only[rooms.Delta](b)) != 0 {
			t.Errorf("%v, the other %v", b.got(), watch.got())
		}
	})
}

// The contract of protocol 1: who joins gets update_participants as everyone does.
func TestNewcomerOfProtocol1GetsAMapToo(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, time.Second} { // between its join and its attaching
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			r := h.room()
			old := person("p_old", "c")
			old.Protocol = 1
			h.apply(h.truth.put(old))
			synctest.Wait()
			time.Sleep(wait)
			_, b := h.attach(r, old)
			time.Sleep(time.Second)
			maps := only[whole](b)
			if len(maps) != 2 || !reflect.DeepEqual(maps[1].Roster, h.truth.roster()) {
				t.Errorf("attached %v after joining: %v, want the answer and a map", wait, maps)
			}
		})
	}
}

func TestNewsOfSomeoneWhoIsBackBeforeItWentOutSaysWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		h.join(person("p_b", "c"))
		time.Sleep(time.Second)
		h.apply(h.truth.put(person("p_watch", "c")))
		time.Sleep(time.Millisecond)
		back := person("p_b", "c2")
		back.UserID = "someone else"
		h.apply(h.truth.leave("p_b", "leave"), h.truth.put(back))
		time.Sleep(time.Second)
		c, err := replay(b.got())
		if err == nil {
			err = c.agrees(h.truth.roster())
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestMessagesBeforeStartComeBehindTheAnswerInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		a, _ := h.join(person("p_a", "c"))
		r := h.room()
		h.apply(h.truth.put(person("p_b", "c")))
		time.Sleep(time.Second) // its own news is out
		b := &box{}
		m, roster, err := r.Attach("p_b", "c", b)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Relay("p_b", "p_a one"); got != rooms.Queued {
			t.Errorf("outcome %d", got)
		}
		h.apply(h.truth.put(person("p_c", "c")))
		time.Sleep(time.Second)
		if got := a.Relay("p_b", "p_a two"); got != rooms.Queued {
			t.Errorf("outcome %d", got)
		}
		if len(b.got()) != 0 {
			t.Fatalf("%v came before the answer", b.got())
		}
		m.Start(whole{roster}, "p_b answer")
		if got := a.Relay("p_b", "p_a three"); got != rooms.Delivered {
			t.Errorf("outcome %d", got)
		}
		frames := b.got()
		if len(frames) != 6 || !slices.Equal(only[string](b), []string{"p_b answer", "p_a one", "p_a two", "p_a three"}) {
			t.Fatalf("%v", frames)
		}
		if d, ok := frames[3].(rooms.Delta); !ok || d.Joined[0].PeerID != "p_c" {
			t.Errorf("fourth came %v, want the delta", frames[3])
		}
	})
}

func TestRelayNeverOvertakesTheNewsOfItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_b", "c"))
		r := h.room()
		h.apply(h.truth.put(person("p_waits", "c")))
		waits := &box{}
		starting, roster, err := r.Attach("p_waits", "c", waits)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Millisecond)
		a, _ := h.join(person("p_a", "c")) // its delta waits for 20 ms
		renamed := person("p_a", "c")
		renamed.Name = "renamed"
		h.apply(h.truth.put(renamed))
		a.Relay("p_b", "p_a hello")
		a.Relay("p_waits", "p_a hello")
		starting.Start(whole{roster})
		for _, to := range []*box{b, waits} {
			if c, err := replay(to.got()); err != nil || len(c.relayed) != 1 {
				t.Errorf("%v: %v", err, to.got())
			}
		}
		time.Sleep(time.Second)
		for _, to := range []*box{b, waits} {
			c, err := replay(to.got())
			if err == nil {
				err = c.agrees(r.Roster())
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// Else clients would take who has left and joined again for somebody who stayed.
func TestLeavingAndJoiningAgainIsNeverOneDelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		h.join(person("p_reloads", "c"))
		h.apply(h.truth.put(person("p_watch", "c")))
		time.Sleep(time.Second)
		calm, since := len(only[rooms.Delta](b)), h.truth.roster().Rev

		again := person("p_reloads", "c2")
		h.apply(h.truth.leave("p_reloads", "leave"))
		h.apply(h.truth.put(again))
		time.Sleep(time.Second)
		want := []rooms.Delta{
			{MeetingID: "k", Since: since, Rev: since + 1, Left: []rooms.Departure{{"p_reloads", "leave"}}},
			{MeetingID: "k", Since: since + 1, Rev: since + 2, Joined: []rooms.Peer{again}},
		}
		if got := only[rooms.Delta](b)[calm:]; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	})
}
