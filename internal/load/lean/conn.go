package lean

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Handler is whose connection it is. After Close or Kill it is not called again.
type Handler interface {
	// Connected: the Socket.IO CONNECT was answered.
	Connected()
	// Packet is a Socket.IO packet, as 42["event",…]. b is valid until it returns.
	Packet(b []byte)
	// Closed: the connection ended without having been asked to, or never opened.
	Closed(err error)
}

type stage uint8

const (
	dialing stage = iota
	upgrading
	opening    // waits for Engine.IO's open packet
	connecting // waits for the answer to CONNECT
	open
	closing // has said goodbye and waits for the server's
	closed
)

// Conn is a Socket.IO connection over a WebSocket.
type Conn struct {
	loop   *Loop
	target *Target
	h      Handler
	pipe   pipe

	stage   stage
	isDirty bool
	blocked bool   // waits to be writable
	in      []byte // the start of a frame whose end has not come
	parts   []byte // of a fragmented message
	out     []byte
}

// pipe is what carries the bytes.
type pipe interface {
	// write takes some of b; fewer than all means that writable will be called.
	write(b []byte) (int, error)
	// shut closes; hard is without a word, as far as TCP has a word for that.
	shut(hard bool)
}

// Refused is the server's answer that it does not want the connection.
type Refused struct {
	Status        int // of HTTP, 0 for a CONNECT that was refused
	Code, Message string
}

func (r *Refused) Error() string {
	return strings.TrimSpace(fmt.Sprintf("refused: %s %s %s", http.StatusText(r.Status), r.Code, r.Message))
}

var (
	errClosed   = errors.New("closed by the server")
	errProtocol = errors.New("not a WebSocket frame")
	errTimeout  = errors.New("connect: timeout")
)

// Dial opens a connection. It is closed when it is not connected in time.
func (l *Loop) Dial(t *Target, timeout time.Duration, h Handler) *Conn {
	c := &Conn{loop: l, target: t, h: h}
	l.dials++
	l.open(c)
	l.After(timeout, func() {
		if c.stage < open {
			c.fail(errTimeout)
		}
	})
	return c
}

// opened: the bytes flow.
func (c *Conn) opened() {
	c.stage = upgrading
	c.append(c.target.request)
}

func (c *Conn) append(b []byte) {
	if c.out == nil {
		c.out = c.loop.buffer()
	}
	c.out = append(c.out, b...)
	c.soil()
}

