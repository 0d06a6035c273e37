package socketio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// The tests of this file run in virtual time, over connections in memory: a
// deadline is met exactly or missed.

// A memoryNet is a listener whose connections are pipes.
type memoryNet struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (m *memoryNet) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memoryNet) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memoryNet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (m *memoryNet) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	m.conns <- theirs
	return ours, nil
}

// A virtual is a server in a bubble of virtual time.
type virtual struct {
	*Server
	net   *memoryNet
	web   *http.Client
	ended chan Reason // what OnDisconnect was told
}

// inVirtualTime runs test in a bubble, with a server there.
func inVirtualTime(t *testing.T, opts Options, test func(t *testing.T, v *virtual)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &virtual{net: &memoryNet{conns: make(chan net.Conn), done: make(chan struct{})}, ended: make(chan Reason, 100)}
		opts.OnDisconnect = func(_ *Socket, reason Reason) { v.ended <- reason }
		v.Server = New(opts)
		web := &http.Server{Handler: v.Server, ReadHeaderTimeout: time.Minute}
		go func() { _ = web.Serve(v.net) }() // ends with v.net
		v.web = &http.Client{Transport: &http.Transport{DialContext: v.net.dial}}
		defer func() {
			stopAtOnce(v.Server)
			v.web.CloseIdleConnections()
			_ = web.Close()
			v.net.Close()
		}()
		test(t, v)
	})
}

func (v *virtual) dial(t *testing.T, query string) *wsClient {
	t.Helper()
	d := websocket.Dialer{NetDialContext: v.net.dial}
	conn, _, err := d.Dial("ws://signald/socket.io/?EIO=4&transport=websocket"+query, nil)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &wsClient{conn: conn}
}

// open opens a session and reads the open packet.
func (v *virtual) open(t *testing.T) *wsClient {
	t.Helper()
	c := v.dial(t, "")
	c.wantsPrefix(t, "0{")
	return c
}

func (v *virtual) connect(t *testing.T) *wsClient {
	t.Helper()
	c := v.open(t)
	c.says(t, "40")
	c.wantsPrefix(t, "40{")
	synctest.Wait() // OnConnect comes after the answer
	return c
}

func (v *virtual) poller(t *testing.T) *poller {
	t.Helper()
	p := &poller{base: "http://signald/socket.io/?EIO=4&transport=polling", web: v.web}
	status, open := p.get(t)
	equal(t, "handshake", status, http.StatusOK)
	_, sid, _ := strings.Cut(open, `"sid":"`)
	p.sid, _, _ = strings.Cut(sid, `"`)
	return p
}

// endsAfter waits for the connection's end and checks when it came. Pings are
// read and not answered.
func (c *wsClient) endsAfter(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	for {
		if _, err := c.readWithin(time.Hour); err != nil {
			equal(t, "ended after", time.Since(start), want)
			return
		}
	}
}

func TestSessionThatNeverConnectsEnds(t *testing.T) {
	inVirtualTime(t, Options{ConnectTimeout: 5 * time.Second}, func(t *testing.T, v *virtual) {
		start := time.Now()
		v.open(t).endsAfter(t, start, 5*time.Second)

		start = time.Now()
		p := v.poller(t)
		_, body := p.get(t)
		equal(t, "poll", body, "1")
		equal(t, "ended after", time.Since(start), 5*time.Second)
		synctest.Wait()
		equal(t, "sessions left", v.Count(), 0)
	})
}

func TestSilentClientEndsByPingTimeout(t *testing.T) {
	opts := Options{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second}
	for name, connect := range map[string]func(*testing.T, *virtual){
		"WebSocket": func(t *testing.T, v *virtual) {
			start := time.Now()
			v.connect(t).endsAfter(t, start, 45*time.Second)
		},
		"polling, which nobody asks": func(t *testing.T, v *virtual) {
			v.poller(t).posts(t, "40")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
				start := time.Now()
				connect(t, v)
				equal(t, "reason", <-v.ended, ReasonPingTimeout)
				equal(t, "ended after", time.Since(start), 45*time.Second)
			})
		})
	}
}

// Its pong is behind what the server is busy with. That is put up with for as long again as a pong may take.
func TestClientWhosePongIsUnreadStaysForAWhile(t *testing.T) {
	for _, busy := range []time.Duration{19 * time.Second, 39 * time.Second} { // from the moment of the ping on
		opts := Options{PingInterval: 10 * time.Second, PingTimeout: 20 * time.Second, WriteTimeout: time.Hour, OnEvent: func(*Socket, *Event) { time.Sleep(10*time.Second + busy) }}
		inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
			client := v.connect(t)
			start := time.Now()
			client.says(t, `42["takes long"]`)
			ping, err := client.read() // unanswered
			must(t, err)
			equal(t, "ping", ping, "2")
			equal(t, "pinged after", time.Since(start), 10*time.Second)
			raw := client.conn.NetConn()
			must(t, raw.SetWriteDeadline(time.Time{}))
			go func() { _, _ = raw.Write(maskedFrame(opText, []byte("3"))) }() // is not read before the handler has returned
			time.Sleep(42 * time.Second)
			equal(t, fmt.Sprintf("sessions after it was busy for %s", busy), v.Count(), 1)
		})
	}
}

