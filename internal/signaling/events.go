package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/socketio"
	"signald/internal/store"
	"signald/internal/tracing"
)

// row is how an event is handled. run answers with the ack's payload; nil means
// that it has answered itself.
type row struct {
	optional bool          // the payload may be left out
	quick    bool          // it waits for nothing, so it needs no deadline
	untraced bool          // it comes so often, and does so little, that its spans would bury the others
	patience time.Duration // how long it may wait before it is handled
	run      func(context.Context, *client, json.RawMessage) (any, error)
}

var events = map[string]row{
	protocol.EventJoin:         {run: with((*client).join), patience: guessPatience},
	protocol.EventLeave:        {run: with((*client).leave), optional: true},
	protocol.EventSignal:       {run: with((*client).signal), quick: true, untraced: true},
	protocol.EventUpdateSignal: {run: with((*client).updateSignal)},
	protocol.EventSync:         {run: with((*client).sync), optional: true},
	protocol.EventMediaState:   {run: with((*client).mediaState)},
	protocol.EventRename:       {run: with((*client).rename)},
	protocol.EventChat:         {run: with((*client).chat)},
	protocol.EventChatSync:     {run: with((*client).chatSync), optional: true},
	protocol.EventChatRevoke:   {run: with((*client).chatRevoke)},
	protocol.EventInvite:       {run: with((*client).invite), quick: true},
	protocol.EventInviteAnswer: {run: with((*client).inviteAnswer), quick: true},
	protocol.EventInviteCancel: {run: with((*client).inviteCancel), quick: true},
	protocol.EventTyping:       {run: with((*client).typing), optional: true, quick: true, untraced: true},
	protocol.EventControl:      {run: with((*client).control)},
	protocol.EventModerate:     {run: with((*client).moderate)},
	protocol.EventMeshReport:   {run: with((*client).meshReport), quick: true, untraced: true},
	protocol.EventHeartbeat:    {run: with((*client).heartbeat), optional: true, quick: true, untraced: true},
}

// with decodes and validates the payload for f.
func with[T any, P interface {
	*T
	Validate() error
}](f func(*client, context.Context, P) (any, error)) func(context.Context, *client, json.RawMessage) (any, error) {
	return func(ctx context.Context, c *client, raw json.RawMessage) (any, error) {
		payload := P(new(T))
		if err := protocol.Decode(raw, payload); err != nil {
			return nil, err
		}
		return f(c, ctx, payload)
	}
}

func (c *client) join(ctx context.Context, j *protocol.Join) (any, error) {
	if seat := c.seatIn(j.MeetingID); seat != nil {
		return c.already(ctx, seat)
	}
	if j.Version >= 2 {
		if j.ResumeToken == "" {
			j.ResumeToken = c.resume
		}
		c.resume = "" // for the first join alone
	}
	if err := c.mayJoin(j); err != nil {
		return nil, err
	}
	who, err := c.identify(ctx, j)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(guessPatience)
	guess, err := c.guessKey(ctx, j, who, until)
	if err != nil {
		return nil, err
	}
	wrong := false
	defer func() { guess.Settle(wrong) }()
	c.stopWaiting(j.MeetingID)
	out := c.outboxes.add(c.socket, j.MeetingID)
	joined, err := c.hub.participants.Join(ctx, j, participants.Connection{
		ID:  c.socket.ID() + "/" + newRef(), // this join of this connection
		Out: out,
		IP:  c.socket.IP(),

		Lane:     c.socket.ID(),
		Patience: until,

		Identity: who,
	})
	if err != nil {
		c.outboxes.remove(out)
		wrong = fault.CodeOf(err) == fault.MeetingNotFound
		return nil, err
	}
	if joined.Wait != nil {
		return nil, c.waitIn(joined.Wait)
	}
	c.hub.opts.Observer.Joined(joined.Resumed)
	c.seats = append(c.seats, joined.Seat)
	c.phone.seated(joined.Seat)
	tracing.Current(ctx).Flag(tracing.Resumed, joined.Resumed)
	c.hub.line(ctx, c.socket.IP()).Str("sid", c.socket.ID()).Str("peer", joined.Seat.PeerID).
		Str("meeting", logName(j.MeetingID)).Bool("resumed", joined.Resumed).Msg("joined")
	return nil, c.welcomeIn(joined)
}

