package socketio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

var pingFrame = textFrame("2")

// placeholder stands in a packet's JSON for each attachment (Socket.IO protocol v5).
var placeholder = []byte(`"_placeholder"`)

// session is one Engine.IO session: a client, over polling or a WebSocket, and
// over polling first and a WebSocket later (Engine.IO protocol v4).
type session struct {
	// set at construction, read-only
	srv     *Server
	id      string
	ip      netip.Addr
	network netip.Prefix
	site    netip.Prefix
	agent   string
	refusal *Refusal // answered to CONNECT, nil for a welcome client
	lib     *conn    // the library's view of this session
	flusher func()   // flush; made once, because "go s.flush()" allocates each time

	begun atomic.Int64 // bytes of messages whose end has not come; written under handling

	// handling is held while packets of this session are handled: by the reader,
	// a polling request, or the end of the session. It comes before mu.
	handling sync.Mutex
	partial  *packet // under handling: a binary event whose attachments are missing
	packets  pace    // under handling: what the client has had read

	mu         sync.Mutex
	state      state
	writing    bool   // a flush goroutine is at work on ws
	upgrading  bool   // a WebSocket is trying to take over: one at a time
	posting    bool   // a POST is being handled
	answering  bool   // a poll is being answered
	extended   int    // how often the pong's deadline was put off
	awaiting   bool   // a ping is out
	closeCode  uint16 // what the WebSocket of a closing session is closed with
	reason     Reason
	namespaces []*Socket           // those connected, mostly one
	connecting chan *socket.Socket // what the library makes of a CONNECT; nil when it is at none
	out        outbox
	sent       uint64  // counts the frames taken into out
	pinged     uint64  // those sent before the last ping
	confirmed  uint64  // those sent before a ping that was answered
	tracked    uint64  // those that OnConfirmed is to tell of
	ws         *wsConn // nil while polling
	candidate  *wsConn // a WebSocket that is trying to take over, once its handshake is done
	poll       *poll   // a parked GET
	timer      *time.Timer
	connectBy  time.Time // when a session without a namespace ends
	pingAt     time.Time // of the next ping; while awaiting, when its pong is overdue
	closeBy    time.Time // when a closing session ends, delivered or not
}

type state uint8

const (
	open    state = iota
	closing       // nothing more is accepted; what waits is still delivered
	closed
)

// openPacket is the payload of the first packet, in the order in which the
// protocol's document shows it.
type openPacket struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// start opens the session: the open packet, then the heartbeat.
func (s *session) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open { // the server is stopping
		s.closeLocked(s.reason)
		return
	}
	upgrades := []string{}
	if s.ws == nil {
		upgrades = append(upgrades, "websocket")
	}
	hello, _ := json.Marshal(openPacket{ // strings and numbers: cannot fail
		SID: s.id, Upgrades: upgrades,
		PingInterval: s.srv.opts.PingInterval.Milliseconds(), PingTimeout: s.srv.opts.PingTimeout.Milliseconds(),
		MaxPayload: s.srv.opts.MaxMessage,
	})
	s.sendLocked(textFrame("0" + string(hello)))
	now := time.Now()
	s.connectBy, s.pingAt = now.Add(s.srv.opts.ConnectTimeout), now.Add(s.srv.opts.PingInterval)
	s.timer = time.AfterFunc(min(s.srv.opts.PingInterval, s.srv.opts.ConnectTimeout), s.tick)
}

// tick is the session's one timer: connect timeout, ping and pong deadline.
func (s *session) tick() {
	unread := s.unread()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.state == closed:
		return
	case s.state == closing:
		if left := s.closeBy.Sub(now); left > 0 { // this tick was meant for something before
			s.timer.Reset(left)
			return
		}
		s.closeLocked(s.reason) // the client did not fetch what was sent to it
		return
	case s.overdueLocked(now) && unread && s.extended < maxExtensions:
		s.extended++
		s.pingAt = now.Add(s.srv.opts.PingTimeout / maxExtensions)
	case s.overdueLocked(now):
		s.closeLocked(ReasonPingTimeout)
		return
	case len(s.namespaces) == 0 && !now.Before(s.connectBy):
		s.closeLocked(ReasonConnectTimeout)
		return
	case !s.awaiting && !now.Before(s.pingAt):
		s.pingLocked(s.pingAt, now)
	}
	s.armLocked(now)
}

