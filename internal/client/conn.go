// Package client is a conference client in Go: Socket.IO over a WebSocket, and
// protocol 2 on top of it. The end-to-end tests and signload use it.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/fault"
)

// Options of a connection.
type Options struct {
	Header http.Header // of the handshake: Origin, X-Forwarded-For
	Auth   any         // the object sent with CONNECT
	TLS    *tls.Config
	// OnEvent is called for every event, in order, on the reading goroutine. It must
	// not wait for an ack.
	OnEvent func(event string, args []json.RawMessage)
	// OnClose is called once when the connection has ended.
	OnClose func(error)
	// NoPong leaves pings unanswered: the server gets no confirmation of anything.
	NoPong bool
}

// Conn is a Socket.IO connection in the default namespace.
type Conn struct {
	opts Options
	ws   *websocket.Conn
	sid  string
	done chan struct{}

	writing sync.Mutex

	mu     sync.Mutex
	nextID uint64
	acks   map[uint64]chan json.RawMessage
	err    error // why it ended
}

// ErrClosed: the connection has ended.
var ErrClosed = errors.New("connection closed")

// ConnectError is the server's refusal of the connection.
type ConnectError struct {
	Message string       `json:"message"`
	Data    *fault.Error `json:"data"`
}

func (e *ConnectError) Error() string { return "connect: " + e.Message }

var dialBuffers sync.Pool

// Dial connects to a server: base is its address, as https://host/meet.
func Dial(ctx context.Context, base string, opts Options) (*Conn, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", base, err)
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = strings.TrimRight(u.Path, "/") + "/socket.io/"
	u.RawQuery = "EIO=4&transport=websocket"
	dialer := websocket.Dialer{
		TLSClientConfig: opts.TLS, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: &dialBuffers,
	}
	ws, resp, err := dialer.DialContext(ctx, u.String(), opts.Header)
	if resp != nil && resp.Body != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil {
		return nil, dialError(resp, err)
	}
	c := &Conn{opts: opts, ws: ws, done: make(chan struct{}), acks: map[uint64]chan json.RawMessage{}}
	if err := c.connect(ctx); err != nil {
		_ = ws.Close()
		return nil, err
	}
	go c.read() // ends with the connection: Close waits for it
	return c, nil
}

// dialError keeps what the server said about its refusal.
func dialError(resp *http.Response, err error) error {
	if resp == nil {
		return fmt.Errorf("dial: %w", err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	f := &fault.Error{}
	if json.Unmarshal(body, f) == nil && f.Code != "" {
		return &ConnectError{Message: f.Message, Data: f}
	}
	return fmt.Errorf("dial: %s: %w", resp.Status, err)
}

// connect does the handshakes of Engine.IO and Socket.IO.
func (c *Conn) connect(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.ws.SetReadDeadline(deadline) // the read tells if it failed
		defer func() { _ = c.ws.SetReadDeadline(time.Time{}) }()
	}
	if _, _, err := c.ws.ReadMessage(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	hello := []byte("40")
	if c.opts.Auth != nil {
		auth, err := json.Marshal(c.opts.Auth)
		if err != nil {
			return fmt.Errorf("encode auth: %w", err)
		}
		hello = append(hello, auth...)
	}
	if err := c.write(hello); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	for {
		_, b, err := c.ws.ReadMessage()
		switch {
		case err != nil:
			return fmt.Errorf("connect: %w", err)
		case bytes.Equal(b, []byte("2")):
			if err := c.write([]byte("3")); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
		case bytes.HasPrefix(b, []byte("44")):
			refused := &ConnectError{}
			if err := json.Unmarshal(b[2:], refused); err != nil {
				return fmt.Errorf("connect: %s", b[2:])
			}
			return refused
		case bytes.HasPrefix(b, []byte("40")):
			var hello struct{ SID string }
			if err := json.Unmarshal(b[2:], &hello); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			c.sid = hello.SID
			return nil
		default:
			return fmt.Errorf("connect: unexpected packet %q", b)
		}
	}
}

// ID is the socket's id.
func (c *Conn) ID() string { return c.sid }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close says goodbye and ends the connection.
func (c *Conn) Close() error {
	_ = c.write([]byte("41")) // it may be gone already
	err := c.ws.Close()
	<-c.done
	return err
}

// Kill ends the connection without a word, as a lost network does to the server's
// eyes once the sockets notice.
func (c *Conn) Kill() {
	if tcp, ok := c.ws.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.ws.Close()
	<-c.done
}

func (c *Conn) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.TextMessage, b)
}

