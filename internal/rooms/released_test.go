package rooms_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// The last participant of this node is taken out by reading the store again, not by a change.
func TestRoomThatIsEmptiedByHealingIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &truth{}
		watched := 0
		rs := rooms.New(plain{}, w.load, rooms.Options{NodeID: node, Watch: func(string) <-chan struct{} {
			watched++
			c := make(chan struct{})
			close(c)
			return c
		}, Unwatch: func(string) { watched-- }})
		first := w.put(person("p_a", "c"))
		room, err := rs.Acquire(context.Background(), "m")
		if err != nil {
			t.Fatal(err)
		}
		rs.Apply("m", first)
		b := &box{}
		m, _, err := room.Attach("p_a", "c", b)
		if err != nil {
			t.Fatal(err)
		}
		m.Start()
		rs.Release(room)
		_ = w.leave("p_a", "ended") // another node's word, which is lost
		w.mu.Lock()
		w.rev++
		next := rooms.Change{Rev: w.rev, Kind: rooms.Ruled, State: &rooms.State{}}
		w.mu.Unlock()
		rs.Apply("m", next)
		time.Sleep(time.Minute)
		m.Detach()
		synctest.Wait()
		if rs.Count() != 0 || watched != 0 {
			t.Errorf("%d rooms, %d subscriptions", rs.Count(), watched)
		}
	})
}

// slowEncoder takes long for a map, as for a hundred participants with large blobs.
type slowEncoder struct {
	plain
	encoding chan struct{}
	proceed  chan struct{}
}

func (e slowEncoder) Map(_ string, r rooms.Roster) rooms.Frame {
	e.encoding <- struct{}{}
	<-e.proceed
	return whole{r}
}

// While one room's map is encoded, other rooms and changes of this one go on.
func TestEncodingHoldsUpNobody(t *testing.T) {
	w := &truth{}
	e := slowEncoder{encoding: make(chan struct{}, 100), proceed: make(chan struct{})}
	rs := rooms.New(e, w.load, rooms.Options{NodeID: node, MapEvery: time.Millisecond})
	old := person("p_a", "c")
	old.Protocol = 1
	first := w.put(old)
	room, err := rs.Acquire(context.Background(), "m")
	if err != nil {
		t.Fatal(err)
	}
	rs.Apply("m", first)
	m, _, err := room.Attach("p_a", "c", &box{})
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	<-e.encoding
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3 {
			rs.Apply("m", w.put(person(fmt.Sprint("p_", i), "d")))
			room.Roster()
			rs.Revs()
			rs.Strays()
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("a room that encodes holds up others")
	}
	close(e.proceed)
	rs.Release(room)
}