// pingLocked sends a ping. Its pong confirms what was sent before it: frames reach a
// client in order, over polling and across an upgrade too.
//
// The pong's deadline counts from when the ping was due, as the client's own does. A timer that
// fired late, on a busy machine, leaves a client that is connected half of the time at least.
func (s *session) pingLocked(due, now time.Time) {
	s.awaiting, s.pinged, s.extended = true, s.sent, 0
	s.pingAt = due.Add(s.srv.opts.PingTimeout)
	least := now.Add(s.srv.opts.PingTimeout / 2)
	if connected := s.ws != nil || s.poll != nil; connected && s.pingAt.Before(least) {
		s.pingAt = least
	}
	s.sendLocked(pingFrame)
}

// overdueLocked reports whether a pong is missing.
func (s *session) overdueLocked(now time.Time) bool {
	return s.awaiting && !now.Before(s.pingAt)
}

// silentLocked reports whether a client that polls has been away for longer than a ping may go unanswered. The
// timer that has to send the ping may be late itself.
func (s *session) silentLocked(now time.Time) bool {
	return s.overdueLocked(now) && !s.posting || !s.awaiting && !now.Before(s.pingAt.Add(s.srv.opts.PingTimeout))
}

// maxExtensions is how often the deadline of a pong is put off, by this part of PingTimeout each time, while
// something of the client is not handled yet: its pong may be behind that.
const maxExtensions = 4

// unread reports whether the pong is overdue, and the client has sent something that is not handled yet.
func (s *session) unread() bool {
	s.mu.Lock()
	overdue, posting, ws := s.overdueLocked(time.Now()), s.posting, s.ws
	s.mu.Unlock()
	if !overdue {
		return false
	}
	if posting || ws != nil && ws.unread() {
		return true
	}
	if s.handling.TryLock() {
		s.handling.Unlock()
		return false
	}
	return true
}

// reads says that the client has just taken a piece of something large. A ping behind it cannot
// be answered yet: its deadline counts from now.
func (s *session) reads() {
	s.mu.Lock()
	if s.awaiting {
		s.pingAt = time.Now().Add(s.srv.opts.PingTimeout)
	}
	s.mu.Unlock()
}

func (s *session) armLocked(now time.Time) {
	next := s.pingAt
	if len(s.namespaces) == 0 && s.connectBy.Before(next) {
		next = s.connectBy
	}
	s.timer.Reset(next.Sub(now))
}

// pong takes the answer to a ping, and tells the application of what it confirms. Its
// caller holds handling.
func (s *session) pong() {
	s.mu.Lock()
	if !s.awaiting || s.state != open {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	s.awaiting = false
	s.pingAt = now.Add(s.srv.opts.PingInterval)
	s.armLocked(now)
	var told []*Socket
	if s.tracked > s.confirmed { // else there is nobody to tell
		told = slices.Clone(s.namespaces)
	}
	confirmed := s.pinged
	s.confirmed = confirmed
	s.mu.Unlock()
	for _, socket := range told {
		s.confirm(socket, confirmed)
	}
}

func (s *session) confirm(socket *Socket, confirmed uint64) {
	defer s.recovered(socket, "confirm", func(any) {})
	s.srv.opts.OnConfirmed(socket, confirmed)
}

// send queues f. It never blocks; a client that is too slow is closed.
func (s *session) send(f Frame) bool {
	s.mu.Lock()
	ok := s.sendLocked(f)
	s.mu.Unlock()
	return ok
}

func (s *session) sendLocked(f Frame) bool {
	if s.state != open {
		return false
	}
	if !s.out.push(f) {
		s.srv.stats.SlowConsumers.Add(1)
		s.closeLocked(ReasonSlowConsumer)
		return false
	}
	s.sent++
	s.wakeLocked()
	s.srv.within()
	return true
}

// wakeLocked sets on its way what waits, if something can carry it.
func (s *session) wakeLocked() {
	switch {
	case s.ws != nil:
		if !s.writing && len(s.out.frames) > 0 {
			s.writing = true
			s.srv.running.Add(1)
			go s.flusher()
		}
	case s.poll != nil && len(s.out.frames) > 0:
		s.answerPollLocked()
	}
}

// receive handles one Engine.IO packet; data is valid until it returns. Its
// caller holds handling.
func (s *session) receive(data []byte, isBinary bool) {
	if isBinary {
		s.receiveBinary(data)
		return
	}
	if len(data) == 0 {
		s.close(ReasonParseError)
		return
	}
	switch data[0] {
	case '4':
		s.srv.onMessage(s, data[1:])
	case '3':
		s.pong()
	case '1':
		s.clientClosed()
	case '2': // the server pings in this protocol
		s.close(ReasonTransportError)
	case '0', '5', '6':
	case 'b': // a binary message on a text-only transport
		raw, err := base64.StdEncoding.DecodeString(string(data[1:]))
		if err != nil {
			s.close(ReasonParseError)
			return
		}
		s.receiveBinary(raw)
	default:
		s.close(ReasonParseError)
	}
}

// clientClosed ends the session at the client's word. Over polling the word may
// overtake the poll that it ends, so a missing poll is waited for a moment.
func (s *session) clientClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == open && s.ws == nil && s.poll == nil {
		s.state, s.reason = closing, ReasonTransportClose
		s.closeBy = time.Now().Add(noopAfter)
		s.timer.Reset(noopAfter)
		return
	}
	s.closeLocked(ReasonTransportClose)
}

