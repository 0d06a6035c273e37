package socketio

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Each test proves that one fault of the bare library is gone;
// docs/socketio-faults.md is their list.

// malformed are packets that no Socket.IO client sends.
var malformed = []struct{ name, packet string }{
	{"event without payload", "42"},
	{"event with an id alone", "4212"},
	{"event with a namespace alone", "42/,"},
	{"ack without payload", "43"},
	{"ack with an id alone", "431"},
	{"binary event without payload", "451-"},
	{"binary event with zero attachments", "450-"},
	{"binary ack without payload", "461-1"},
	{"attachments that will not come", `451-["echo"]`},
	{"more attachments than anyone sends", `4599999999-["echo",{"_placeholder":true,"num":0}]`},
	{"negative attachments", `45-1-["echo"]`},
	{"ack id beyond 64 bits", `4299999999999999999999["echo"]`},
	{"deep JSON", `42["echo",` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `]`},
	{"JSON cut short", `42["echo",{"a":`},
	{"invalid UTF-8", "42[\"echo\",\"\xff\xfe\"]"},
	{"unknown type", "49[]"},
	{"object for an array", `42{"0":"echo"}`},
	{"event of a namespace never joined", `42/admin,["echo"]`},
}

func TestFaultMalformedPacketEndsOnlyItsSession(t *testing.T) {
	f := startFaultServer(t, faultOptions{})
	bystander := mustConnect(t, f.base)
	for _, m := range malformed {
		t.Run(m.name, func(t *testing.T) {
			if !f.lives(t) { // a case before has failed
				f = startFaultServer(t, faultOptions{})
				bystander = mustConnect(t, f.base)
			}
			overWebSocket := mustConnect(t, f.base)
			// As raw bytes: the client must not mend what is wrong.
			frames, body := maskedFrame(opText, []byte(m.packet)), m.packet
			if strings.HasPrefix(m.packet, "45") || strings.HasPrefix(m.packet, "46") { // promises an attachment
				frames, body = append(frames, maskedFrame(opBinary, []byte{1})...), body+"\x1ebAQ=="
			}
			_, err := overWebSocket.conn.NetConn().Write(frames)
			must(t, err)
			ended := overWebSocket.endsWithin(5 * time.Second)
			f.mustLive(t)

			overPolling := connectPolling(t, f.base)
			status, _, err := overPolling.do(http.MethodPost, body)
			f.mustLive(t)
			must(t, err)
			equal(t, "WebSocket session ended", ended, true)
			equal(t, "POST", status, http.StatusBadRequest)

			bystander.says(t, `421["echo","still here"]`)
			bystander.wants(t, `42["echo","still here"]`)
			bystander.wants(t, `431["still here"]`)
		})
	}
}

// endsWithin reads until the server closes the connection.
func (c *wsClient) endsWithin(d time.Duration) bool {
	for deadline := time.Now().Add(d); ; {
		if _, err := c.readWithin(time.Until(deadline)); err != nil {
			return !isTimeout(err)
		}
	}
}

// inParallel runs work for 0 … n-1 by as many goroutines as told.
func inParallel(n, goroutines int, work func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(goroutines)
	for i := range n {
		g.Go(func() error { return work(i) })
	}
	return g.Wait()
}

func TestFaultPongRightAfterTheUpgrade(t *testing.T) {
	f := startFaultServer(t, faultOptions{})
	bystander := mustConnect(t, f.base)
	rounds := 1500
	if bare {
		rounds = 100_000
	}
	err := inParallel(rounds, 64, func(int) error {
		c, err := dialTCP(f.base)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.sendFrames("3", "3")
	})
	f.mustLive(t)
	must(t, err)
	bystander.says(t, `42["echo"]`)
	bystander.wants(t, `42["echo"]`)
}

func TestFaultPanicInAHandlerAnswersInternal(t *testing.T) {
	f := startFaultServer(t, faultOptions{})
	c := mustConnect(t, f.base)
	c.says(t, `427["panic"]`)
	got, err := c.next()
	f.mustLive(t)
	must(t, err)
	var answer [1]struct {
		OK   bool
		Code string
	}
	payload, found := strings.CutPrefix(got, "437")
	if err := json.Unmarshal([]byte(payload), &answer); !found || err != nil || answer[0].OK || answer[0].Code != "internal" {
		t.Errorf("answered %q", got)
	}
	c.says(t, `428["echo"]`) // the session goes on
	c.wants(t, `42["echo"]`)
	c.wants(t, `438[]`)
}

