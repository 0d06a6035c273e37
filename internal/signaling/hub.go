// Package signaling is what a client may say, and what happens then: one row of a
// table, one payload type and one function for each event.
package signaling

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/calls"
	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/ice"
	"signald/internal/identity"
	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/socketio"
	"signald/internal/store"
	"signald/internal/tracing"
)

// Participants seats clients. Its calls are bounded in time.
type Participants interface {
	Join(context.Context, *protocol.Join, participants.Connection) (*participants.Joined, error)
	Leave(context.Context, *participants.Seat, bool) error
	// Knows reports whether a join shows a secret of its meeting that nobody guesses.
	Knows(context.Context, *protocol.Join) bool
	// MayResume checks that a seat is kept for the holder of a resume token, which stays good.
	MayResume(ctx context.Context, token string) error
	GiveUp(context.Context, *participants.Wait) error
	Disconnected(ctx context.Context, seat *participants.Seat, reason string)
	// Confirmed: the client has the answer to its join. It must not block.
	Confirmed(*participants.Seat)
	SetMedia(context.Context, *participants.Seat, *protocol.MediaState) error
	SetBlobs(ctx context.Context, seat *participants.Seat, sdp, candidate []byte) error
	Rename(ctx context.Context, seat *participants.Seat, name string) error
	Control(context.Context, *participants.Seat, *protocol.Control) error
	// Moderate calls committed once it is done, before anyone is told; again: it was done before.
	Moderate(ctx context.Context, seat *participants.Seat, m *protocol.Moderate, committed func(again bool)) error
	// Report is what a participant says of its pairs. It must not block.
	Report(*participants.Seat, pairs.Report)
}

// Meetings tells what joining clients see of a meeting.
type Meetings interface {
	Meeting(ctx context.Context, id string) (store.Meeting, store.State, int, error)
}

// Chat takes and keeps what people say. Its calls are bounded in time.
type Chat interface {
	Say(context.Context, *participants.Seat, *protocol.Chat) (protocol.ChatDone, error)
	Revoke(ctx context.Context, seat *participants.Seat, messageID string) error
	Missed(context.Context, *participants.Seat, *protocol.ChatSync) (protocol.ChatPage, error)
	Typing(seat *participants.Seat, to string) error
}

// Relayer takes signals to other nodes. done is called once, later or at once, with
// what became of it there.
type Relayer interface {
	Relay(node string, s cluster.Signal, done func(rooms.Outcome, error))
}

// Observer counts what clients do. Its methods must not block.
type Observer interface {
	// Event: an event of the table, or "unknown", was handled; an empty code is success.
	Event(name string, code fault.Code, took time.Duration)
	Joined(resumed bool)
	// Relayed: what became of a signal; the error is that another node could not be asked.
	Relayed(rooms.Outcome, error)
}

// Recorder writes down what hosts do to others; that it cannot is its own trouble.
type Recorder interface {
	Record(context.Context, store.NewAuditEvent)
}

type nobody struct{}

func (nobody) Event(string, fault.Code, time.Duration)     {}
func (nobody) Record(context.Context, store.NewAuditEvent) {}
func (nobody) Joined(bool)                                 {}
func (nobody) Relayed(rooms.Outcome, error)                {}

// Options of a Hub.
type Options struct {
	Server, Node, Epoch       string // for welcome
	PingInterval, PingTimeout time.Duration
	MaxMessage, MaxPeers      int
	Grace                     time.Duration
	ICE                       ice.Config
	PublicCandidates          bool            // candidates at private addresses are not passed on
	Guesses                   *limits.Guesses // at meetings' keys; nil: without a bound
	Spending                  Spending
	Lines                     *limits.Sample // of the log; nil: all are written
	Relayer                   Relayer
	Chat                      Chat
	Calls                     *calls.Service
	Tokens                    *identity.Keys // nil: no token is good
	TokensRequired            bool
	Observer                  Observer // nil: nobody counts
	Recorder                  Recorder // nil: nobody writes down
	Tracer                    *tracing.Tracer
	Log                       zerolog.Logger
}

// Hub answers the events of all clients.
type Hub struct {
	participants Participants
	meetings     Meetings
	opts         Options
	welcome      protocol.Welcome
}

const (
	handlerTimeout = 5 * time.Second
	// A join may wait for its turn to guess: shorter than pings are waited for by default, whose
	// answers are read by the same handler.
	guessPatience = 4750 * time.Millisecond
)

