package rooms_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// changesOf makes five revisions that depend on their order.
func changesOf(w *truth) []rooms.Change {
	b := person("p_b", "c")
	b.Name = "renamed"
	return []rooms.Change{
		w.put(person("p_a", "c")), w.put(person("p_b", "c")), w.put(b), w.leave("p_a", "leave"), w.put(person("p_a2", "c")),
	}
}

func TestChangesAreAppliedInTheOrderOfTheirRevisionsHoweverTheyCome(t *testing.T) {
	for _, order := range permutations(5) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			r := h.room()
			changes := changesOf(h.truth)
			seen := map[int64]bool{}
			for _, i := range order {
				h.apply(changes[i])
				seen[changes[i].Rev] = true
				var want int64
				for seen[want+1] {
					want++
				}
				if got := r.Roster().Rev; got != want {
					t.Fatalf("order %v: rev %d after %d, want %d", order, got, changes[i].Rev, want)
				}
			}
			if got := r.Roster(); !reflect.DeepEqual(got, h.truth.roster()) {
				t.Fatalf("order %v: %v, want %v", order, got, h.truth.roster())
			}
			time.Sleep(time.Second)
			if n := h.truth.loaded(); n != 1 {
				t.Fatalf("order %v: the store was read %d times though nothing was missing", order, n)
			}
		})
	}
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

func TestChangeThatComesTwiceIsAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r := h.room()
		joined, left := h.truth.put(person("p_a", "c")), h.truth.leave("p_a", "leave")
		h.apply(joined, left, joined)
		h.apply(left)
		h.apply(joined)
		time.Sleep(time.Second)
		if got := r.Roster(); got.Rev != 2 || len(got.Peers) != 0 || h.truth.loaded() != 1 {
			t.Errorf("%v, after %d loads", got, h.truth.loaded())
		}
	})
}

func TestHoleIsHealedFromTheStore(t *testing.T) {
	for _, fails := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			_, b := h.join(person("p_watch", "c"))
			r := h.room()
			changes := changesOf(h.truth)
			h.apply(changes[0])
			h.apply(changes[2:]...) // changes[1] is lost
			h.truth.mu.Lock()
			h.truth.fail = fails
			h.truth.mu.Unlock()

			healed := time.Duration(1+fails) * 300 * time.Millisecond
			time.Sleep(healed - time.Millisecond)
			if got := r.Roster().Rev; got != 2 {
				t.Errorf("after %d failures: rev %d before HealAfter, want 2", fails, got)
			}
			time.Sleep(2 * time.Millisecond)
			if got := r.Roster(); !reflect.DeepEqual(got, h.truth.roster()) {
				t.Errorf("after %d failures: %v, want %v", fails, got, h.truth.roster())
			}
			time.Sleep(time.Second)
			if got := h.truth.loaded(); got != 1+fails+1 {
				t.Errorf("%d failures: the store was read %d times", fails, got)
			}
			c, err := replay(b.got())
			if err == nil {
				err = c.agrees(r.Roster())
			}
			if err != nil {
				t.Errorf("after %d failures: %v", fails, err)
			}
		})
	}
}

func TestHoleThatFillsItselfAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r := h.room()
		changes := changesOf(h.truth)
		h.apply(changes[1:]...)
		time.Sleep(299 * time.Millisecond)
		h.apply(changes[0])
		time.Sleep(time.Second)
		if r.Roster().Rev != 5 || h.truth.loaded() != 1 {
			t.Errorf("rev %d, %d loads", r.Roster().Rev, h.truth.loaded())
		}
	})
}

// While the first load is under way a change may come that it has not read.
func TestChangesDuringTheFirstLoadAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.truth.entered, h.truth.proceed = make(chan struct{}), make(chan struct{})
		before := h.truth.put(person("p_a", "c"))
		got := make(chan *rooms.Room)
		go func() {
			r, err := h.Acquire(t.Context(), "k")
			if err != nil {
				t.Error(err)
			}
			got <- r
		}()
		<-h.truth.entered
		h.apply(h.truth.put(person("p_b", "c")), before) // the load has seen p_a, not p_b
		close(h.truth.proceed)
		r := <-got
		defer h.Release(r)
		if got := r.Roster(); !reflect.DeepEqual(got, h.truth.roster()) {
			t.Errorf("%v, want %v", got, h.truth.roster())
		}
	})
}

func TestChangesDuringAHealingAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		r := h.room()
		changes := changesOf(h.truth)
		h.truth.entered, h.truth.proceed = make(chan struct{}), make(chan struct{})
		h.apply(changes[1:]...)
		<-h.truth.entered // it has read all five
		late := h.truth.put(person("p_late", "c"))
		after := h.truth.put(person("p_after", "c"))
		h.apply(after, late)
		close(h.truth.proceed)
		synctest.Wait()
		if got := r.Roster(); !reflect.DeepEqual(got, h.truth.roster()) {
			t.Errorf("%v, want %v", got, h.truth.roster())
		}
		time.Sleep(time.Second)
		c, err := replay(b.got())
		if err == nil {
			err = c.agrees(r.Roster())
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAnOldReadOfTheStoreDoesNotTurnTheRosterBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r := h.room()
		changes := changesOf(h.truth)
		h.truth.entered, h.truth.proceed = make(chan struct{}), make(chan struct{})
		h.apply(changes[1:]...)
		<-h.truth.entered // it has read rev 5
		more := []rooms.Change{h.truth.put(person("p_c", "c")), h.truth.leave("p_b", "leave")}
		h.apply(changes[0])
		h.apply(more...)
		if got := r.Roster().Rev; got != 7 {
			t.Fatalf("rev %d, want 7", got)
		}
		close(h.truth.proceed)
		synctest.Wait()
		if got := r.Roster(); !reflect.DeepEqual(got, h.truth.roster()) {
			t.Errorf("%v, want %v", got, h.truth.roster())
		}
	})
}