func TestFaultEventsAreHandledInOrder(t *testing.T) {
	const sockets, events = 20, 300
	f := startFaultServer(t, faultOptions{})
	err := inParallel(sockets, sockets, func(int) error {
		c, err := dialConnected(f.base)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.conn.Close() })
		for i := range events {
			if err := c.send(fmt.Sprintf(`42["number",%d]`, i+1)); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	eventually(t, "all events handled", func() bool { return f.state(t).Numbers == sockets*events })
	equal(t, "events out of order", f.state(t).Inversions, 0)
}

func TestFaultEveryBroadcastArrives(t *testing.T) {
	const sockets, perRoom, batches, batch = 200, 10, 3, 5
	f := startFaultServer(t, faultOptions{})
	var got atomic.Int64
	clients := make([]*wsClient, sockets)
	must(t, inParallel(sockets, 32, func(i int) (err error) {
		if clients[i], err = dialConnected(f.base); err != nil {
			return err
		}
		if err := clients[i].send(fmt.Sprintf(`420["join","room %d"]`, i/perRoom)); err != nil {
			return err
		}
		_, err = clients[i].next() // the ack
		return err
	}))
	err := inParallel(2*sockets, 2*sockets, func(i int) error {
		c := clients[i/2]
		if i%2 == 0 {
			for range batches {
				err := c.send(fmt.Sprintf(`42["burst","room %d",%d,200]`, i/2/perRoom, batch))
				if err != nil {
					return err
				}
			}
			return nil
		}
		for range perRoom * batches * batch {
			if _, err := c.next(); err != nil {
				return nil //nolint:nilerr // counted below
			}
			got.Add(1)
		}
		return nil
	})
	must(t, err)
	equal(t, "broadcasts that arrived", got.Load(), sockets*perRoom*batches*batch)
}

func TestFaultNoneOfThoseWhoSpeakAtOnceHangs(t *testing.T) {
	const connects = 3000
	f := startFaultServer(t, faultOptions{})
	var hung, refused atomic.Int64
	must(t, inParallel(connects, 64, func(int) error {
		c, err := dialTCP(f.base)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience / 2)) // cannot fail
		if err := c.sendFrames("40", `421["echo","first"]`); err != nil {
			return err
		}
		for _, want := range []string{"0{", "40{", `42["echo","first"]`, `431["first"]`} {
			got, err := c.next()
			if isTimeout(err) {
				hung.Add(1)
				return nil
			}
			if err != nil || !strings.HasPrefix(got, want) {
				refused.Add(1)
				return nil
			}
		}
		return nil
	}))
	equal(t, "clients that hung", hung.Load(), 0)
	equal(t, "clients that were closed or answered out of order", refused.Load(), 0)
}

func TestFaultEventsWaitForTheConnectHandler(t *testing.T) {
	const sockets = 60
	f := startFaultServer(t, faultOptions{Work: 2 * time.Millisecond})
	var lost atomic.Int64
	must(t, inParallel(sockets, sockets, func(int) error {
		c, err := dialConnected(f.base) // returns at the answer to CONNECT: the handler is still at work
		if err != nil {
			return err
		}
		defer c.conn.Close()
		if err := c.send(`420["echo"]`); err != nil {
			return err
		}
		if _, err := c.readWithin(patience / 4); isTimeout(err) {
			lost.Add(1)
		}
		return nil
	}))
	equal(t, "events lost", lost.Load(), 0)
}

func TestFaultDescriptorIsFreedWhenTheClientCloses(t *testing.T) {
	const clients = 200
	f := startFaultServer(t, faultOptions{}, "GOGC=off") // a collection would close them too
	mustConnect(t, f.base)                               // stays: the server opens something for all with the first
	stateClient.CloseIdleConnections()
	before := f.descriptors(t)
	must(t, inParallel(clients, 32, func(i int) error {
		c, err := dialConnected(f.base)
		if err != nil {
			return err
		}
		if i%2 == 0 { // half of them say goodbye
			err = c.conn.WriteMessage(8, []byte{0x03, 0xE8})
		}
		return errorsOf(err, c.conn.Close())
	}))
	last := 0
	defer func() { t.Logf("%d descriptors before, %d after", before, last) }()
	eventually(t, "descriptors freed", func() bool {
		last = f.descriptors(t)
		return last <= before
	})
}

func errorsOf(errs ...error) error {
	return errs[max(0, slices.IndexFunc(errs, func(err error) bool { return err != nil }))]
}

func TestFaultClosingDuringConnectLeavesNoGhost(t *testing.T) {
	rounds := 1000
	if bare {
		rounds = 20_000
	}
	f := startFaultServer(t, faultOptions{PingInterval: time.Hour, PingTimeout: time.Hour})
	must(t, inParallel(rounds, 32, func(i int) error {
		c, err := dialTCP(f.base)
		if err != nil {
			return err
		}
		if i%3 == 0 {
			_ = c.Conn.(*net.TCPConn).SetLinger(0) // goodbye by reset; cannot fail
		}
		return errorsOf(c.sendFrames("40"), c.Close())
	}))
	var s faultState
	defer func() { t.Logf("at the end: %+v", s) }()
	eventually(t, "no session, no socket", func() bool {
		s = f.state(t)
		ended := 0
		for _, n := range s.Ended {
			ended += n
		}
		return s.Sessions == 0 && s.Sockets == 0 && ended == s.Connects
	})
}