// The client counts from when the ping was due, and so does the server, though nothing carries it.
func TestClientThatDoesNotPollIsGoneInTimeWhateverTheTimerDoes(t *testing.T) {
	inVirtualTime(t, Options{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		p.posts(t, "40")
		p.gets(t)
		session := v.session(t, p.sid)
		session.mu.Lock()
		session.timer.Stop() // as late as can be
		session.mu.Unlock()
		time.Sleep(45 * time.Second)
		status, _ := p.get(t)
		equal(t, "status", status, http.StatusBadRequest)
		equal(t, "reason", <-v.ended, ReasonPingTimeout)
	})
}

func (v *virtual) session(t *testing.T, sid string) *session {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sessions[sid]
}

func TestClientThatAnswersPingsStays(t *testing.T) {
	inVirtualTime(t, Options{PingInterval: patience / 2}, func(t *testing.T, v *virtual) {
		c := v.connect(t)
		go func() {
			for {
				if _, err := c.read(); err != nil || c.send("3") != nil {
					return
				}
			}
		}()
		time.Sleep(time.Hour) // virtual
		equal(t, "sessions", v.Count(), 1)
	})
}

func TestReaderThatStopsIsCutAtTheWriteTimeout(t *testing.T) {
	inVirtualTime(t, Options{WriteTimeout: 10 * time.Second}, func(t *testing.T, v *virtual) {
		v.connect(t)
		start := time.Now()
		must(t, v.Broadcast("news")) // a pipe holds nothing: this write waits for its reader
		equal(t, "reason", <-v.ended, ReasonSlowConsumer)
		equal(t, "cut after", time.Since(start), 10*time.Second)
	})
}

func TestQueueOverItsBoundIsCutAtOnce(t *testing.T) {
	for name, opts := range map[string]Options{
		"frames": {MaxQueued: 10},
		"bytes":  {MaxQueuedBytes: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
				v.connect(t)
				start := time.Now()
				for range 20 {
					must(t, v.Broadcast("news", strings.Repeat("x", 100)))
				}
				equal(t, "reason", <-v.ended, ReasonSlowConsumer)
				equal(t, "cut after", time.Since(start), 0)
				equal(t, "counted", v.Stats().SlowConsumers.Load(), 1)
			})
		})
	}
}

func TestClosingSessionThatDoesNotReadEndsAtTheWriteTimeout(t *testing.T) {
	var sockets []*Socket
	opts := Options{WriteTimeout: 10 * time.Second, PingInterval: time.Hour, OnConnect: func(s *Socket) { sockets = append(sockets, s) }}
	inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
		v.poller(t).posts(t, "40") // and polls no more
		synctest.Wait()
		start := time.Now()
		sockets[0].Close(ReasonServerDisconnect)
		equal(t, "sent while closing", sockets[0].Send(pingFrame), false)
		equal(t, "reason", <-v.ended, ReasonServerDisconnect)
		equal(t, "ended after", time.Since(start), 10*time.Second)
	})
}

// What a client goes on saying must not cut short what it is still to be told.
func TestClosingSessionDeliversWhileItsClientTalks(t *testing.T) {
	var sockets []*Socket
	opts := Options{OnConnect: func(s *Socket) { sockets = append(sockets, s) }}
	inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
		c := v.connect(t)
		for i := range 10 {
			must(t, v.Broadcast("news", i)) // all wait: nobody reads
		}
		synctest.Wait()
		sockets[0].Close(ReasonServerDisconnect)
		c.says(t, `42["chatter"]`, "3", "41", "40")
		synctest.Wait()
		for i := range 10 {
			c.wants(t, fmt.Sprintf(`42["news",%d]`, i))
		}
		if _, err := c.read(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("ended with %v", err)
		}
		equal(t, "reason", <-v.ended, ReasonServerDisconnect)
	})
}

