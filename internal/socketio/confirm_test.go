package socketio

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// A watched server hands out its one socket, and what OnConfirmed is told of it.
type watched struct {
	*virtual
	socket    *Socket
	confirmed chan uint64
}

func inConfirmedTime(t *testing.T, test func(t *testing.T, w *watched)) {
	t.Helper()
	w := &watched{confirmed: make(chan uint64, 100)}
	opts := Options{
		PingInterval: 5 * time.Second, PingTimeout: 5 * time.Second,
		OnConnect:   func(s *Socket) { w.socket = s },
		OnConfirmed: func(_ *Socket, mark uint64) { w.confirmed <- mark },
	}
	inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
		w.virtual = v
		test(t, w)
	})
}

// sends sends an event and returns its mark.
func (w *watched) sends(t *testing.T, event string) uint64 {
	t.Helper()
	must(t, w.socket.Emit(event))
	return w.socket.Track()
}

func (w *watched) isTold(t *testing.T, what string, marks ...uint64) {
	t.Helper()
	synctest.Wait()
	for _, mark := range marks {
		select {
		case got := <-w.confirmed:
			if got < mark {
				t.Errorf("%s: told of %d, want at least %d", what, got, mark)
			}
		default:
			t.Errorf("%s: not told of %d", what, mark)
		}
	}
	select {
	case got := <-w.confirmed:
		t.Errorf("%s: told of %d, too", what, got)
	default:
	}
}

func TestPongConfirmsWhatWasSentBeforeItsPing(t *testing.T) {
	inConfirmedTime(t, func(t *testing.T, w *watched) {
		c := w.connect(t)
		first := w.sends(t, "first")
		c.wants(t, `42["first"]`)
		c.says(t, "3") // to no ping
		w.isTold(t, "by a pong to no ping")

		c.isPinged(t)
		second := w.sends(t, "second") // after the ping
		c.wants(t, `42["second"]`)
		c.says(t, "3")
		if second <= first {
			t.Fatalf("marks %d and %d", first, second)
		}
		synctest.Wait()
		if got := <-w.confirmed; got < first || got >= second {
			t.Errorf("the first pong confirms %d, want from %d, below %d", got, first, second)
		}
		c.isPinged(t)
		c.says(t, "3")
		w.isTold(t, "by the second pong", second)
		for range 5 {
			c.isPinged(t)
			c.says(t, "3")
		}
		w.isTold(t, "while nothing is tracked")
	})
}

func TestConfirmationCanBeHadEarly(t *testing.T) {
	inConfirmedTime(t, func(t *testing.T, w *watched) {
		c := w.connect(t)
		start := time.Now()
		mark := w.sends(t, "news")
		w.socket.Confirm()
		w.socket.Confirm() // one ping at a time
		c.wants(t, `42["news"]`)
		c.isPinged(t)
		c.says(t, "3")
		w.isTold(t, "by the early ping", mark)
		equal(t, "asked after", time.Since(start), 0)
		c.isPinged(t) // the next one is the regular one
		equal(t, "next ping after", time.Since(start), 5*time.Second)

		c.endsAfter(t, time.Now(), 5*time.Second)
		w.socket.Confirm() // to a session that has ended
	})
}

func TestEarlyPingThatIsNotAnsweredEndsTheSession(t *testing.T) {
	inConfirmedTime(t, func(t *testing.T, w *watched) {
		c := w.connect(t)
		start := time.Now()
		w.sends(t, "news")
		w.socket.Confirm()
		c.endsAfter(t, start, 5*time.Second)
		equal(t, "reason", <-w.ended, ReasonPingTimeout)
		w.isTold(t, "after the end")
	})
}

func TestConfirmationOverPollingAndTheUpgrade(t *testing.T) {
	inConfirmedTime(t, func(t *testing.T, w *watched) {
		p := w.poller(t)
		p.posts(t, "40")
		p.gets(t)
		synctest.Wait()
		polled := w.sends(t, "polled")
		equal(t, "poll", p.gets(t), `42["polled"]`)
		w.socket.Confirm()
		_, body := p.get(t)
		equal(t, "ping", body, "2")
		waiting := w.sends(t, "waiting") // for the WebSocket
		p.posts(t, "3")
		w.isTold(t, "over polling", polled)

		c := w.dial(t, "&sid="+p.sid)
		c.says(t, "2probe")
		c.wants(t, "3probe")
		c.says(t, "5")
		c.wants(t, `42["waiting"]`)
		w.socket.Confirm()
		c.isPinged(t)
		c.says(t, "3")
		w.isTold(t, "after the upgrade", waiting)
	})
}

// A poll's answer that is lost takes its messages with it: no later ping may confirm them.
func TestPollThatIsGivenUpWithItsAnswerEndsTheSession(t *testing.T) {
	inConfirmedTime(t, func(t *testing.T, w *watched) {
		p := w.poller(t)
		p.posts(t, "40")
		p.gets(t)
		synctest.Wait()
		w.mu.Lock()
		session := w.sessions[p.sid]
		w.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			session.servePoll(brokenWriter{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		}()
		synctest.Wait()
		w.sends(t, "news")
		<-done
		equal(t, "reason", <-w.ended, ReasonTransportClose)
	})
}

// isPinged reads a ping, which the test answers itself.
func (c *wsClient) isPinged(t *testing.T) {
	t.Helper()
	got, err := c.read()
	must(t, err)
	equal(t, "read", got, "2")
}

// brokenWriter is the answer to a client that is gone.
type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) Write([]byte) (int, error) { return 0, http.ErrAbortHandler }
