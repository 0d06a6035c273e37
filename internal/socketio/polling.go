package socketio

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"time"
)

// separator stands between the packets of a payload (Engine.IO protocol v4,
// "HTTP long-polling").
const separator = '\x1e'

// noopAfter is how long a poll stays parked during an upgrade: then it is ended,
// so that the client can pause polling.
const noopAfter = 100 * time.Millisecond

// poll is a parked GET; its one answer comes from who takes it out of the session.
type poll struct {
	answers chan pollAnswer
	late    bool // came during an upgrade, which had better be complete by its answer
}

type pollAnswer struct {
	status  int
	body    []byte
	carries bool // frames, which are lost if the answer is
}

func (p *poll) answer(status int, body []byte) { p.answers <- pollAnswer{status: status, body: body} }

// servePoll answers a GET with what waits, as soon as something does.
func (s *session) servePoll(w http.ResponseWriter, r *http.Request) {
	p := &poll{answers: make(chan pollAnswer, 1)}
	s.mu.Lock()
	switch {
	case s.state == closed || s.ws != nil:
		s.mu.Unlock()
		refuseProtocol(w, errBadRequest)
		return
	case s.silentLocked(time.Now()):
		s.closeLocked(ReasonPingTimeout)
		s.mu.Unlock()
		refuseProtocol(w, errUnknownSession)
		return
	case s.poll != nil || s.answering: // two polls at once: no client does that
		s.closeLocked(ReasonTransportError)
		s.mu.Unlock()
		refuseProtocol(w, errBadRequest)
		return
	}
	s.poll = p
	if len(s.out.frames) > 0 || s.state == closing {
		s.answerPollLocked()
	}
	var noop <-chan time.Time
	if p.late = s.upgrading; p.late {
		timer := time.NewTimer(noopAfter)
		defer timer.Stop()
		noop = timer.C
	}
	s.mu.Unlock()

	var a pollAnswer
	select {
	case a = <-p.answers:
	case <-noop:
		s.unpark(p, func() { p.answer(http.StatusOK, []byte("6")) })
		a = <-p.answers
	case <-r.Context().Done():
		s.unpark(p, func() { p.answer(0, nil); s.closeLocked(ReasonTransportClose) })
		if a = <-p.answers; a.carries {
			s.close(ReasonTransportClose)
		}
		return
	}
	if a.carries {
		defer s.answered()
	}
	if a.status != http.StatusOK {
		refuseProtocol(w, errBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	n, err := s.writePoll(w, a.body)
	s.srv.stats.BytesOut.Add(n)
	if err != nil && a.carries { // a later ping must not confirm what has not arrived
		s.close(ReasonTransportClose)
	}
}

// answered says that nothing of a poll's answer is in memory any more. Its client cannot know the answer's
// end before.
func (s *session) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answering = false
	s.out.landed()
}

// writePoll writes the answer of a poll, as writeInTime does frames.
func (s *session) writePoll(w http.ResponseWriter, b []byte) (n int64, err error) {
	control, long := http.NewResponseController(w), len(b) > inTime
	for len(b) > 0 {
		piece := b[:min(len(b), inTime)]
		// Not every writer can; net/http takes it back after the request.
		_ = control.SetWriteDeadline(time.Now().Add(s.srv.opts.WriteTimeout))
		m, err := w.Write(piece)
		if n += int64(m); err != nil {
			return n, err
		}
		if b = b[len(piece):]; long {
			s.reads()
		}
	}
	return n, nil
}

// unpark does f if p is still the parked poll, and parks it no more.
func (s *session) unpark(p *poll, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll == p {
		s.poll = nil
		f()
	}
}

// answerPollLocked gives the parked poll what waits, or else a closing session's
// end. The end has a poll of its own: socket.io-client acts on a close before the
// events that come in the same answer, and holds those back until it has reconnected.
func (s *session) answerPollLocked() {
	p := s.poll
	s.poll = nil
	frames := s.out.take(nil)
	s.srv.stats.FramesOut.Add(int64(len(frames)))
	var body bytes.Buffer
	for _, f := range frames {
		if body.Len() > 0 {
			body.WriteByte(separator)
		}
		if f.binary {
			body.WriteByte('b')
			body.WriteString(base64.StdEncoding.EncodeToString(f.ws[f.header:]))
			continue
		}
		body.Write(f.ws[f.header:])
	}
	if len(frames) == 0 {
		p.answer(http.StatusOK, []byte{lastPacket(s.reason)})
		s.closeLocked(s.reason)
		return
	}
	s.out.copied(body.Cap())
	s.answering = true
	p.answers <- pollAnswer{status: http.StatusOK, body: body.Bytes(), carries: true}
}

// servePost handles the packets that a client posts.
func (s *session) servePost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.state != open || s.ws != nil {
		s.mu.Unlock()
		refuseProtocol(w, errBadRequest)
		return
	}
	if s.posting || r.Header.Get("Content-Type") == "application/octet-stream" {
		s.closeLocked(ReasonTransportError)
		s.mu.Unlock()
		refuseProtocol(w, errBadRequest)
		return
	}
	s.posting = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.posting = false
		s.mu.Unlock()
	}()

	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.srv.opts.WriteTimeout)) // not every writer can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.srv.opts.MaxMessage)))
	s.srv.stats.BytesIn.Add(int64(len(body)))
	if err != nil { // the deadline stays for the rest of the body, which net/http reads
		s.close(ReasonTransportError)
		refuseProtocol(w, errTooLarge)
		return
	}
	_ = control.SetReadDeadline(time.Time{})

	s.handlePost(body)

	s.mu.Lock()
	failed, reason := s.state == closed && s.reason != ReasonTransportClose, s.reason
	s.mu.Unlock()
	switch {
	case failed && reason == ReasonRateLimited:
		w.Header().Set("Retry-After", "5")
		refuseProtocol(w, errFlood)
		return
	case failed:
		refuseProtocol(w, errBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "ok")
}

// handlePost handles the packets of a body.
func (s *session) handlePost(body []byte) {
	s.handling.Lock()
	defer s.handling.Unlock()
	paid := s.spend(onePacket) // for the request
	for len(body) > 0 && paid && s.isOpen() {
		if paid = s.spend(onePacket); paid {
			var data []byte
			data, body, _ = bytes.Cut(body, []byte{separator})
			s.receive(data, false)
		}
	}
	if !paid {
		s.srv.stats.Flooded.Add(1)
		s.close(ReasonRateLimited)
	}
}

func (s *session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == open
}
