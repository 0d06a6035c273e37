package socketio

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestShutdownDeliversWhatWasSent(t *testing.T) {
	before := goleak.IgnoreCurrent()
	const messages = 500
	connected := make(chan *Socket, 2)
	var ended sync.Map
	s := New(Options{
		OnConnect:    func(s *Socket) { connected <- s },
		OnDisconnect: func(s *Socket, r Reason) { ended.Store(s.ID(), r) },
	})
	web := httptest.NewServer(s)
	base := web.URL + "/socket.io/?EIO=4"
	c, p := mustConnect(t, base), connectPolling(t, base)
	openPolling(t, base) // in no namespace, and with no poll: ends at WriteTimeout, or with ctx
	ids := []string{}
	for range 2 {
		socket := receive(t, "a socket", connected)
		ids = append(ids, socket.ID())
		for i := range messages {
			must(t, socket.Emit("n", i))
		}
	}
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { stopped <- s.Shutdown(ctx) }()

	for i := range messages {
		c.wants(t, fmt.Sprintf(`42["n",%d]`, i))
	}
	if _, err := c.read(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("WebSocket ended with %v", err)
	}
	packets := strings.Split(p.gets(t), "\x1e")
	equal(t, "packets over polling", len(packets), messages)
	equal(t, "first", packets[0], `42["n",0]`)
	equal(t, "the poll after", p.gets(t), "1")

	eventually(t, "nobody left who listens", func() bool { return s.Count() == 1 })
	equal(t, "handshake while stopping", handshakeFrom(t, base, "polling", ""), http.StatusServiceUnavailable)
	equal(t, "handshake while stopping", handshakeFrom(t, base, "websocket", ""), http.StatusServiceUnavailable)
	cancel()
	if err := receive(t, "Shutdown", stopped); err == nil {
		t.Error("Shutdown says nothing of the client that did not read")
	}
	s.running.Wait()
	for _, id := range ids {
		reason, _ := ended.Load(id)
		equal(t, "OnDisconnect", reason, any(ReasonShutdown))
	}
	equal(t, "sockets in the library", s.lib.io.Sockets().Sockets().Len(), 0)
	c.conn.Close()
	p.web.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	web.Close()
	goleak.VerifyNone(t, before)
}

func TestTheEndWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			entered, leave, ended := make(chan struct{}), make(chan struct{}), make(chan bool, 1)
			var working atomic.Bool
			s, base := serve(t, Options{
				WriteTimeout: 50 * time.Millisecond,
				OnEvent: func(*Socket, *Event) {
					working.Store(true)
					close(entered)
					<-leave
					working.Store(false)
				},
				OnDisconnect: func(*Socket, Reason) { ended <- working.Load() },
			})
			if transport == "websocket" {
				mustConnect(t, base).says(t, `42["work"]`)
			} else {
				p := connectPolling(t, base)
				go func() { _, _, _ = p.do(http.MethodPost, `42["work"]`) }()
			}
			receive(t, "the handler", entered)
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(context.Background()) }()
			eventually(t, "the session's end", func() bool { return s.Count() == 0 })
			select {
			case err := <-stopped:
				t.Error("Shutdown did not wait for the handler", err)
			default:
			}
			close(leave)
			must(t, receive(t, "Shutdown", stopped))
			equal(t, "OnDisconnect came during OnEvent", receive(t, "OnDisconnect", ended), false)
		})
	}
}

func TestNothingIsHandledAfterClose(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			var handled atomic.Int64
			ended := make(chan Reason, 1)
			_, base := serve(t, Options{
				OnEvent: func(s *Socket, _ *Event) {
					handled.Add(1)
					s.Close(ReasonServerDisconnect)
				},
				OnDisconnect: func(_ *Socket, r Reason) { ended <- r },
			})
			if transport == "websocket" {
				c, err := dialTCP(base)
				must(t, err)
				defer c.Close()
				must(t, c.sendFrames("40", `42["last"]`, `42["too late"]`, `42["too late"]`))
			} else {
				p := connectPolling(t, base)
				p.posts(t, "42[\"last\"]\x1e42[\"too late\"]")
				equal(t, "poll", p.gets(t), "1")
			}
			equal(t, "reason", receive(t, "OnDisconnect", ended), ReasonServerDisconnect)
			equal(t, "events handled", handled.Load(), 1)
		})
	}
}

func TestServerStopsWhileClientsConnect(t *testing.T) {
	t.Parallel()
	for range 5 {
		s, base := serve(t, Options{ConnectTimeout: time.Minute, WriteTimeout: 100 * time.Millisecond})
		var clients sync.WaitGroup
		for i := range 40 {
			clients.Go(func() {
				if i%4 == 0 {
					answer, err := http.Get(base + "&transport=polling")
					if err == nil {
						answer.Body.Close()
					}
					return
				}
				if c, err := dialTCP(base); err == nil {
					_ = c.sendFrames("40")
					_, _ = c.next()
					c.Close()
				}
			})
		}
		eventually(t, "someone there", func() bool { return s.Count() > 0 })
		must(t, s.Shutdown(t.Context()))
		equal(t, "sessions", s.Count(), 0)
		clients.Wait()
		equal(t, "sessions later", s.Count(), 0)
		equal(t, "sockets in the library", s.lib.io.Sockets().Sockets().Len(), 0)
	}
}