// identify finds who vouches for a newcomer, by the join's own token or that of the
// handshake; nil: nobody. Who comes back is known by the resume token.
func (c *client) identify(ctx context.Context, j *protocol.Join) (*identity.Identity, error) {
	token := j.Token
	if token == "" {
		token = c.token
	}
	switch {
	case j.ResumeToken != "" && j.Version >= 2:
		return nil, nil
	case token != "":
		who, err := c.hub.opts.Tokens.Verify(token)
		if err != nil { // the client hears less, for it may not be the application's user who asks
			c.hub.line(ctx, c.socket.IP()).Str("sid", c.socket.ID()).Str("meeting", logName(j.MeetingID)).
				AnErr("cause", errors.Unwrap(err)).Msg("join token refused")
		}
		return who, err
	case c.hub.opts.TokensRequired:
		return nil, fault.New(fault.Unauthorized).WithMessage("This server needs a join token.")
	}
	return nil, nil
}

// welcomeIn answers a join, before anything that happens after it.
func (c *client) welcomeIn(joined *participants.Joined) error {
	body := c.joinedBody(joined.Seat, joined.Roster, joined.State)
	body.Resumed, body.ResumeToken, body.AdmissionToken = joined.Resumed, joined.ResumeToken, joined.AdmissionToken
	body.PastPeerIDs = joined.Past
	var answers []rooms.Frame
	if c.event.WantsAck() {
		frame, err := c.event.AckFrame(body)
		if err != nil {
			return err
		}
		answers = append(answers, frame)
	}
	if joined.Seat.Protocol < 2 || !c.event.WantsAck() {
		frame, err := socketio.Encode(protocol.EventJoinResponse, body)
		if err != nil {
			return err
		}
		answers = append(answers, frame)
	}
	joined.Seat.Start(answers...)
	if joined.Seat.HasPrevious {
		c.answered = append(c.answered, answered{joined.Seat, c.socket.Track()})
		if joined.Resumed {
			c.socket.Confirm() // the previous token was on the wire before: it ends as soon as it can
		}
	}
	return nil
}

// already answers a second join with what the first has come to.
func (c *client) already(ctx context.Context, seat *participants.Seat) (any, error) {
	_, st, _, err := c.hub.meetings.Meeting(ctx, seat.MeetingID)
	if err != nil {
		return nil, fault.New(fault.AlreadyJoined)
	}
	body := c.joinedBody(seat, seat.Room().Roster(), st)
	body.OK, body.Code, body.Status = false, fault.AlreadyJoined, "error"
	body.Message = fault.New(fault.AlreadyJoined).Message
	if !c.event.WantsAck() {
		c.emit(protocol.EventJoinResponse, body)
	}
	return body, nil
}

func (c *client) joinedBody(seat *participants.Seat, roster rooms.Roster, st store.State) protocol.Joined {
	opts := c.hub.opts
	body := protocol.Joined{
		Status:  "success",
		Message: fmt.Sprintf("User %s joined meeting %s.", seat.UserID, seat.MeetingID),
		OK:      true, MeetingID: seat.MeetingID, PeerID: seat.PeerID, Rev: roster.Rev, Role: seat.Role,
		ResumeTTLMS: opts.Grace.Milliseconds(),
		Peers:       []protocol.Peer{},
		Meeting:     protocol.Meeting{Name: st.Title, MeetingState: meetingState(roster.State)},
		ICEServers:  []protocol.ICEServer{},
		ICETTL:      int64(opts.ICE.TTL.Seconds()),
	}
	for _, s := range opts.ICE.Servers(seat.PeerID, time.Now()) {
		body.ICEServers = append(body.ICEServers, protocol.ICEServer(s))
	}
	for _, p := range roster.Peers {
		if p.PeerID == seat.PeerID {
			body.Role = p.Role // it may have changed since
			continue
		}
		peer := peerOf(p)
		polite := seat.PeerID < p.PeerID
		peer.Polite = &polite
		body.Peers = append(body.Peers, peer)
	}
	if seat.Protocol < 2 {
		body.Room = participantsMap(roster)
	}
	return body
}