func TestRefusedClientIsToldWhyThoughItTalks(t *testing.T) {
	inVirtualTime(t, Options{MaxSockets: 1}, func(t *testing.T, v *virtual) {
		v.connect(t)
		c := v.open(t)
		c.says(t, "40", `42["hasty"]`)
		synctest.Wait()
		c.wantsPrefix(t, "44{")
		if _, err := c.read(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestUpgradeThatIsNotFinishedIsGivenUp(t *testing.T) {
	inVirtualTime(t, Options{UpgradeTimeout: 10 * time.Second}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		p.posts(t, "40")
		p.gets(t)
		start := time.Now()
		c := v.dial(t, "&sid="+p.sid)
		c.says(t, "2probe")
		c.wants(t, "3probe")

		polled := time.Now()
		_, body := p.get(t)
		equal(t, "poll during the upgrade", body, "6")
		equal(t, "which waited for", time.Since(polled), noopAfter)

		second := v.dial(t, "&sid="+p.sid)
		second.endsAfter(t, time.Now(), 0) // one at a time

		c.endsAfter(t, start, 10*time.Second)
		must(t, v.Broadcast("news"))
		equal(t, "polling goes on with", p.gets(t), `42["news"]`)

		again := v.dial(t, "&sid="+p.sid)
		again.says(t, "2probe")
		again.wants(t, "3probe")
		again.says(t, "5")
		synctest.Wait()
		must(t, v.Broadcast("more"))
		again.wants(t, `42["more"]`)
		equal(t, "sessions", v.Count(), 1)
	})
}

func TestWhatWaitsDuringAnUpgradeComesOnTheWebSocket(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		p.posts(t, "40")
		p.gets(t)
		c := v.dial(t, "&sid="+p.sid)
		c.says(t, "2probe")
		c.wants(t, "3probe")
		must(t, v.Broadcast("news")) // and no poll to carry it
		c.says(t, "5")
		c.wants(t, `42["news"]`)
	})
}

func TestWebSocketThatDoesNotProbeIsRefused(t *testing.T) {
	for _, first := range []string{"40", "2", "3probe", "4hello", ""} {
		inVirtualTime(t, Options{}, func(t *testing.T, v *virtual) {
			p := v.poller(t)
			c := v.dial(t, "&sid="+p.sid)
			c.says(t, first)
			c.endsAfter(t, time.Now(), 0)
			p.posts(t, "40")
			if got := p.gets(t); !strings.HasPrefix(got, "40{") {
				t.Errorf("after %q polling says %q", first, got)
			}
		})
	}
}

func TestSlowPostIsClosedInTime(t *testing.T) {
	inVirtualTime(t, Options{WriteTimeout: 10 * time.Second, ConnectTimeout: time.Hour}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		start := time.Now()
		body, trickle := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := trickle.Write([]byte("4")); err != nil {
					return
				}
				time.Sleep(time.Second) // virtual
			}
		}()
		answer, err := v.web.Post(p.url(), "text/plain", body)
		if err == nil {
			answer.Body.Close()
			equal(t, "status", answer.StatusCode, http.StatusRequestEntityTooLarge)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("took %v", took)
		}
		body.Close()
		<-done
		status, _ := p.get(t)
		equal(t, "the session's next poll", status, http.StatusBadRequest)
	})
}

func TestPollThatIsNotReadIsClosedInTime(t *testing.T) {
	inVirtualTime(t, Options{WriteTimeout: 10 * time.Second}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		p.posts(t, "40")
		p.gets(t)
		must(t, v.Broadcast("news", strings.Repeat("x", 1<<20)))
		conn, err := v.net.dial(t.Context(), "", "")
		must(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", p.sid)
		one := make([]byte, 1)
		_, err = io.ReadFull(conn, one) // the answer has begun
		must(t, err)
		time.Sleep(10*time.Second + time.Millisecond) // virtual, and we read nothing
		_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
		n, err := io.Copy(io.Discard, conn)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
		if n > 64<<10 {
			t.Errorf("the server kept %d bytes waiting", n)
		}
	})
}

func TestSecondPostAtOnceEndsTheSession(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		body, slow := io.Pipe()
		first := make(chan int, 1)
		go func() {
			status := 0
			if answer, err := v.web.Post(p.url(), "text/plain", body); err == nil {
				answer.Body.Close()
				status = answer.StatusCode
			}
			first <- status
		}()
		_, err := slow.Write([]byte("40"))
		must(t, err)
		synctest.Wait() // the first is being read
		status, _ := p.post(t, "40")
		equal(t, "second POST", status, http.StatusBadRequest)
		slow.Close()
		equal(t, "first POST", <-first, http.StatusBadRequest)
		synctest.Wait()
		equal(t, "sessions", v.Count(), 0)
	})
}

func TestBinaryBodyIsRefused(t *testing.T) {
	inVirtualTime(t, Options{}, func(t *testing.T, v *virtual) {
		p := v.poller(t)
		answer, err := v.web.Post(p.url(), "application/octet-stream", strings.NewReader("4x"))
		must(t, err)
		answer.Body.Close()
		equal(t, "status", answer.StatusCode, http.StatusBadRequest)
	})
}