// message handles the Socket.IO packet in an Engine.IO message.
func (s *session) message(data []byte) {
	p, err := parsePacket(data)
	if err != nil || s.partial != nil {
		s.refuse(err)
		return
	}
	if p.missing > 0 {
		if bytes.Count(data, placeholder) < p.missing {
			s.refuse(fmt.Errorf("%w: attachments that nothing stands for", errMalformed))
			return
		}
		p.args = cloneArgs(p.args)
		s.partial = &p
		return
	}
	s.dispatch(&p)
}

func (s *session) receiveBinary(data []byte) {
	if s.srv.onBinary != nil {
		s.srv.onBinary(s, data)
		return
	}
	p := s.partial
	if p == nil {
		s.refuse(errMalformed)
		return
	}
	if s.srv.opts.AllowBinary { // else the event is refused once it is whole, and its bytes are of no use
		p.attachments = append(p.attachments, append([]byte(nil), data...))
	}
	if p.missing--; p.missing == 0 {
		s.partial = nil
		s.dispatch(p)
	}
}

func (s *session) refuse(err error) {
	s.srv.stats.Malformed.Add(1)
	s.srv.opts.Log.Debug().Err(err).Str("sid", s.id).Msg("packet refused")
	s.close(ReasonParseError)
}

// dispatch hands p to where it belongs: events to their handler, here and now;
// what concerns a namespace's life to the library. A session that is closing
// accepts nothing, and must not be cut short for it.
func (s *session) dispatch(p *packet) {
	socket, isOpen := s.socket(p.namespace)
	if !isOpen {
		return
	}
	switch p.kind {
	case parser.CONNECT:
		if socket != nil {
			s.refuse(fmt.Errorf("%w: connected twice", errMalformed))
			return
		}
		s.connect(p)
	case parser.EVENT, parser.BINARY_EVENT:
		if socket == nil {
			s.refuse(fmt.Errorf("%w: event before connect", errMalformed))
			return
		}
		s.srv.stats.EventsIn.Add(1)
		s.event(socket, p)
	case parser.DISCONNECT:
		if socket != nil {
			socket.lib.Disconnect(false)
			s.detach(socket, ReasonClientDisconnect)
		}
	default: // we ask for no acks, so an ack answers nothing
	}
}

// socket finds the session's socket in a namespace, nil if there is none.
func (s *session) socket(namespace string) (_ *Socket, isOpen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range s.namespaces {
		if socket.namespace == namespace {
			return socket, s.state == open
		}
	}
	return nil, s.state == open
}

// connect has the library connect a namespace and waits for what it says, so
// that no event that follows can come before OnConnect has returned.
func (s *session) connect(p *packet) {
	answer := make(chan *socket.Socket, 1)
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	s.connecting = answer
	s.mu.Unlock()

	auth := json.RawMessage("{}")
	if len(p.payload) > 0 {
		auth = append(json.RawMessage(nil), p.payload...)
	}
	if s.refusal != nil && s.refusal.readmits && s.srv.opts.Readmit(s.ip, auth) {
		s.srv.readmit(s)
	}
	s.lib.receive(&parser.Packet{Type: parser.CONNECT, Nsp: p.namespace, Data: auth})
	lib := <-answer
	if lib == nil { // refused, or the session ended meanwhile
		return
	}

	socket := &Socket{session: s, lib: lib, namespace: p.namespace, auth: auth}
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	s.namespaces = append(s.namespaces, socket)
	s.mu.Unlock()
	defer s.recovered(socket, "connect", func(any) { s.close(ReasonServerDisconnect) })
	s.srv.opts.OnConnect(socket)
}

