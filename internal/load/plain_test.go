package load_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/load"
	"signald/internal/socketio"
)

// plainPeer is what --peer=plain speaks to. deaf: it answers no say.
func plainPeer(t *testing.T, deaf bool) string {
	t.Helper()
	var mu sync.Mutex
	rooms := map[string][]*socketio.Socket{}
	s := socketio.New(socketio.Options{
		Log: zerolog.Nop(),
		OnEvent: func(s *socketio.Socket, e *socketio.Event) {
			var room string
			_ = json.Unmarshal(e.Args[0], &room) // a string, as the tool sends it
			mu.Lock()
			defer mu.Unlock()
			if e.Name == "join" {
				rooms[room] = append(rooms[room], s)
				e.Ack("ok")
				return
			}
			f, err := socketio.Encode("msg", e.Args[1])
			if err != nil {
				t.Error(err)
			}
			for _, other := range rooms[room] {
				if other != s {
					other.Send(f)
				}
			}
			if !deaf {
				e.Ack("ok")
			}
		},
	})
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // the tool has gone
		web.Close()
	})
	return web.URL
}

func TestLoadOnAPlainPeer(t *testing.T) {
	t.Parallel()
	url := plainPeer(t, false)
	for _, scenario := range []string{load.Fanout, load.Pairs} {
		for _, acks := range []bool{false, true} {
			o := options(url, scenario)
			o.Peer, o.Acks = load.Plain, acks
			r := run(t, o)
			fine(t, r)
			if answered := r.Latency("ack").Count; r.Delivered == 0 || (answered > 0) != acks {
				t.Errorf("%s, acks %v: %d delivered, %d answered", scenario, acks, r.Delivered, answered)
			}
		}
	}
}

func TestAMissingAckIsTold(t *testing.T) {
	t.Parallel()
	o := options(plainPeer(t, true), load.Pairs)
	o.Peer, o.Acks, o.Settle = load.Plain, true, time.Second
	if r := run(t, o); r.Fine() || !strings.Contains(strings.Join(r.Wrong, "\n"), "no answer to its say") {
		t.Errorf("%s: %q", r.Verdict(), r.Wrong)
	}
}