func TestFailedLoadLeavesNoRoom(t *testing.T) {
	h := open(t)
	h.truth.fail = 1
	if _, err := h.Acquire(t.Context(), "k"); !errors.Is(err, errAway) {
		t.Fatalf("%v, want the loader's error", err)
	}
	if n := h.Count(); n != 0 {
		t.Errorf("%d rooms", n)
	}
	h.truth.put(person("p_a", "c"))
	if got := ids(h.room().Roster()); !slices.Equal(got, []string{"p_a"}) {
		t.Errorf("%v", got)
	}
}

func TestRoomIsReadOnceForAllWhoAskTogether(t *testing.T) {
	h := open(t)
	got := make(chan *rooms.Room)
	for range 20 {
		go func() {
			r, err := h.Acquire(t.Context(), "k")
			if err != nil {
				t.Error(err)
			}
			got <- r
		}()
	}
	for range 20 {
		r := <-got
		t.Cleanup(func() { h.Release(r) })
	}
	if n := h.truth.loaded(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestAwait(t *testing.T) {
	t.Run("ReachedAlready", func(t *testing.T) {
		h := open(t)
		h.join(person("p_a", "c"))
		if err := h.room().Await(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
	t.Run("UntilItsTurn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			r := h.room()
			changes := changesOf(h.truth)
			done := make(chan error, 2)
			for _, rev := range []int64{2, 5} {
				go func() { done <- r.Await(t.Context(), rev) }()
			}
			h.apply(changes[1:]...)
			synctest.Wait()
			if len(done) != 0 {
				t.Error("done before its revision")
			}
			h.apply(changes[0])
			synctest.Wait()
			if len(done) != 2 || <-done != nil || <-done != nil {
				t.Error("not done")
			}
		})
	})
	t.Run("UntilHealed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			r := h.room()
			changes := changesOf(h.truth)
			h.apply(changes[1:]...)
			began := time.Now()
			if err := r.Await(t.Context(), 3); err != nil || time.Since(began) != 300*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("AsLongAsTheCallerWants", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t)
			r := h.room()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.Await(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			h.apply(h.truth.put(person("p_a", "c"))) // nobody waits any more
		})
	})
}

func TestRefreshTellsWhatTheRoomWasNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, b := h.join(person("p_watch", "c"))
		h.join(person("p_ghost", "c"))
		h.truth.leave("p_ghost", "leave") // and nobody hears of it
		if err := h.Refresh(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if err := h.Refresh(t.Context(), "elsewhere"); err != nil || h.Count() != 1 {
			t.Errorf("%v, %d rooms", err, h.Count())
		}
		time.Sleep(time.Second)
		c, err := replay(b.got())
		if err == nil {
			err = c.agrees(h.truth.roster())
		}
		if err != nil {
			t.Error(err)
		}
		h.truth.fail = 1
		if err := h.Refresh(t.Context(), "k"); !errors.Is(err, errAway) {
			t.Errorf("%v, want the loader's error", err)
		}
	})
}

func TestEndedRoomDoesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r, err := h.Acquire(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		changes := changesOf(h.truth)
		h.apply(changes[1:]...) // a hole, with its timer
		h.Release(r)
		time.Sleep(time.Minute)
		if n := h.truth.loaded(); n != 1 || h.Count() != 0 {
			t.Errorf("%d loads, %d rooms", n, h.Count())
		}
	})
}

// However often members change their names, each of them is told of once in the time that a slow line takes for it.
func TestChangesAreToldAtThePaceOfASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		const others, seconds = 40, 10
		_, out := h.join(person("p_ear", "c"))
		for i := range others {
			h.join(person(fmt.Sprint("p_", i), "c"))
		}
		time.Sleep(time.Second)
		before := len(only[rooms.Delta](out))
		for i := range seconds * 20 {
			for j := range others {
				p := person(fmt.Sprint("p_", j), "c")
				p.Name = fmt.Sprint("name ", i)
				h.apply(h.truth.put(p))
			}
			time.Sleep(time.Second / 20)
		}
		time.Sleep(time.Second)
		told := 0
		last := map[string]string{}
		for _, d := range only[rooms.Delta](out)[before:] {
			told += len(d.Changed)
			for _, p := range d.Changed {
				last[p.PeerID] = p.Name
			}
		}
		if most := (seconds + 1) * 128; told > most { // 64 KiB a second, 512 bytes each
			t.Errorf("%d changes are told in %d s, want %d at most", told, seconds, most)
		}
		for i := range others {
			if got := last[fmt.Sprint("p_", i)]; got != fmt.Sprint("name ", seconds*20-1) {
				t.Errorf("the last name of %d is %q", i, got)
			}
		}
	})
}
