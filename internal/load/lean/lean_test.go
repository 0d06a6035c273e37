package lean

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const patience = 10 * time.Second

// inbox is a handler that passes on what it is told.
type inbox struct {
	connected chan struct{}
	packets   chan string
	closed    chan error
}

func newInbox() *inbox {
	return &inbox{make(chan struct{}, 1), make(chan string, 1000), make(chan error, 1)}
}

func (i *inbox) Connected()      { i.connected <- struct{}{} }
func (i *inbox) Packet(b []byte) { i.packets <- string(b) }
func (i *inbox) Closed(e error)  { i.closed <- e }

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func running(t *testing.T) *Loop {
	t.Helper()
	l, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Run(); close(done) }()
	t.Cleanup(func() { l.Stop(); <-done })
	return l
}

// echo is a server of Socket.IO that says everything again, in frames as awkward
// as allowed.
func echo(t *testing.T, w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{WriteBufferSize: 64} // long messages come in fragments
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	say := func(s string) {
		f, err := c.NextWriter(websocket.TextMessage)
		if err == nil {
			_, err = strings.NewReader(s).WriteTo(f)
			_ = f.Close()
		}
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			t.Log(err)
		}
	}
	say(`0{"sid":"x"}`)
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		switch s := string(b); s {
		case "40":
			say("2")
			say(`40{"sid":"y"}`)
		case "3":
		case "42bye":
			say("41")
		case "42ping":
			_ = c.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(time.Second))
			c.SetPongHandler(func(string) error { say("42pong"); return nil })
		default:
			say(s)
		}
	}
}

func dial(t *testing.T, l *Loop, base string) (*Conn, *inbox) {
	t.Helper()
	target, err := Resolve(context.Background(), base, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	in := newInbox()
	var c *Conn
	l.Do(func() { c = l.Dial(target, patience, in) })
	return c, in
}

func TestConnSpeaksWebSocketAndSocketIO(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { echo(t, w, r) })
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	for _, base := range []string{plain.URL, secure.URL} {
		l := running(t)
		c, in := dial(t, l, base)
		receive(t, "connection", in.connected)
		for _, n := range []int{0, 3, 123, 124, 70, 65_531, 70_000, 2_000_000} {
			want := "42" + strings.Repeat("x", n)
			l.Do(func() { c.Send([]byte(want)) })
			if got := receive(t, "echo", in.packets); got != want {
				t.Fatalf("%d bytes came back as %d", len(want), len(got))
			}
		}
		l.Do(func() {
			for i := range 500 {
				c.Send(fmt.Append(nil, "42", i))
			}
		})
		for i := range 500 {
			if got := receive(t, "echo", in.packets); got != fmt.Sprint("42", i) {
				t.Fatalf("got %q as number %d", got, i)
			}
		}
		l.Do(func() { c.Send([]byte("42ping")) })
		if got := receive(t, "pong", in.packets); got != "42pong" {
			t.Fatalf("got %q", got)
		}
		l.Do(func() { c.Send([]byte("42bye")) })
		if err := receive(t, "end", in.closed); !errors.Is(err, errClosed) {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestConnSaysWhyItDidNotOpen(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"code":"server_full","message":"Full."}`))
	}))
	defer refusing.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	l := running(t)
	_, in := dial(t, l, refusing.URL)
	var refused *Refused
	if err := receive(t, "refusal", in.closed); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("got %v", err)
	}
	_, in = dial(t, l, gone.URL)
	if err := receive(t, "error", in.closed); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	target, _ := Resolve(context.Background(), silent.URL, nil)
	in = newInbox()
	l.Do(func() { l.Dial(target, 10*time.Millisecond, in) })
	if err := receive(t, "timeout", in.closed); !errors.Is(err, errTimeout) {
		t.Errorf("got %v", err)
	}
}

// Nothing is lost however the bytes are cut.
func TestFramesInPieces(t *testing.T) {
	frame := func(first byte, payload string) []byte {
		b := []byte{first}
		if len(payload) < 126 {
			b = append(b, byte(len(payload)))
		} else {
			b = append(b, 126, byte(len(payload)>>8), byte(len(payload)))
		}
		return append(b, payload...)
	}
	long := strings.Repeat("y", 300)
	stream := bytes.Join([][]byte{
		[]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
		frame(0x81, `0{}`), frame(0x81, `40{}`), frame(0x81, "42a"), frame(0x01, "42b"), frame(0x80, "c"), frame(0x81, "42"+long), frame(0x81, "42d"),
	}, nil)
	for size := 1; size < len(stream); size++ {
		l, err := New(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		in := newInbox()
		c := &Conn{loop: l, h: in, stage: upgrading, pipe: nowhere{}}
		for rest := stream; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			c.receive(append([]byte(nil), rest[:min(size, len(rest))]...))
		}
		for _, want := range []string{"42a", "42bc", "42" + long, "42d"} {
			if got := receive(t, "packet", in.packets); got != want {
				t.Fatalf("in pieces of %d: got %q, want %q", size, got, want)
			}
		}
		l.poll.close()
	}
}

type nowhere struct{}

func (nowhere) write(b []byte) (int, error) { return len(b), nil }
func (nowhere) shut(bool)                   {}

func TestTimersRunInOrder(t *testing.T) {
	l := running(t)
	order := make(chan int, 3)
	l.Do(func() {
		l.After(20*time.Millisecond, func() { order <- 3 })
		l.After(time.Millisecond, func() { order <- 1; l.After(0, func() { order <- 2 }) })
	})
	for want := 1; want <= 3; want++ {
		if got := receive(t, "timer", order); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
}

func TestResolveWantsAnAddress(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://%"} {
		if _, err := Resolve(context.Background(), bad, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