func (c *client) leave(ctx context.Context, l *protocol.Leave) (any, error) {
	if l.MeetingID == "" && len(c.seats) == 0 && len(c.waits) == 1 {
		l.MeetingID = c.waits[0].MeetingID
	}
	if w := c.takeWait(l.MeetingID); w != nil {
		return answer(protocol.Done{OK: true}, c.hub.participants.GiveUp(ctx, w))
	}
	seat, err := c.seat(l.MeetingID)
	if err != nil {
		return nil, err
	}
	c.seats = slices.DeleteFunc(c.seats, func(s *participants.Seat) bool { return s == seat })
	c.outboxes.removeOf(seat.MeetingID)
	c.hub.line(ctx, c.socket.IP()).Str("sid", c.socket.ID()).Str("peer", seat.PeerID).Str("meeting", logName(seat.MeetingID)).Msg("left")
	if err := c.hub.participants.Leave(ctx, seat, l.MayReturn); err != nil {
		return nil, err
	}
	return protocol.Done{OK: true}, nil
}

// signal relays to one other participant. The answer says what became of it.
func (c *client) signal(_ context.Context, s *protocol.Signal) (any, error) {
	seat, err := c.seatToward(s.MeetingID, s.To)
	if err != nil {
		return nil, err
	}
	if s.To == seat.PeerID {
		return nil, fault.Invalid("to", "to is another participant.")
	}
	if c.hub.opts.PublicCandidates {
		if err := withoutPrivate(s); err != nil {
			return nil, err
		}
	}
	frame, err := signalFrame(seat, s)
	if err != nil {
		return nil, err
	}
	outcome := seat.Relay(s.To, frame)
	if outcome != rooms.Elsewhere {
		c.hub.opts.Observer.Relayed(outcome, nil)
		return relayed(outcome)
	}
	route, event := seat.Route(s.To), c.event
	c.hub.opts.Relayer.Relay(route.Node, cluster.Signal{
		MeetingID: seat.MeetingID, From: seat.PeerID, To: s.To, After: route.After, Frame: frame.Bytes(),
	}, func(outcome rooms.Outcome, err error) {
		c.hub.opts.Observer.Relayed(outcome, err)
		answer, err := relayedElsewhere(outcome, err)
		if err != nil {
			c.fail(event, c.hub.explain(context.Background(), err, event.Name))
			return
		}
		event.Ack(answer)
	})
	return nil, nil // answered later
}

func relayedElsewhere(outcome rooms.Outcome, err error) (any, error) {
	if err != nil {
		return nil, notYet("The server of this participant cannot be reached right now. Try again in a moment.").Because(err)
	}
	return relayed(outcome)
}

// The answers to signals, ready for the wire: protocol.Done.
var (
	ackDelivered = json.RawMessage(`{"ok":true}`)
	ackQueued    = json.RawMessage(`{"ok":true,"queued":true}`)
)

// signalAgainAfter is when a signal that could not be taken is to be sent again.
const signalAgainAfter = 250 * time.Millisecond

func notYet(message string) *fault.Error {
	return fault.New(fault.Unavailable).WithMessage(message).RetryAfter(signalAgainAfter)
}

func relayed(outcome rooms.Outcome) (any, error) {
	switch outcome {
	case rooms.Delivered:
		return ackDelivered, nil
	case rooms.Queued:
		return ackQueued, nil
	case rooms.Gone:
		return nil, fault.New(fault.PeerGone)
	case rooms.Unseated:
		return nil, fault.New(fault.NotJoined)
	case rooms.Crowded:
		return nil, tooMuch(signalAgainAfter).WithMessage("This participant has not read your last signals yet. Try again in a moment.")
	case rooms.NotYet:
		return nil, notYet("This participant cannot take the signal right now. Try again in a moment.")
	default:
		return nil, fault.New(fault.NotInMeeting)
	}
}

