package socketio

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// wsConn is one WebSocket, of which gorilla has made the handshake. Frames are ours
// both ways: whole ones are written, as many as wait in one system call, and what
// comes is read by whom the watcher sends.
type wsConn struct {
	net     net.Conn
	session *session
	in      frameReader // of who reads

	// for the watcher; raw is nil where a goroutine reads
	raw    syscall.RawConn
	secure *tls.Conn // set by the watcher; nil without TLS
	number uint64
	turn   turn
	ending atomic.Bool // the kernel has told of the connection's end
}

const (
	writeChunk = 16 << 10
	keepQueue  = 32 // frames of queue that an idle session keeps
)

var (
	writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, writeChunk); return &b }}
	unusedWrites sync.Pool // gorilla's own writes: never after the handshake
)

// upgrade turns the request into a WebSocket. On an error the answer is written.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, to *session) (*wsConn, error) {
	u := websocket.Upgrader{
		HandshakeTimeout: s.opts.WriteTimeout,
		ReadBufferSize:   256, // not read by
		WriteBufferPool:  &unusedWrites,
		CheckOrigin:      func(*http.Request) bool { return true }, // checked before
	}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	ws := &wsConn{net: c.NetConn(), session: to, in: frameReader{limit: s.opts.MaxMessage}}
	if raw := watchable(ws.net); raw != nil && s.watching() != nil {
		ws.raw = raw
	}
	return ws, nil
}

// kill closes the connection at once. It does not wait for TLS to say goodbye
// to a peer that may not be reading.
func (c *wsConn) kill() {
	under := c.net
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn()
	}
	_ = under.Close()
	if c.raw != nil {
		c.session.srv.watching().forget(c)
	}
}

// reset has the kernel throw away what the peer has not taken: it would keep it for minutes.
func (c *wsConn) reset() {
	under := c.net
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if tcp, ok := under.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // else it takes longer
	}
}

// inTime is how many bytes a client has to take within WriteTimeout: one that reads a large roster
// slowly is not one that does not read.
const inTime = 128 << 10

// writeInTime writes b, whose pieces have a deadline each. More than a piece keeps the
// kernel from taking it all, so that what is written is what the client reads.
func (c *wsConn) writeInTime(b []byte, timeout time.Duration) (n int64, err error) {
	long := len(b) > inTime
	if long {
		c.buffer(inTime)
	}
	for len(b) > 0 {
		piece := b[:min(len(b), inTime)]
		if err := c.net.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return n, err
		}
		m, err := c.net.Write(piece)
		if n += int64(m); err != nil {
			return n, err
		}
		if b = b[len(piece):]; long {
			c.session.reads()
		}
	}
	return n, nil
}

// buffer sets how much the kernel takes of what is written, where that can be set.
func (c *wsConn) buffer(bytes int) {
	under := c.net
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if tcp, ok := under.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = tcp.SetWriteBuffer(bytes) // else the client has less time
	}
}

// write sends the frames in as few system calls as fit.
func (c *wsConn) write(frames []Frame, timeout time.Duration) (n int64, err error) {
	if len(frames) == 1 {
		return c.writeInTime(frames[0].ws, timeout)
	}
	buf := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(buf)
	b := (*buf)[:0]
	flush := func() error {
		m, err := c.writeInTime(b, timeout)
		n, b = n+m, b[:0]
		return err
	}
	for _, f := range frames {
		if len(b)+len(f.ws) > writeChunk && len(b) > 0 {
			if err := flush(); err != nil {
				return n, err
			}
		}
		if len(f.ws) > writeChunk {
			m, err := c.writeInTime(f.ws, timeout)
			if n += m; err != nil {
				return n, err
			}
			continue
		}
		b = append(b, f.ws...)
	}
	if len(b) > 0 {
		return n, flush()
	}
	return n, nil
}

// flush writes until nothing waits. There is one at a time for a session: who
// sets writing starts it.
func (s *session) flush() {
	defer s.srv.running.Done()
	var done, written []Frame
	for {
		s.mu.Lock()
		ws := s.ws // which stays, once it is there
		if s.state == closed {
			s.mu.Unlock()
			return
		}
		s.out.landed()
		clear(written)
		done = written[:0]
		if len(s.out.frames) == 0 {
			s.writing = false
			if cap(s.out.frames) == 0 && cap(done) <= keepQueue {
				s.out.frames = done
			}
			ending, code := s.state == closing, s.closeCode
			s.mu.Unlock()
			if ending {
				_, _ = ws.write([]Frame{closeFrame(code)}, s.srv.opts.WriteTimeout) // a courtesy
				s.close(s.reason)
			}
			return
		}
		frames := s.out.take(done)
		s.mu.Unlock()

		n, err := ws.write(frames, s.srv.opts.WriteTimeout)
		s.srv.stats.BytesOut.Add(n)
		s.srv.stats.FramesOut.Add(int64(len(frames)))
		if err != nil {
			s.close(writeFailure(err))
			return
		}
		written = frames
	}
}

// writeFailure tells a client that does not read from one that is gone.
func writeFailure(err error) Reason {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ReasonSlowConsumer
	}
	return ReasonTransportError
}

// startReading reads from now on. It is called when the session is known to everyone,
// so that nothing a client says at once can be lost. Without a watcher its goroutine
// has been counted as running.
func (s *session) startReading(ws *wsConn) {
	if ws.raw == nil {
		go s.readBlocking(ws)
		return
	}
	if err := s.srv.watching().watch(ws); err != nil {
		s.webSocketGone(ws, err)
	}
}