// New makes a Hub. Its Connect, Event, Disconnect and Panic are the handlers of a
// socketio.Server.
func New(p Participants, m Meetings, opts Options) *Hub {
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	if opts.Recorder == nil {
		opts.Recorder = nobody{}
	}
	return &Hub{
		participants: p, meetings: m, opts: opts,
		welcome: protocol.Welcome{
			Protocol: protocol.Version, Server: opts.Server, Node: opts.Node, Epoch: opts.Epoch,
			Features: []string{"protocol1", "resume", "sync", "media_state", "rename", "chat", "invite", "control", "moderate", "lobby", "mesh_report", "asked_again"},
			Limits: protocol.Limits{
				Message: opts.MaxMessage, SDP: protocol.MaxBlob, Candidate: protocol.MaxCandidate,
				Batch: protocol.MaxBatch, Chat: protocol.MaxText, Meta: protocol.MaxMeta, Peers: opts.MaxPeers,
			},
			Ping: protocol.Ping{Interval: opts.PingInterval.Milliseconds(), Timeout: opts.PingTimeout.Milliseconds()},
		},
	}
}

// client is one connection. Its fields belong to the handlers of its socket, of
// which one runs at a time.
type client struct {
	hub    *Hub
	socket *socketio.Socket
	purse  *limits.Purse
	event  *socketio.Event // being handled
	seats  []*participants.Seat
	waits  []*participants.Wait // places in lobbies
	resume string               // a resume token from the handshake, for the next join
	token  string               // a join token from the handshake
	phone  *phone               // nil: nobody vouches for who is connected

	outboxes outboxes // of its seats
	answered []answered
}

// answered is an answer to a join of which the client has not confirmed yet that it has it.
type answered struct {
	seat *participants.Seat
	mark uint64
}

// Connect greets a new connection.
func (h *Hub) Connect(s *socketio.Socket) {
	c := &client{hub: h, socket: s, purse: h.opts.Spending.Purses.Open(s.IP())}
	c.authenticate(s.Auth())
	s.Value = c
	h.line(context.Background(), s.IP()).Str("sid", s.ID()).Stringer("ip", s.IP()).Str("transport", s.Transport()).Msg("connected")
	w := h.welcome
	w.Time = time.Now().UnixMilli()
	who := c.caller()
	if who != nil {
		w.Sub = who.Sub
	}
	c.emit(protocol.EventWelcome, w)
	c.plugIn(who)
}

// Readmit lets a client in that is one too many, if it comes back to a seat that it has: others of its
// address must not cost it that.
func (h *Hub) Readmit(_ netip.Addr, auth json.RawMessage) bool {
	var in struct {
		ResumeToken string `json:"resume_token"`
	}
	if json.Unmarshal(auth, &in) != nil || in.ResumeToken == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), handlerTimeout)
	defer cancel()
	return h.participants.MayResume(ctx, in.ResumeToken) == nil
}

// authenticate takes what the handshake's auth holds. A token that is no text is a
// wrong one: whoever sends it must not join as if there were none.
func (c *client) authenticate(auth json.RawMessage) {
	var in struct {
		ResumeToken json.RawMessage `json:"resume_token"`
		Token       json.RawMessage `json:"token"`
	}
	_ = json.Unmarshal(auth, &in)                 // what is no object holds nothing for us
	_ = json.Unmarshal(in.ResumeToken, &c.resume) // a wrong one resumes nothing
	if json.Unmarshal(in.Token, &c.token) != nil {
		c.token = string(in.Token)
	}
}

// Disconnect gives up the seats of a connection that has ended.
func (h *Hub) Disconnect(s *socketio.Socket, reason socketio.Reason) {
	c, ok := s.Value.(*client)
	if !ok {
		return
	}
	c.purse.Close()
	h.line(context.Background(), s.IP()).Str("sid", s.ID()).Str("reason", string(reason)).Msg("disconnected")
	ctx, cancel := context.WithTimeout(context.Background(), handlerTimeout)
	defer cancel()
	if len(c.seats) > 0 {
		var span tracing.Span
		ctx, span = h.opts.Tracer.Start(ctx, tracing.Server, "disconnect")
		defer span.End()
	}
	for _, w := range c.waits {
		if reason == socketio.ReasonClientDisconnect {
			_ = h.participants.GiveUp(ctx, w)
		} else {
			w.End()
		}
	}
	c.unplug()
	for _, seat := range c.seats {
		switch reason {
		case socketio.ReasonClientDisconnect: // the client said so, it was not cut off
			_ = h.participants.Leave(ctx, seat, false) // kept and tried again
		case socketio.ReasonSlowConsumer:
			h.participants.Disconnected(ctx, seat, string(reason))
		default:
			h.participants.Disconnected(ctx, seat, "")
		}
	}
}

// Confirmed takes the client's word that it has everything up to a mark.
func (h *Hub) Confirmed(s *socketio.Socket, mark uint64) {
	c, ok := s.Value.(*client)
	if !ok {
		return
	}
	for _, seat := range c.seats {
		seat.Confirmed(mark)
	}
	c.answered = slices.DeleteFunc(c.answered, func(a answered) bool {
		if a.mark > mark {
			return false
		}
		h.participants.Confirmed(a.seat)
		return true
	})
}

