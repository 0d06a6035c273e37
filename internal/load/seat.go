package load

import (
	"bytes"
	"errors"
	"strconv"
	"syscall"
	"time"

	"signald/internal/load/lean"
)

// seat is what every kind of client has.
type seat struct {
	shard   *shard
	number  int // in its room
	conn    *lean.Conn
	dialled int64
	asked   int64 // when it asked to join
	opening bool  // counted in shard.opening
	joined  bool
	parting bool // counted in shard.leaving
}

func (s *seat) home() *shard { return s.shard }

func (s *seat) dial(h lean.Handler) {
	s.opening = true
	s.dialled = s.shard.loop.Now()
	s.conn = s.shard.loop.Dial(s.shard.run.target, s.shard.run.opts.CallTimeout, h)
}

// connected is the first thing of a Handler's Connected.
func (s *seat) connected() {
	s.asked = s.shard.loop.Now()
	s.shard.took(connecting, s.asked-s.dialled)
}

// arrived: it is in, or will not be.
func (s *seat) arrived(in bool) {
	if s.opening {
		s.opening = false
		s.shard.opening.Add(-1)
	}
	if in && !s.joined {
		s.joined = true
		s.shard.arrived.Add(1)
		s.shard.inside++
		s.shard.most = max(s.shard.most, s.shard.inside)
	}
}

// parts is the first thing of an actor's leave.
func (s *seat) parts() { s.parting = true }

func (s *seat) departed() {
	s.parted()
	if s.joined {
		s.joined = false
		s.shard.inside--
	}
}

// parted: it is out.
func (s *seat) parted() {
	if s.parting {
		s.parting = false
		s.shard.leaving.Add(-1)
	}
}

// lost is the first thing of a Handler's Closed.
func (s *seat) lost(err error) {
	s.shard.failed(errorCode(err))
	s.arrived(false)
	s.departed()
	s.conn = nil
}

func (s *seat) close() {
	s.arrived(false)
	if s.conn != nil {
		s.conn.Kill()
		s.conn = nil
	}
}

// errorCode is few words, the same for all errors of a kind.
func errorCode(err error) string {
	var refused *lean.Refused
	var errno syscall.Errno
	switch {
	case errors.As(err, &refused) && refused.Code != "":
		return refused.Code
	case errors.As(err, &errno):
		return "connection: " + errno.Error()
	default:
		return "connection: " + err.Error()
	}
}

// call is an event that waits for its answer.
type call struct {
	id   uint32
	kind callKind
	at   int64
	to   *pair  // signal
	n    uint32 // signal: its number
}

type callKind uint8

const (
	callJoin callKind = iota
	callLeave
	callSignal
	callMedia
	callSync
	callSay
)

var callNames = [...]string{"join", "leave", "signal", "media_state", "sync", "say"}

// calls is kept in order; answers come nearly in order.
type calls struct {
	next    uint32
	waiting []call
}

func (c *calls) add(kind callKind, at int64) *call {
	c.waiting = append(c.waiting, call{id: c.next, kind: kind, at: at})
	c.next++
	return &c.waiting[len(c.waiting)-1]
}

func (c *calls) answered(id uint32) (call, bool) {
	for i, w := range c.waiting {
		if w.id == id {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return w, true
		}
	}
	return call{}, false
}

// late takes a call that has waited too long, if there is one.
func (c *calls) late(before int64) (call, bool) {
	if len(c.waiting) == 0 || c.waiting[0].at > before {
		return call{}, false
	}
	return c.answered(c.waiting[0].id)
}

// event begins a packet in the shard's buffer.
func (s *shard) event(c *call, name string) []byte {
	b := s.buf[:0]
	b = append(b, "42"...)
	if c != nil {
		b = strconv.AppendUint(b, uint64(c.id), 10)
	}
	b = append(b, `["`...)
	b = append(b, name...)
	return append(b, `",`...)
}

// send sends what event has begun.
func (s *shard) send(c *lean.Conn, b []byte) {
	s.buf = b
	c.Send(b)
}

// ackOf splits an answer into the call's id and its first argument.
func ackOf(b []byte) (id uint32, body []byte, ok bool) {
	n, rest, ok := number(b[2:])
	if !ok || len(rest) == 0 || rest[0] != '[' {
		return 0, nil, false
	}
	return uint32(n), rest[1:], true
}

// refusal is the code of an answer that says ok:false; "" if it does not.
func refusal(body []byte) string {
	code, ok := "", false
	for f := object(body); f.next(); {
		switch string(f.key) {
		case "ok":
			if bytes.Equal(f.value, []byte("true")) {
				return ""
			}
			ok = true
		case "code":
			code = string(text(f.value))
		}
	}
	if code == "" && ok {
		return "ok:false"
	}
	if code == "" {
		return "no ok in the answer"
	}
	return code
}

// later is loop.After for what has to be done before there is rest.
func (s *shard) later(d time.Duration, f func()) {
	s.planned++
	s.loop.After(d, func() {
		s.planned--
		f()
	})
}
