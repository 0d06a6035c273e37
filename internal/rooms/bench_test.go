package rooms_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/rooms"
)

// counter is an outbox that counts; full has a token when it has counted up to at.
type counter struct {
	n    *atomic.Int64
	of   *rooms.Member // confirms at once when it is asked
	at   int64
	full chan struct{}
}

func (c *counter) Send(rooms.Frame) bool {
	if c.n.Add(1) == c.at {
		c.full <- struct{}{}
	}
	return true
}

func (*counter) Cut(string)      {}
func (*counter) Overrun()        {}
func (c *counter) Track() uint64 { return uint64(c.n.Load()) }
func (c *counter) Confirm()      { c.of.Confirmed(c.Track()) }

func seated(t testing.TB, h *hall, r *rooms.Room, id string, out rooms.Outbox) *rooms.Member {
	t.Helper()
	h.apply(h.truth.put(person(id, "c")))
	m, _, err := r.Attach(id, "c", out)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := out.(*counter); ok {
		c.of = m
	}
	m.Start()
	return m
}

func TestRelayOfAReadyFrameAllocatesNothing(t *testing.T) {
	h := openWith(t, rooms.Options{DeltaEvery: time.Nanosecond})
	r := h.room()
	var n atomic.Int64
	m := seated(t, h, r, "p_0", &counter{n: &n})
	seated(t, h, r, "p_1", &counter{n: &n})
	var f rooms.Frame = "p_0 hello"
	if allocs := testing.AllocsPerRun(1000, func() { m.Relay("p_1", f) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkRelay(b *testing.B) {
	h := open(b)
	r := h.room()
	var n atomic.Int64
	m := seated(b, h, r, "p_0", &counter{n: &n})
	seated(b, h, r, "p_1", &counter{n: &n})
	var f rooms.Frame = "p_0 hello"
	b.ReportAllocs()
	for b.Loop() {
		if m.Relay("p_1", f) != rooms.Delivered {
			b.Fatal("not delivered")
		}
	}
}

// BenchmarkDelta is one change and its delta to everyone, the timer included.
func BenchmarkDelta(b *testing.B) {
	for _, members := range []int{10, 100, 500} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			h := openWith(b, rooms.Options{DeltaEvery: time.Nanosecond})
			r := h.room()
			last := make(chan struct{}, 1)
			var n atomic.Int64
			var each []*counter
			for i := range members {
				c := &counter{n: &n, full: last}
				each = append(each, c)
				seated(b, h, r, fmt.Sprint("p_", i), c)
			}
			time.Sleep(50 * time.Millisecond) // what is new by now is told
			for _, c := range each {
				c.at = int64(members)
			}
			b.ReportAllocs()
			for b.Loop() {
				n.Store(0)
				h.apply(h.truth.put(person("p_0", "c")))
				<-last
			}
		})
	}
}