// connected is the library's answer to a CONNECT: its socket, or nil for a
// refusal. It reports whether anyone still waited for it.
func (s *session) connected(lib *socket.Socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connectedLocked(lib)
}

func (s *session) connectedLocked(lib *socket.Socket) bool {
	if s.connecting == nil {
		return false
	}
	s.connecting <- lib // room for one, and nobody else sends: see the next line
	s.connecting = nil
	return true
}

// event runs the handler of one event. A panic ends here.
func (s *session) event(socket *Socket, p *packet) {
	e := &Event{Name: p.event, Args: p.args, Attachments: p.attachments, Binary: p.kind == parser.BINARY_EVENT, socket: socket, ackID: p.ackID, hasAck: p.hasAck}
	defer s.recovered(socket, p.event, func(answer any) { e.Ack(answer) })
	s.srv.opts.OnEvent(socket, e)
}

func (s *session) recovered(socket *Socket, doing string, answer func(any)) {
	v := recover()
	if v == nil {
		return
	}
	s.srv.stats.Panics.Add(1)
	answer(s.srv.opts.OnPanic(socket, doing, v, debug.Stack()))
}

// detach ends one namespace of the session, once. Its caller holds handling.
func (s *session) detach(socket *Socket, reason Reason) {
	s.mu.Lock()
	at := slices.Index(s.namespaces, socket)
	if at >= 0 {
		s.namespaces = slices.Delete(s.namespaces, at, at+1)
		s.connectBy = time.Now().Add(s.srv.opts.ConnectTimeout)
	}
	s.mu.Unlock()
	if at < 0 {
		return
	}
	defer s.recovered(socket, "disconnect", func(any) {})
	s.srv.opts.OnDisconnect(socket, reason)
}

// close ends the session at once; what waits is dropped.
func (s *session) close(reason Reason) {
	s.mu.Lock()
	s.closeLocked(reason)
	s.mu.Unlock()
}

func (s *session) closeLocked(reason Reason) {
	if s.state == closed {
		return
	}
	if s.state == open {
		s.reason = reason
	}
	s.state = closed
	if s.timer != nil {
		s.timer.Stop()
	}
	s.connectedLocked(nil)
	if s.poll != nil {
		s.poll.answer(http.StatusOK, []byte{lastPacket(reason)})
		s.poll = nil
	}
	s.out.drop()
	if s.ws != nil && s.reason == ReasonSlowConsumer {
		s.ws.reset()
	}
	if s.ws != nil {
		s.ws.kill()
	}
	if s.candidate != nil {
		s.candidate.kill()
	}
	go s.dispose()
}

// lastPacket ends a poll for good: close, or a noop when the client closed.
func lastPacket(reason Reason) byte {
	if reason == ReasonTransportClose {
		return '6'
	}
	return '1'
}

// dispose tells everyone who knew the session that it has ended.
func (s *session) dispose() {
	defer s.srv.running.Done() // the session's own, see admit
	s.srv.forget(s)
	s.handling.Lock()
	defer s.handling.Unlock()
	s.srv.budget.add(-s.begun.Swap(0))
	s.lib.closed(string(s.reason))
	s.mu.Lock()
	sockets := slices.Clone(s.namespaces)
	s.mu.Unlock()
	for _, socket := range sockets {
		s.detach(socket, s.reason)
	}
}

// finish ends the session once what waits has been delivered, or at the latest
// after WriteTimeout.
func (s *session) finish(reason Reason) {
	s.mu.Lock()
	s.finishLocked(closeNormal, reason, s.srv.opts.WriteTimeout)
	s.mu.Unlock()
}

func (s *session) finishLocked(code uint16, reason Reason, within time.Duration) {
	if s.state != open {
		return
	}
	s.state, s.reason, s.closeCode = closing, reason, code
	s.closeBy = time.Now().Add(within)
	switch {
	case s.ws != nil && !s.writing:
		s.writing = true
		s.srv.running.Add(1)
		go s.flusher() // finds nothing more to write, and closes
	case s.ws == nil && s.poll != nil:
		s.answerPollLocked()
	}
	if s.timer != nil {
		s.timer.Reset(within)
	}
}

func cloneArgs(args []json.RawMessage) []json.RawMessage {
	out := make([]json.RawMessage, len(args))
	for i, a := range args {
		out[i] = append(json.RawMessage(nil), a...)
	}
	return out
}