func (c *Conn) soil() {
	if !c.isDirty && !c.blocked {
		c.isDirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// Send sends a packet, once the loop has done what it is doing.
func (c *Conn) Send(packet []byte) { c.send(opText, packet) }

const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// send frames with a mask of zeros, which changes nothing and costs nothing: the
// mask protects proxies from pages, and there are neither.
func (c *Conn) send(opcode byte, b []byte) {
	if c.stage == dialing || c.stage >= closing {
		return
	}
	if c.out == nil {
		c.out = c.loop.buffer()
	}
	o := c.out
	o = append(o, 0x80|opcode)
	switch n := len(b); {
	case n < 126:
		o = append(o, 0x80|byte(n))
	case n < 1<<16:
		o = binary.BigEndian.AppendUint16(append(o, 0x80|126), uint16(n))
	default:
		o = binary.BigEndian.AppendUint64(append(o, 0x80|127), uint64(n))
	}
	c.out = append(append(o, 0, 0, 0, 0), b...)
	c.loop.MessagesOut++
	c.soil()
}

func (c *Conn) flush() {
	if c.stage == closed || len(c.out) == 0 {
		return
	}
	n, err := c.pipe.write(c.out)
	c.loop.BytesOut += int64(n)
	switch {
	case err != nil:
		c.fail(err)
		return
	case n < len(c.out):
		c.blocked = true
		c.out = c.out[:copy(c.out, c.out[n:])]
		return
	}
	c.loop.recycle(c.out)
	c.out = nil
}

// writable: what waits may go on.
func (c *Conn) writable() {
	c.blocked = false
	c.flush()
}

// Close says goodbye and ends the connection, as a client that disconnects does: it
// waits for the server to close, or what was said last might be lost in the reset.
func (c *Conn) Close() {
	if c.stage < connecting {
		c.end(true)
		return
	}
	c.send(opText, []byte("41"))
	c.send(opClose, []byte{0x03, 0xE8})
	c.h = nil
	if c.stage < closing {
		c.stage = closing
		c.loop.After(goodbye, c.Kill)
	}
}

// goodbye is how long a server may take to close.
const goodbye = 5 * time.Second

// Kill ends the connection without a word, as when the network is lost.
func (c *Conn) Kill() { c.end(true) }

func (c *Conn) end(hard bool) {
	c.h = nil
	if c.stage == closed {
		return
	}
	c.stage = closed
	if c.out != nil {
		c.loop.recycle(c.out)
	}
	c.in, c.parts, c.out = nil, nil, nil
	if c.pipe != nil {
		c.pipe.shut(hard)
	}
}

func (c *Conn) fail(err error) {
	h := c.h
	c.end(c.stage != closing)
	if h != nil {
		h.Closed(err)
	}
}

// receive takes what was read. b is the caller's again when it returns.
func (c *Conn) receive(b []byte) {
	c.loop.BytesIn += int64(len(b))
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	if c.stage == upgrading {
		rest, ok, err := c.upgraded(b)
		if err != nil {
			c.fail(err)
			return
		}
		if ok {
			c.stage = opening
		}
		b = rest
	}
	for c.stage > upgrading && c.stage < closed {
		frame, size := parseFrame(b)
		if size < 0 {
			c.fail(errProtocol)
			return
		}
		if size == 0 || size > len(b) {
			c.keep(b, size)
			return
		}
		b = b[size:]
		if err := c.frame(frame); err != nil {
			c.fail(err)
			return
		}
	}
	if c.stage == upgrading {
		c.keep(b, 0)
	}
}

// keep holds the start of a frame; size is the whole frame's, if known. c.in may
// be what b is a part of.
func (c *Conn) keep(b []byte, size int) {
	switch {
	case len(b) == 0:
		c.in = nil
	case cap(c.in) >= max(size, len(b)):
		c.in = c.in[:copy(c.in[:cap(c.in)], b)]
	default:
		c.in = append(make([]byte, 0, max(size, len(b))), b...)
	}
}

// upgraded reads the answer to the upgrade.
func (c *Conn) upgraded(b []byte) (rest []byte, ok bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 16<<10 {
			return nil, false, errProtocol
		}
		return b, false, nil
	}
	var proto string
	var status int
	if _, err := fmt.Sscanf(string(b[:min(end, 64)]), "%s %d", &proto, &status); err != nil {
		return nil, false, errProtocol
	}
	if status == http.StatusSwitchingProtocols {
		return b[end+4:], true, nil
	}
	refused := &Refused{Status: status}
	_ = json.Unmarshal(b[end+4:], refused) // whatever it says of why
	return nil, false, refused
}

type frame struct {
	opcode  byte
	final   bool
	payload []byte
}

// parseFrame reads a server's frame. size is 0 if its header is not whole, more
// than len(b) if its payload is not, negative if it is none.
func parseFrame(b []byte) (f frame, size int) {
	if len(b) < 2 {
		return f, 0
	}
	f.opcode, f.final = b[0]&0x0F, b[0]&0x80 != 0
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return f, -1
	}
	header, n := 2, int(b[1])
	switch {
	case n == 126 && len(b) < 4, n == 127 && len(b) < 10:
		return f, 0
	case n == 126:
		header, n = 4, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127:
		header, n = 10, int(binary.BigEndian.Uint64(b[2:]))
		if n < 0 || n > 1<<30 {
			return f, -1
		}
	}
	if len(b) >= header+n {
		f.payload = b[header : header+n]
	}
	return f, header + n
}

func (c *Conn) frame(f frame) error {
	switch f.opcode {
	case opText:
		if f.final {
			return c.packet(f.payload)
		}
		c.parts = append(c.parts[:0], f.payload...)
	case opContinuation:
		c.parts = append(c.parts, f.payload...)
		if f.final {
			whole := c.parts
			c.parts = nil
			return c.packet(whole)
		}
	case opPing:
		c.send(opPong, f.payload)
	case opClose:
		if len(f.payload) >= 2 {
			return fmt.Errorf("%w: %d %s", errClosed, binary.BigEndian.Uint16(f.payload), f.payload[2:])
		}
		return errClosed
	}
	return nil
}

// packet handles what Engine.IO and Socket.IO want handled.
func (c *Conn) packet(b []byte) error {
	c.loop.MessagesIn++
	if len(b) == 0 {
		return nil
	}
	switch {
	case b[0] == '2':
		c.Send([]byte("3"))
	case b[0] == '1', bytes.HasPrefix(b, []byte("41")):
		return errClosed
	case c.stage == opening && b[0] == '0':
		c.stage = connecting
		c.Send([]byte("40"))
	case c.stage == connecting && bytes.HasPrefix(b, []byte("40")):
		c.stage = open
		c.h.Connected()
	case c.stage == connecting && bytes.HasPrefix(b, []byte("44")):
		var answer struct {
			Message string
			Data    struct{ Code string }
		}
		_ = json.Unmarshal(b[2:], &answer) // whatever it says of why
		return &Refused{Code: answer.Data.Code, Message: answer.Message}
	case c.stage == open:
		c.h.Packet(b)
	}
	return nil
}

// readFailed: nothing more comes.
func (c *Conn) readFailed(err error) {
	if errors.Is(err, io.EOF) {
		err = errClosed
	}
	c.fail(err)
}
