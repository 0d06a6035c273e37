package socketio

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gathering collects the sockets that connect, in order.
type gathering struct {
	mu      sync.Mutex
	sockets []*Socket
}

func (g *gathering) add(s *Socket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets = append(g.sockets, s)
}

func TestLargestIsCutWhenTheBudgetIsUsedUp(t *testing.T) {
	var g gathering
	const budget = 1 << 20
	inVirtualTime(t, Options{MaxMemory: budget, OnConnect: g.add, PingInterval: time.Hour, WriteTimeout: time.Hour}, func(t *testing.T, v *virtual) {
		for range 4 {
			v.connect(t) // and reads no more
		}
		honest := v.connect(t)
		frame := func(size int) Frame { return textFrame("4" + strings.Repeat("x", size)) }
		for i, size := range []int{100 << 10, 300 << 10, 200 << 10, 150 << 10} {
			g.sockets[i].Send(frame(size))
		}
		synctest.Wait()
		equal(t, "sessions below the budget", v.Count(), 5)
		g.sockets[0].Send(frame(250 << 10)) // 350 KiB now, and 1,000 in all
		g.sockets[3].Send(frame(50 << 10))
		synctest.Wait()
		equal(t, "sessions", v.Count(), 4)
		equal(t, "reason", <-v.ended, ReasonSlowConsumer)
		equal(t, "counted", v.Stats().OverBudget.Load(), 1)
		if g.sockets[0].Send(pingFrame) {
			t.Error("it was not the largest that was cut")
		}
		for i := range 20 { // one that reads is never the largest
			g.sockets[1].Send(frame(40 << 10))
			g.sockets[4].Send(textFrame(fmt.Sprint("4", i)))
			honest.wants(t, fmt.Sprint("4", i))
		}
		equal(t, "honest client stays", g.sockets[4].Send(pingFrame), true)
		synctest.Wait()
		if used := v.Memory(); used > budget {
			t.Errorf("%d bytes are in use", used)
		}
	})
}

// What was counted is given back, however it goes: written, polled, superseded, dropped or broken off.
func TestBudgetIsGivenBack(t *testing.T) {
	var g gathering
	inVirtualTime(t, Options{MaxMemory: 64 << 20, OnConnect: g.add, ConnectTimeout: time.Hour}, func(t *testing.T, v *virtual) {
		clients := []*wsClient{v.connect(t), v.connect(t)}
		p := v.poller(t)
		p.posts(t, "40")
		p.gets(t)
		upgraded := v.poller(t)
		upgraded.posts(t, "40")
		upgraded.gets(t)
		candidate := v.dial(t, "&sid="+upgraded.sid)
		synctest.Wait()
		equal(t, "in use at rest", v.Memory(), 0)

		big := textFrame("4" + strings.Repeat("x", 1<<20))
		for _, s := range g.sockets {
			s.Send(big.Superseding(7))
			s.Send(big.Superseding(7))
			s.Send(textFrame("4y"))
		}
		synctest.Wait()
		if used := v.Memory(); used < 1<<20 || used > 2<<20 {
			t.Errorf("%d bytes are in use: what all hold counts once", used)
		}
		for range 2 {
			must(t, second(clients[0].next()))
		}
		clients[1].conn.Close() // with all of it unread
		half := maskedFrame(opText, []byte("4"+strings.Repeat("x", 50_000)))[:40_000]
		for _, c := range []*wsClient{clients[0], candidate} {
			must(t, second(c.conn.NetConn().Write(half)))
		}
		synctest.Wait()
		if used := v.Memory(); used < 80_000 {
			t.Errorf("%d bytes are in use: halves of messages are not counted", used)
		}
		p.gets(t)
		candidate.conn.Close()
		must(t, second(clients[0].conn.NetConn().Write([]byte{0xff}))) // fits nothing
		clients[0].conn.Close()
		_, _ = upgraded.get(t)
		synctest.Wait()
		if used := v.Memory(); used != 0 {
			t.Errorf("%d bytes are in use at the end", used)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestHalvesOfMessagesAreInTheBudget(t *testing.T) {
	inVirtualTime(t, Options{MaxMemory: 1 << 20, ConnectTimeout: time.Hour}, func(t *testing.T, v *virtual) {
		half := maskedFrame(opText, []byte("4"+strings.Repeat("x", 120_000)))[:119_000]
		var conns []net.Conn
		for range 12 {
			conns = append(conns, v.connect(t).conn.NetConn())
		}
		for _, c := range conns {
			_, _ = c.Write(half) // it may be cut meanwhile
			synctest.Wait()
		}
		if n := v.Stats().OverBudget.Load(); n == 0 || n == 12 {
			t.Errorf("%d of 12 were cut", n)
		}
		if used := v.Memory(); used > 1<<20 {
			t.Errorf("%d bytes are in use", used)
		}
	})
}

func TestPressureIsToldOnceEachWay(t *testing.T) {
	var mu sync.Mutex
	var told []bool
	var g gathering
	opts := Options{MaxMemory: 1 << 20, PingInterval: time.Hour, OnConnect: g.add, OnPressure: func(high bool) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, high)
	}}
	inVirtualTime(t, opts, func(t *testing.T, v *virtual) {
		c := v.connect(t)
		for range 17 {
			g.sockets[0].Send(textFrame("4" + strings.Repeat("x", 50<<10)))
			synctest.Wait()
		}
		for range 17 {
			must(t, second(c.next()))
			synctest.Wait()
		}
		mu.Lock()
		defer mu.Unlock()
		equal(t, "told", fmt.Sprint(told), "[true false]")
	})
}