// Emit sends an event and wants no answer.
func (c *Conn) Emit(event string, args ...any) error {
	b, err := encode("42", event, args)
	if err != nil {
		return err
	}
	return c.write(b)
}

// Call sends an event and waits for its ack. An ack that says ok:false is a
// *fault.Error.
func (c *Conn) Call(ctx context.Context, event string, payload, into any) error {
	answer := make(chan json.RawMessage, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return ErrClosed
	}
	id := c.nextID
	c.nextID++
	c.acks[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.acks, id)
		c.mu.Unlock()
	}()

	b, err := encode("42"+strconv.FormatUint(id, 10), event, []any{payload})
	if err != nil {
		return err
	}
	if err := c.write(b); err != nil {
		return fmt.Errorf("%s: %w", event, err)
	}
	select {
	case raw, ok := <-answer:
		if !ok {
			return ErrClosed
		}
		return decodeAck(event, raw, into)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", event, ctx.Err())
	}
}

func decodeAck(event string, raw json.RawMessage, into any) error {
	f := &fault.Error{OK: true}
	if err := json.Unmarshal(raw, f); err != nil {
		return fmt.Errorf("%s: ack %s: %w", event, raw, err)
	}
	if !f.OK {
		return f
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: ack %s: %w", event, raw, err)
	}
	return nil
}

func encode(prefix, event string, args []any) ([]byte, error) {
	b, err := json.Marshal(append([]any{event}, args...))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", event, err)
	}
	return append([]byte(prefix), b...), nil
}

// read dispatches what comes until the connection ends.
func (c *Conn) read() {
	var err error
	for err == nil {
		var b []byte
		if _, b, err = c.ws.ReadMessage(); err == nil {
			err = c.receive(b)
		}
	}
	_ = c.ws.Close()
	c.mu.Lock()
	c.err = err
	for id, answer := range c.acks {
		close(answer)
		delete(c.acks, id)
	}
	c.mu.Unlock()
	close(c.done)
	if c.opts.OnClose != nil {
		c.opts.OnClose(err)
	}
}

func (c *Conn) receive(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("2")):
		if c.opts.NoPong {
			return nil
		}
		return c.write([]byte("3"))
	case bytes.HasPrefix(b, []byte("42")):
		var args []json.RawMessage
		var event string
		if err := json.Unmarshal(b[2:], &args); err != nil || len(args) == 0 || json.Unmarshal(args[0], &event) != nil {
			return fmt.Errorf("event %q: %w", b, err)
		}
		if c.opts.OnEvent != nil {
			c.opts.OnEvent(event, args[1:])
		}
	case bytes.HasPrefix(b, []byte("43")):
		at := 2
		for at < len(b) && b[at] >= '0' && b[at] <= '9' {
			at++
		}
		id, _ := strconv.ParseUint(string(b[2:at]), 10, 64) // digits only
		var args []json.RawMessage
		if err := json.Unmarshal(b[at:], &args); err != nil || len(args) == 0 {
			return fmt.Errorf("ack %q: %w", b, err)
		}
		c.mu.Lock()
		if answer := c.acks[id]; answer != nil {
			answer <- args[0]
			delete(c.acks, id)
		}
		c.mu.Unlock()
	case bytes.Equal(b, []byte("1")), bytes.HasPrefix(b, []byte("41")):
		return ErrClosed
	}
	return nil
}
