package socketio

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client on a slow line reads a large roster for longer than a write or a pong may take. It
// reads all the same.
func TestClientThatReadsSomethingLargeSlowlyStays(t *testing.T) {
	const size = 2 << 20
	opts := Options{PingInterval: 5 * time.Second, PingTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	slowly := func(t *testing.T, from io.Reader) {
		t.Helper()
		for left := size; left > 0; left -= 64 << 10 {
			_, err := io.ReadFull(from, make([]byte, 64<<10))
			must(t, err)
			time.Sleep(2 * time.Second) // virtual
		}
	}
	t.Run("WebSocket", func(t *testing.T) {
		inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
			c := v.connect(t)
			must(t, v.Broadcast("map", strings.Repeat("x", size)))
			must(t, c.conn.NetConn().SetReadDeadline(time.Time{}))
			slowly(t, c.conn.NetConn())
			synctest.Wait()
			equal(t, "sessions", v.Count(), 1)
			equal(t, "cut as slow", v.Stats().SlowConsumers.Load(), 0)
		})
	})
	t.Run("polling", func(t *testing.T) {
		inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
			p := v.poller(t)
			p.posts(t, "40")
			p.gets(t)
			must(t, v.Broadcast("map", strings.Repeat("x", size)))
			answer, err := v.web.Get(p.url())
			must(t, err)
			defer answer.Body.Close()
			slowly(t, answer.Body)
			_, err = io.Copy(io.Discard, answer.Body)
			must(t, err)
			synctest.Wait()
			equal(t, "status", answer.StatusCode, http.StatusOK)
			equal(t, "sessions", v.Count(), 1)
		})
	})
}

func TestOutboxKeepsTheNewestOfATopicAndAFewLargeFrames(t *testing.T) {
	o := outbox{maxFrames: 10, maxBytes: 1000, budget: &budget{}}
	large := func(i int) Frame { return textFrame(strings.Repeat("x", largeFrame+i)) }
	for i := range 20 {
		if !o.push(large(i).Superseding(7)) {
			t.Fatal("the newest of a topic was refused")
		}
	}
	equal(t, "frames", len(o.frames), 1)
	equal(t, "the newest", len(o.frames[0].ws), len(large(19).ws))
	for i := range maxLarge - 1 {
		equal(t, "large frame taken", o.push(large(i)), true)
	}
	equal(t, "one more", o.push(large(0)), false)
	equal(t, "a small one beside them", o.push(textFrame("x")), true)
	equal(t, "too much of it", o.push(textFrame(strings.Repeat("x", 1000))), false)
	o.take(nil)
	equal(t, "after that", o.push(large(0)), true)
}