// Event handles one event: its row decodes, checks and does it; here it is
// limited and answered.
func (h *Hub) Event(s *socketio.Socket, e *socketio.Event) {
	c := s.Value.(*client)
	c.event = e
	began := time.Now()
	answer, f := h.handle(c, e)
	took := time.Since(began)
	name := e.Name
	if _, ok := events[name]; !ok {
		name = "unknown" // a client may make up as many as it likes
	}
	if f != nil {
		h.opts.Observer.Event(name, f.Code, took)
		c.fail(e, f)
		return
	}
	h.opts.Observer.Event(name, "", took)
	if answer != nil {
		e.Ack(answer)
	}
}

func (h *Hub) handle(c *client, e *socketio.Event) (any, *fault.Error) {
	row, ok := events[e.Name]
	if f := c.pay(e.Args, row); f != nil {
		return nil, f
	}
	switch {
	case !ok:
		return nil, fault.New(fault.UnknownEvent)
	case e.Binary:
		return nil, fault.Invalid("", "Events hold no binary data here. Send text: files go from peer to peer.")
	}
	var payload json.RawMessage
	if len(e.Args) > 0 {
		payload = e.Args[0]
	}
	if row.optional && (len(payload) == 0 || payload[0] != '{') {
		payload = json.RawMessage("{}")
	}
	if row.untraced {
		return h.run(context.Background(), row, c, e, payload)
	}
	ctx, span := h.opts.Tracer.Start(context.Background(), tracing.Server, e.Name)
	defer span.End()
	answer, f := h.run(ctx, row, c, e, payload)
	if f != nil {
		span.Fail(string(f.Code))
	}
	return answer, f
}

func (h *Hub) run(ctx context.Context, row row, c *client, e *socketio.Event, payload json.RawMessage) (any, *fault.Error) {
	if !row.quick {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, handlerTimeout+row.patience)
		defer cancel()
	}
	answer, err := row.run(ctx, c, payload)
	if err != nil {
		return nil, h.explain(ctx, err, e.Name)
	}
	return answer, nil
}

// explain makes any error the client's: those that are ours to mend get a
// reference, under which the log has them.
func (h *Hub) explain(ctx context.Context, err error, event string) *fault.Error {
	if code := fault.CodeOf(err); code != fault.Internal {
		return asFault(err)
	}
	f := fault.New(fault.Internal)
	f.Ref = newRef()
	h.opts.Log.Error().Ctx(ctx).Err(err).Str("event", event).Str("ref", f.Ref).Msg("event failed")
	return f
}

// Panic answers an event whose handler panicked.
func (h *Hub) Panic(s *socketio.Socket, event string, v any, stack []byte) any {
	f := fault.New(fault.Internal)
	f.Ref = newRef()
	h.opts.Log.Error().Interface("panic", v).Str("event", event).Str("sid", s.ID()).Str("ref", f.Ref).Bytes("stack", stack).Msg("handler panicked")
	return f
}

// fail tells the client of an error: in the ack, or as an event if it wants none.
// Protocol 1 hears of a failed join in join_response, too.
func (c *client) fail(e *socketio.Event, f *fault.Error) {
	e.Ack(f)
	if e.Name == protocol.EventJoin && (!e.WantsAck() || isProtocol1(e)) {
		message := f.Localized
		if message == "" {
			message = f.Message
		}
		c.emit(protocol.EventJoinResponse, protocol.JoinFailed{Error: message, Code: f.Code, Ticket: f.Ticket})
		return
	}
	if !e.WantsAck() {
		c.emit(protocol.EventError, protocol.Failed{Event: e.Name, Code: f.Code, Message: f.Message, Field: f.Field})
	}
}

func isProtocol1(e *socketio.Event) bool {
	var j struct {
		Version int `json:"v"`
	}
	return len(e.Args) == 0 || protocol.DecodeObject(e.Args[0], &j) != nil || j.Version < 2
}

func (c *client) emit(event string, payload any) {
	if err := c.socket.Emit(event, payload); err != nil {
		c.hub.opts.Log.Error().Err(err).Str("event", event).Msg("event not encoded")
	}
}

// guessKey begins an attempt at the key of a join's meeting. Keys of 100 random bits are no guesses, nor
// is the key that a join token names.
func (c *client) guessKey(ctx context.Context, j *protocol.Join, who *identity.Identity, until time.Time) (limits.Guess, error) {
	if !protocol.Guessable(j.MeetingID) || who != nil && who.Meeting == j.MeetingID {
		return limits.Guess{}, nil
	}
	guess, wait, ok := c.hub.opts.Guesses.Begin(ctx, limits.Attempt{
		IP: c.socket.IP(), Lane: c.socket.ID(), Until: until,
		Spared: func() bool { return c.hub.participants.Knows(ctx, j) },
	})
	if !ok {
		return guess, participants.TooManyGuesses(wait)
	}
	return guess, nil
}

func asFault(err error) *fault.Error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return fault.New(fault.Internal).Because(err)
	}
	return f
}

func newRef() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}

// logName names a meeting in the log without its key.
func logName(meetingID string) string {
	sum := sha256.Sum256([]byte(meetingID))
	return hex.EncodeToString(sum[:4])
}