// readBlocking reads where no watcher does.
func (s *session) readBlocking(ws *wsConn) {
	defer s.srv.running.Done()
	buf := make([]byte, 2<<10)
	for {
		n, err := ws.net.Read(buf)
		if n > 0 {
			if err := s.heard(ws, buf[:n]); err != nil {
				s.webSocketGone(ws, err)
				return
			}
		}
		if err != nil {
			s.webSocketGone(ws, err)
			return
		}
	}
}

// heard handles what was read, in order. b is the caller's again afterwards.
func (s *session) heard(ws *wsConn, b []byte) error {
	cost := costOf(len(b)) // of the read itself
	b = ws.in.add(b)
	for {
		ws.in.cost = 0
		m, rest, err := ws.in.next(b)
		if err != nil {
			return err
		}
		s.handling.Lock()
		paid := s.spend(cost + ws.in.cost)
		s.handling.Unlock()
		if cost = 0; !paid {
			return errTooMany
		}
		switch b = rest; m.opcode {
		case 0:
			ws.in.keep(rest)
			s.keeps(ws)
			return nil
		case opPing:
			if s.carriedBy(ws) { // what waits while it is a candidate may go out by a poll
				s.send(controlFrame(opPong, m.data))
			}
		case opPong: // to no ping of ours
		case opClose:
			return goodbye(m.data)
		default:
			s.srv.stats.BytesIn.Add(int64(len(m.data)))
			s.handling.Lock()
			if s.carriedBy(ws) {
				s.receive(m.data, m.opcode == opBinary)
			} else if !s.probe(ws, string(m.data)) {
				s.abandon(ws)
			}
			s.handling.Unlock()
		}
	}
}

// keeps counts what is held of messages whose end has not come.
func (s *session) keeps(ws *wsConn) {
	n := int64(ws.in.size())
	if n == s.begun.Load() { // nothing, as a rule
		return
	}
	s.handling.Lock()
	defer s.handling.Unlock()
	if s.isOpen() { // else dispose has counted it out, or will
		s.srv.budget.add(n - s.begun.Swap(n))
		s.srv.within()
	}
}

// saidClose is a client's own end.
type saidClose struct{ code uint16 }

func (saidClose) Error() string { return "closed by the client" }

func goodbye(payload []byte) error {
	code, err := closeCode(payload)
	if err != nil {
		return err
	}
	return saidClose{code}
}

func (s *session) carriedBy(ws *wsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ws == ws
}

// webSocketGone ends the session, or the attempt to upgrade it.
func (s *session) webSocketGone(ws *wsConn, err error) {
	var ended saidClose
	var wrong closeError
	switch {
	case !s.carriedBy(ws):
		s.abandon(ws)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.close(ReasonTransportClose)
	case errors.As(err, &ended):
		reason := ReasonTransportError
		if ended.code == closeNormal || ended.code == closeGoingAway || ended.code == closeNoStatus {
			reason = ReasonTransportClose
		}
		s.closeWith(ended.code, reason)
	case errors.Is(err, errTooMany):
		s.srv.stats.Flooded.Add(1)
		s.closeWith(errTooMany.code, ReasonRateLimited)
	case errors.As(err, &wrong):
		s.srv.stats.Malformed.Add(1)
		s.srv.opts.Log.Debug().Err(err).Str("sid", s.id).Msg("frame refused")
		s.closeWith(wrong.code, ReasonTransportError)
	default:
		s.close(ReasonTransportError)
	}
}

// courtesy is how long a close frame may take.
const courtesy = time.Second

// closeWith ends the session with a close frame. What waits is dropped.
func (s *session) closeWith(code uint16, reason Reason) {
	if code == closeNoStatus {
		code = closeNormal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		s.closeLocked(reason)
		return
	}
	s.out.drop()
	s.finishLocked(code, reason, min(courtesy, s.srv.opts.WriteTimeout))
}

// probe carries the upgrade (Engine.IO protocol v4, "Upgrade"): "2probe" is
// answered, the poll ended, and "5" makes ws the session's transport.
func (s *session) probe(ws *wsConn, packet string) bool {
	s.mu.Lock()
	mine := s.candidate == ws && s.state == open
	s.mu.Unlock()
	if !mine {
		return false
	}
	switch packet {
	case "2probe":
		_, err := ws.write([]Frame{probeFrame}, s.srv.opts.WriteTimeout) // nobody else writes to a candidate
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.poll != nil && !s.poll.late {
			s.poll.answer(http.StatusOK, []byte("6"))
			s.poll = nil
		}
		return err == nil
	case "5":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state != open {
			return false
		}
		s.ws, s.candidate, s.upgrading = ws, nil, false
		if s.poll != nil {
			s.poll.answer(http.StatusBadRequest, nil)
			s.poll = nil
		}
		s.wakeLocked()
		return true
	default:
		return false
	}
}

var probeFrame = textFrame("3probe")

// abandon ends an attempt to upgrade; polling goes on.
func (s *session) abandon(ws *wsConn) {
	s.mu.Lock()
	if s.candidate == ws {
		s.candidate, s.upgrading = nil, false
		s.srv.budget.add(-s.begun.Swap(0))
	}
	s.mu.Unlock()
	ws.kill()
}
