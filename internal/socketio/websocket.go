package socketio

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// wsConn is one WebSocket. gorilla reads; we write, whole frames only, so that
// one system call carries everything that waits.
type wsConn struct {
	conn *websocket.Conn
	net  net.Conn
}

const (
	writeChunk = 16 << 10
	keepQueue  = 32 // frames of queue that an idle session keeps
)

var (
	readBuffers  = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
	writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, writeChunk); return &b }}
	unusedWrites sync.Pool // gorilla's own writes: never on the hot path
)

// upgrade turns the request into a WebSocket. On an error the answer is written.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) (*wsConn, error) {
	u := websocket.Upgrader{
		HandshakeTimeout: s.opts.WriteTimeout,
		ReadBufferSize:   1024,
		WriteBufferPool:  &unusedWrites,
		CheckOrigin:      func(*http.Request) bool { return true }, // checked before
	}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(int64(s.opts.MaxMessage))
	return &wsConn{conn: c, net: c.NetConn()}, nil
}

// kill closes the connection at once. It does not wait for TLS to say goodbye
// to a peer that may not be reading.
func (c *wsConn) kill() {
	if t, ok := c.net.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.net.Close()
}

// read returns the next message, in a buffer that the caller gives back.
func (c *wsConn) read() (buf *[]byte, isBinary bool, err error) {
	kind, r, err := c.conn.NextReader()
	if err != nil {
		return nil, false, err
	}
	buf = readBuffers.Get().(*[]byte)
	b := (*buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	*buf = b
	return buf, kind == websocket.BinaryMessage, nil
}

func release(buf *[]byte) {
	if cap(*buf) <= 64<<10 { // a rare large message must not stay
		readBuffers.Put(buf)
	}
}

// write sends the frames in as few system calls as fit.
func (c *wsConn) write(frames []Frame, timeout time.Duration) (n int64, err error) {
	if err := c.net.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	if len(frames) == 1 {
		m, err := c.net.Write(frames[0].ws)
		return int64(m), err
	}
	buf := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(buf)
	b := (*buf)[:0]
	flush := func() error {
		m, err := c.net.Write(b)
		n, b = n+int64(m), b[:0]
		return err
	}
	for _, f := range frames {
		if len(b)+len(f.ws) > writeChunk && len(b) > 0 {
			if err := flush(); err != nil {
				return n, err
			}
		}
		if len(f.ws) > writeChunk {
			m, err := c.net.Write(f.ws)
			if n += int64(m); err != nil {
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
	var done []Frame
	for {
		s.mu.Lock()
		ws := s.ws // which stays, once it is there
		if s.state == closed {
			s.mu.Unlock()
			return
		}
		if len(s.out.frames) == 0 {
			s.writing = false
			if cap(s.out.frames) == 0 && cap(done) <= keepQueue {
				s.out.frames = done
			}
			ending := s.state == closing
			s.mu.Unlock()
			if ending {
				_, _ = ws.write([]Frame{closeFrame}, s.srv.opts.WriteTimeout) // a courtesy
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
		clear(frames)
		done = frames[:0]
	}
}

var closeFrame = controlFrame(opClose, []byte{0x03, 0xE8}) // 1000, normal closure

// writeFailure tells a client that does not read from one that is gone.
func writeFailure(err error) Reason {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return ReasonSlowConsumer
	}
	return ReasonTransportError
}

// readWebSocket reads until the connection ends. It starts after the session
// is known to everyone, so that nothing a client says at once can be lost.
func (s *session) readWebSocket(ws *wsConn) {
	defer s.srv.running.Done()
	ws.conn.SetPingHandler(func(data string) error {
		if s.carriedBy(ws) { // what waits while it is a candidate may go out by a poll
			s.send(controlFrame(opPong, []byte(data)))
		}
		return nil
	})
	ws.conn.SetCloseHandler(func(int, string) error { return nil })
	for {
		buf, isBinary, err := ws.read()
		if err != nil {
			s.webSocketGone(ws, err)
			return
		}
		s.srv.stats.BytesIn.Add(int64(len(*buf)))
		s.handling.Lock()
		if s.carriedBy(ws) {
			s.receive(*buf, isBinary)
		} else if !s.probe(ws, string(*buf)) {
			s.abandon(ws)
		}
		s.handling.Unlock()
		release(buf)
	}
}

func (s *session) carriedBy(ws *wsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ws == ws
}

// webSocketGone ends the session, or the attempt to upgrade it.
func (s *session) webSocketGone(ws *wsConn, err error) {
	if !s.carriedBy(ws) {
		s.abandon(ws)
		return
	}
	reason := ReasonTransportError
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure) || errors.Is(err, io.EOF) {
		reason = ReasonTransportClose
	}
	s.close(reason)
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
	}
	s.mu.Unlock()
	ws.kill()
}