func (c *client) updateSignal(ctx context.Context, u *protocol.UpdateSignal) (any, error) {
	seat, err := c.seat(u.MeetingID)
	if err != nil {
		return nil, err
	}
	if err := c.hub.participants.SetBlobs(ctx, seat, u.SDP, u.Candidate); err != nil {
		return nil, err
	}
	return protocol.Done{OK: true}, nil
}

func (c *client) sync(_ context.Context, s *protocol.Sync) (any, error) {
	seat, err := c.seat(s.MeetingID)
	if err != nil {
		return nil, err
	}
	roster := seat.Room().Roster()
	if err := c.mayHear(len(roster.Peers) * bytesOfPeer); err != nil {
		return nil, err
	}
	state := meetingState(roster.State)
	body := protocol.Roster{OK: true, MeetingID: seat.MeetingID, Rev: roster.Rev, Full: true, Peers: []protocol.Peer{}, Meeting: &state}
	for _, p := range roster.Peers {
		peer := peerOf(p)
		if p.PeerID == seat.PeerID {
			body.Self = &peer
		} else {
			body.Peers = append(body.Peers, peer)
		}
	}
	c.emit(protocol.EventRoster, body)
	return body, nil
}

func (c *client) mediaState(ctx context.Context, m *protocol.MediaState) (any, error) {
	seat, err := c.seat(m.MeetingID)
	if err != nil {
		return nil, err
	}
	if err := c.hub.participants.SetMedia(ctx, seat, m); err != nil {
		return nil, err
	}
	return protocol.Done{OK: true}, nil
}

func (c *client) rename(ctx context.Context, r *protocol.Rename) (any, error) {
	seat, err := c.seat(r.MeetingID)
	if err != nil {
		return nil, err
	}
	if err := c.hub.participants.Rename(ctx, seat, r.Name); err != nil {
		return nil, err
	}
	return protocol.Done{OK: true}, nil
}

// meshReport takes what a participant says of its connections to the others.
func (c *client) meshReport(_ context.Context, r *protocol.MeshReport) (any, error) {
	seat, err := c.seat(r.MeetingID)
	if err != nil {
		return nil, err
	}
	if wait, ok := c.purse.Take(purseReports, 1); !ok {
		return nil, tooMuch(wait)
	}
	c.hub.participants.Report(seat, r.Report(seat.PeerID))
	return ackDelivered, nil
}

func (c *client) heartbeat(context.Context, *protocol.Heartbeat) (any, error) {
	return protocol.Done{OK: true, Time: time.Now().UnixMilli()}, nil
}

// seatIn finds the connection's seat in a meeting. Seats that were taken from it
// are forgotten on the way.
func (c *client) seatIn(meetingID string) *participants.Seat {
	c.seats = slices.DeleteFunc(c.seats, func(s *participants.Seat) bool { return !s.Seated() })
	for _, s := range c.seats {
		if s.MeetingID == meetingID {
			return s
		}
	}
	return nil
}

// seat finds the seat an event is about: that of the meeting named, or the only one.
func (c *client) seat(meetingID string) (*participants.Seat, error) {
	seat := c.seatIn(meetingID)
	switch {
	case seat != nil:
		return seat, nil
	case meetingID != "" || len(c.seats) == 0:
		return nil, fault.New(fault.NotJoined)
	case len(c.seats) > 1:
		return nil, fault.Invalid("meeting_id", "You are in several meetings: name one in meeting_id.")
	}
	return c.seats[0], nil
}

// seatToward finds the seat from which a participant can be reached.
func (c *client) seatToward(meetingID, peerID string) (*participants.Seat, error) {
	if meetingID != "" || len(c.seats) < 2 {
		return c.seat(meetingID)
	}
	for _, s := range c.seats {
		if _, ok := s.Room().Peer(peerID); ok && s.Seated() {
			return s, nil
		}
	}
	return nil, fault.New(fault.NotInMeeting)
}