// The reader that stops still answers pings, so only its queue can tell.
func TestFaultSlowReaderIsCutAndNobodyElseNotices(t *testing.T) {
	const bursts, burst, size = 100, 100, 4096 // 40 MB in all
	f := startFaultServer(t, faultOptions{PingInterval: 200 * time.Millisecond, PingTimeout: 5 * time.Second})
	join := func() *wsClient {
		c := mustConnect(t, f.base)
		c.says(t, `420["join","r"]`)
		c.wants(t, `430["r"]`)
		return c
	}
	stopped, reader := join(), join()
	before := f.state(t).Heap
	stopped.onlyPongs(t)
	arrived := 0
	var slowest time.Duration
	for range bursts {
		start := time.Now()
		reader.says(t, fmt.Sprintf(`42["burst","r",%d,%d]`, burst, size))
		for range burst {
			if _, err := reader.next(); err != nil {
				t.Errorf("%d arrived: %v", arrived, err)
				break
			}
			arrived++
		}
		slowest = max(slowest, time.Since(start))
		if t.Failed() {
			break
		}
	}
	s := f.state(t)
	t.Logf("slowest burst %v, heap grew by %d kB", slowest, (s.Heap-before)>>10)
	equal(t, "messages that the reader got", arrived, bursts*burst)
	if grown := s.Heap - before; grown > 16<<20 {
		t.Errorf("heap grew by %d MB", grown>>20)
	}
	eventually(t, "the stopped client's end", func() bool { s = f.state(t); return s.Ended[string(ReasonSlowConsumer)] == 1 })
	equal(t, "sockets left", s.Sockets, 1)
}

// onlyPongs answers pings without reading them, until the test ends.
func (c *wsClient) onlyPongs(t *testing.T) {
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.send("3") // fails when it has been cut
			case <-done:
				return
			}
		}
	}()
}

func TestFaultSlowReaderHoldsLittleMemory(t *testing.T) {
	const messages, size = 10_000, 4096
	f := startFaultServer(t, faultOptions{PingInterval: 200 * time.Millisecond, PingTimeout: 5 * time.Second})
	before := f.state(t).Heap
	c := mustConnect(t, f.base)
	c.says(t, fmt.Sprintf(`42["flood",%d,%d]`, messages, size))
	c.onlyPongs(t)
	var grown int64
	defer func() { t.Logf("heap grew by %d kB", grown>>10) }()
	eventually(t, "the stopped client's end", func() bool {
		s := f.state(t)
		grown = max(grown, s.Heap-before)
		return s.Ended[string(ReasonSlowConsumer)] == 1
	})
	if grown > 16<<20 {
		t.Errorf("heap grew by %d MB", grown>>20)
	}
}

func TestFaultEndlessPostIsCutAtTheLimit(t *testing.T) {
	const limit, endless = 64 << 10, 64 << 20
	f := startFaultServer(t, faultOptions{MaxMessage: limit})
	p := connectPolling(t, f.base)
	before := f.rss(t)
	u, err := url.Parse(p.url())
	must(t, err)
	conn, err := net.Dial("tcp", u.Host)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience)) // cannot fail
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n", u.RequestURI(), u.Host)
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", 32<<10, strings.Repeat("4", 32<<10)))
	sent := 0
	for sent < endless {
		n, err := conn.Write(chunk)
		if sent += n; err != nil {
			break
		}
	}
	grown := f.rss(t) - before
	t.Logf("%d kB sent, memory grew by %d kB", sent>>10, grown>>10)
	if sent >= endless {
		t.Errorf("the server took %d MB", sent>>20)
	}
	if grown > 32<<20 {
		t.Errorf("memory grew by %d MB", grown>>20)
	}
	status, _, err := p.do(http.MethodGet, "")
	must(t, err)
	equal(t, "the session's next poll", status, http.StatusBadRequest)
	f.mustLive(t)
}

func TestFaultLargePacketsOverPollingArrive(t *testing.T) {
	const limit = 128 << 10
	f := startFaultServer(t, faultOptions{MaxMessage: limit})
	for _, size := range []int{60 << 10, 70 << 10, limit} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			p := connectPolling(t, f.base)
			packet := `42["echo",""]`
			packet = packet[:len(packet)-2] + strings.Repeat("x", size-len(packet)) + packet[len(packet)-2:]
			p.posts(t, packet)
			answer := p.goGet()
			select {
			case a := <-answer:
				equal(t, "echo is what was sent", a.body == packet, true)
			case <-time.After(patience / 4):
				t.Fatal("no echo")
			}
		})
	}
	t.Run("one byte over", func(t *testing.T) {
		p := connectPolling(t, f.base)
		status, _, err := p.do(http.MethodPost, `42["`+strings.Repeat("x", limit-5)+`"]`)
		must(t, err)
		equal(t, "POST", status, http.StatusRequestEntityTooLarge)
	})
}

func TestFaultForeignOriginIsRefused(t *testing.T) {
	f := startFaultServer(t, faultOptions{})
	for _, transport := range []string{"polling", "websocket"} {
		t.Run(transport, func(t *testing.T) {
			for origin, want := range map[string]bool{"": true, f.origin: true, "https://elsewhere.example": false, "null": false} {
				status := handshakeFrom(t, f.base, transport, origin)
				if let := status < 400; let != want {
					t.Errorf("origin %q: status %d", origin, status)
				}
			}
		})
	}
}
