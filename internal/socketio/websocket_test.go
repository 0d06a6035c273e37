package socketio

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// echoes answers every event with its first argument.
func echoes(_ *Socket, e *Event) { e.Ack(e.Args[0]) }

// serveTLS is serve over TLS, as signald does it.
func serveTLS(t *testing.T, opts Options) (base string) {
	t.Helper()
	s := New(opts)
	web := httptest.NewUnstartedServer(s)
	web.Listener = below{web.Listener}
	web.StartTLS()
	t.Cleanup(func() {
		stopAtOnce(s)
		web.Close()
	})
	return "ws" + strings.TrimPrefix(web.URL, "http") + s.opts.Path + "?EIO=4&transport=websocket"
}

type below struct{ net.Listener }

func (b below) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err == nil {
		c = BelowTLS(c)
	}
	return c, err
}

// dialTLS opens a session over TLS and connects the default namespace.
func dialTLS(base string) (*wsClient, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	conn, _, err := d.Dial(base, nil)
	if err != nil {
		return nil, err
	}
	c := &wsClient{conn: conn}
	for _, answer := range []string{"0{", "40{"} {
		if got, err := c.next(); err != nil || !strings.HasPrefix(got, answer) {
			return c, fmt.Errorf("got %q, %w", got, err)
		}
		if answer == "0{" {
			err = c.send("40")
		}
	}
	return c, err
}

// TestIdleWebSocketsHaveNoGoroutine runs alone: it counts those of the process.
func TestIdleWebSocketsHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a watcher")
	}
	opts := Options{OnEvent: echoes, PingInterval: time.Hour, PingTimeout: time.Hour}
	_, plain := serve(t, opts)
	secure := serveTLS(t, opts)
	const clients = 300
	before := runtime.NumGoroutine()
	must(t, inParallel(clients, 32, func(i int) error {
		dial := func() (*wsClient, error) { return dialConnected(plain) }
		if i%2 == 0 {
			dial = func() (*wsClient, error) { return dialTLS(secure) }
		}
		c, err := dial()
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.conn.Close() })
		if err := c.send(`421["echo",1]`); err != nil {
			return err
		}
		_, err = c.next()
		return err
	}))
	last := 0
	defer func() { t.Logf("%d goroutines before, %d more with %d WebSockets", before, last, clients) }()
	eventually(t, "few goroutines", func() bool {
		last = runtime.NumGoroutine() - before
		return last < clients/3
	})
}

func TestEventsArriveHoweverTheyAreSent(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{OnEvent: echoes})
	secure := serveTLS(t, Options{OnEvent: echoes})
	large, _ := json.Marshal(strings.Repeat("é", 20_000))
	for name, event := range map[string]string{"small": `["echo","x"]`, "large": `["echo",` + string(large) + `]`} {
		for _, piece := range []int{1, 7, 4095, 4096, 1 << 20} {
			if piece == 1 && name == "large" {
				continue // takes long and shows nothing more
			}
			for transport, dial := range map[string]func() (*wsClient, error){
				"TCP": func() (*wsClient, error) { return dialConnected(base) },
				"TLS": func() (*wsClient, error) { return dialTLS(secure) },
			} {
				t.Run(fmt.Sprintf("%s over %s in pieces of %d", name, transport, piece), func(t *testing.T) {
					t.Parallel()
					sendsInPieces(t, mustOpen(t, "", func(string) (*wsClient, error) { return dial() }), event, piece)
				})
			}
		}
	}
}

// sendsInPieces sends the event whole, then in fragments around a ping, each write as
// long as a piece, and wants the echoes.
func sendsInPieces(t *testing.T, c *wsClient, event string, piece int) {
	pong := make(chan struct{}, 1)
	c.conn.SetPongHandler(func(string) error { pong <- struct{}{}; return nil })
	wire := slices.Concat(clientFrame(fin|opText, "421"+event), clientFrame(opText, "422"),
		clientFrame(fin|opPing, ""), clientFrame(fin|opContinuation, event))
	go func() {
		for len(wire) > 0 {
			n, err := c.conn.NetConn().Write(wire[:min(piece, len(wire))])
			if err != nil {
				return // the test misses the answers
			}
			wire = wire[n:]
		}
	}()
	argument := strings.TrimPrefix(event, `["echo",`)
	c.wants(t, "431["+argument)
	c.wants(t, "432["+argument)
	receive(t, "the pong", pong)
}

func TestWebSocketsEndWithACode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wire   []byte
		code   int
		reason Reason
	}{
		"goodbye":                    {clientFrame(fin|opClose, "\x03\xe8"), 1000, ReasonTransportClose},
		"goodbye without a code":     {clientFrame(fin|opClose, ""), 1000, ReasonTransportClose},
		"the page is closed":         {clientFrame(fin|opClose, "\x03\xe9"), 1001, ReasonTransportClose},
		"an end of the client's own": {clientFrame(fin|opClose, "\x0f\xa0"), 4000, ReasonTransportError},
		"half a close code":          {clientFrame(fin|opClose, "\x03"), 1002, ReasonTransportError},
		"a frame without a mask":     {[]byte{fin | opText, 1, '3'}, 1002, ReasonTransportError},
		"text that is not UTF-8":     {clientFrame(fin|opText, "42[\"\xff\"]"), 1007, ReasonTransportError},
		"a message too large":        {clientFrame(fin|opText, strings.Repeat("x", 3000))[:20], 1009, ReasonTransportError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan Reason, 1)
			_, base := serve(t, Options{MaxMessage: 2000, OnDisconnect: func(_ *Socket, r Reason) { ended <- r }})
			client := mustConnect(t, base)
			_, err := client.conn.NetConn().Write(c.wire)
			must(t, err)
			_, err = client.next()
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != c.code {
				t.Errorf("ended with %v, want code %d", err, c.code)
			}
			equal(t, "reason", receive(t, "OnDisconnect", ended), c.reason)
		})
	}
	t.Run("TLS says goodbye", func(t *testing.T) {
		t.Parallel()
		ended := make(chan Reason, 1)
		c, err := dialTLS(serveTLS(t, Options{OnDisconnect: func(_ *Socket, r Reason) { ended <- r }}))
		must(t, err)
		c.conn.Close()
		equal(t, "reason", receive(t, "OnDisconnect", ended), ReasonTransportClose)
	})
	t.Run("the connection ends within a frame", func(t *testing.T) {
		t.Parallel()
		ended := make(chan Reason, 1)
		_, base := serve(t, Options{OnDisconnect: func(_ *Socket, r Reason) { ended <- r }})
		client := mustConnect(t, base)
		_, err := client.conn.NetConn().Write(clientFrame(fin|opText, "3")[:4])
		must(t, err)
		client.conn.Close()
		equal(t, "reason", receive(t, "OnDisconnect", ended), ReasonTransportClose)
	})
}

func TestConnectionKnowsWhatNobodyHasRead(t *testing.T) {
	entered, release := make(chan *Socket, 10), make(chan struct{})
	_, base := serve(t, Options{OnEvent: func(s *Socket, _ *Event) { entered <- s; <-release }})
	c := mustConnect(t, base)
	c.says(t, `42["takes long"]`)
	ws := receive(t, "the event", entered).session.ws
	if ws.raw == nil {
		close(release)
		t.Skip("a goroutine reads")
	}
	if !ws.unread() {
		t.Error("nothing is unread while an event is handled")
	}
	c.says(t, `42["waits"]`)
	close(release)
	receive(t, "the next event", entered)
	eventually(t, "all is read", func() bool { return !ws.unread() })
}
