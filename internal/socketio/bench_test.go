package socketio

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchPacket is a relayed offer, as browsers send it.
var benchPacket = `412["signal",{"to":"p_0123456789abcdef","neg":"p_fedcba9876543210-3","kind":"offer","sdp":"` +
	strings.Repeat(`a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host\r\n`, 40) + `"}]`

func BenchmarkParsePacket(b *testing.B) {
	for name, packet := range map[string]string{"small": `212["heartbeat",{}]`, "offer": "2" + benchPacket[1:]} {
		b.Run(name, func(b *testing.B) {
			data := []byte(packet)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parsePacket(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	small := map[string]any{"rev": 41, "left": []map[string]string{{"peer_id": "p_0123456789abcdef", "reason": "leave"}}}
	large := map[string]string{"sdp": strings.Repeat("a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host\r\n", 40)}
	for name, payload := range map[string]any{"small": small, "offer": large} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Encode("update_participants", payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadFrames reads messages as they come in one piece: unmasking, checking.
func BenchmarkReadFrames(b *testing.B) {
	for _, size := range []int{100, 1000, 3500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := frameReader{limit: 128 << 10}
			wire := clientFrame(fin|opText, strings.Repeat("x", size))
			chunk := make([]byte, len(wire))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				copy(chunk, wire)
				m, rest, err := r.next(r.add(chunk))
				if err != nil || len(m.data) != size || len(rest) > 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

// A sink is a connection that takes everything at once.
type sink struct {
	net.Conn
	mu      sync.Mutex
	written int
	arrived *sync.Cond
}

func newSink() *sink {
	s := &sink{}
	s.arrived = sync.NewCond(&s.mu)
	return s
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.written += len(b)
	s.mu.Unlock()
	s.arrived.Signal()
	return len(b), nil
}

func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

func (s *sink) waitFor(n int) {
	s.mu.Lock()
	for s.written < n {
		s.arrived.Wait()
	}
	s.mu.Unlock()
}

// fanOut is a number of sessions that write into sinks.
func fanOut(receivers int) (sessions []*session, sinks []*sink) {
	s := New(Options{})
	for range receivers {
		k := newSink()
		sinks = append(sinks, k)
		n := &session{srv: s, ws: &wsConn{net: k}, out: outbox{maxFrames: 1024, maxBytes: 4 << 20, budget: &s.budget}}
		n.flusher = n.flush
		sessions = append(sessions, n)
	}
	return sessions, sinks
}

// BenchmarkFanOut sends one ready frame to many sessions, down to the writes.
func BenchmarkFanOut(b *testing.B) {
	f, err := Encode("signal", map[string]string{"sdp": strings.Repeat("x", 1000)})
	must(b, err)
	for _, receivers := range []int{10, 100} {
		b.Run(fmt.Sprint(receivers), func(b *testing.B) {
			sessions, sinks := fanOut(receivers)
			sent := 0
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range sessions {
					if !s.send(f) {
						b.Fatal("cut")
					}
				}
				sent += f.Len()
				for _, k := range sinks {
					k.waitFor(sent)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/delivery")
		})
	}
}

// TestFanOutAllocatesNothingPerReceiver holds what BenchmarkFanOut shows.
func TestFanOutAllocatesNothingPerReceiver(t *testing.T) {
	f, err := Encode("news")
	must(t, err)
	const receivers = 50
	sessions, sinks := fanOut(receivers)
	sent := 0
	round := func() {
		for _, s := range sessions {
			s.send(f)
		}
		sent += f.Len()
		for _, k := range sinks {
			k.waitFor(sent)
		}
	}
	for range 50 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n > receivers/5 {
		t.Errorf("%v allocations for %d receivers", n, receivers)
	}
}

func BenchmarkEcho(b *testing.B) {
	s := New(Options{OnEvent: func(_ *Socket, e *Event) { e.Ack(e.Args[0]) }})
	web := httptest.NewServer(http.HandlerFunc(s.ServeHTTP))
	defer func() {
		stopAtOnce(s)
		web.Close()
	}()
	c, err := dialConnected(web.URL + "/socket.io/?EIO=4")
	must(b, err)
	defer c.conn.Close()
	b.SetBytes(int64(len(benchPacket)))
	b.ReportAllocs()
	for b.Loop() {
		must(b, c.send("42"+benchPacket[1:]))
		if _, err := c.next(); err != nil {
			b.Fatal(err)
		}
	}
}
