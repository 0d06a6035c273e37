package socketio

import (
	"encoding/json"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
)

// Socket is a client connected to a namespace. Its methods never block and may
// be called from anywhere.
type Socket struct {
	session   *session
	lib       *socket.Socket
	namespace string
	auth      json.RawMessage

	// Value is the application's, set in OnConnect and read in the handlers.
	Value any
}

// ID is the public id of this connection, new at every connect.
func (s *Socket) ID() string { return string(s.lib.Id()) }

// IP is the client's address as Options.ClientIP found it.
func (s *Socket) IP() netip.Addr { return s.session.ip }

// UserAgent is the handshake's User-Agent header, cut to 512 bytes.
func (s *Socket) UserAgent() string { return s.session.agent }

// Auth is the JSON object that the client connected with, "{}" without one.
func (s *Socket) Auth() json.RawMessage { return s.auth }

// Transport is "websocket" or "polling", as of now.
func (s *Socket) Transport() string {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if s.session.ws != nil {
		return "websocket"
	}
	return "polling"
}

// Send queues a frame made by Encode and reports whether it was taken: not after
// the end of the session, nor for a client whose queue is full, which is closed.
func (s *Socket) Send(f Frame) bool { return s.session.send(f) }

// Track marks what has been sent so far: OnConfirmed is called with at least this
// mark once the client has confirmed it, unless the session ends before.
func (s *Socket) Track() uint64 {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.tracked = s.session.sent
	return s.session.sent
}

// Confirm pings now instead of when the next ping is due, for a confirmation of what
// has been sent. While a ping is out it does nothing, so a client gets at most one in
// a round trip.
func (s *Socket) Confirm() {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if s.session.state != open || s.session.awaiting {
		return
	}
	now := time.Now()
	s.session.pingLocked(now, now)
	if s.session.state == open { // the outbox had room for the ping
		s.session.armLocked(now)
	}
}

// Emit queues an event. The error is one of encoding.
func (s *Socket) Emit(event string, args ...any) error {
	f, err := encodeEvent(s.namespace, event, args)
	if err != nil {
		return err
	}
	s.session.send(f)
	return nil
}

// Close ends the session once what was sent before has been delivered, or at
// the latest after Options.WriteTimeout.
func (s *Socket) Close(reason Reason) { s.session.finish(reason) }

// Disconnect is Close for a client that is to stay away: the Socket.IO clients
// come back by themselves after a Close, and do not after this.
func (s *Socket) Disconnect() {
	w := newFrameWriter(2)
	w.WriteString("41")
	writeNamespace(w, s.namespace)
	s.session.send(w.frame(opText))
	s.session.finish(ReasonServerDisconnect)
}

// Event is one event of a client. Args and Attachments are valid until OnEvent
// returns: copy what stays.
type Event struct {
	Name        string
	Args        []json.RawMessage
	Attachments [][]byte
	Binary      bool // it came with attachments, kept or not

	socket *Socket
	ackID  uint64
	hasAck bool
	acked  atomic.Bool
}

// WantsAck reports whether the client waits for an answer.
func (e *Event) WantsAck() bool { return e.hasAck }

// Ack answers the event, once; more calls, and calls for an event without an
// ack, do nothing. It may come after OnEvent has returned.
func (e *Event) Ack(args ...any) {
	if !e.hasAck || e.acked.Swap(true) {
		return
	}
	f, err := encodeAck(e.socket.namespace, e.ackID, args)
	if err != nil {
		e.socket.session.srv.opts.Log.Error().Err(err).Str("event", e.Name).Msg("ack not encoded")
		return
	}
	e.socket.session.send(f)
}

// AckFrame is the answer that Ack would send, for whoever must send it in an
// order of its own; Ack does nothing any more.
func (e *Event) AckFrame(args ...any) (Frame, error) {
	e.acked.Store(true)
	return encodeAck(e.socket.namespace, e.ackID, args)
}
