package rooms

import (
	"errors"
	"slices"
)

// Member is a connection of this node that has a seat in a room.
type Member struct {
	room     *Room
	peerID   string
	connID   string
	protocol int
	out      Outbox

	// under Room.mu
	rev     int64 // what it has been told of the roster
	lobby   int64 // and of the lobby, if it is a host
	table   int64 // likewise of the tables of who hears whom
	started bool  // it has its answer; until then messages are held
}

// ErrSeatTaken: the seat belongs to another connection by now.
var ErrSeatTaken = errors.New("the seat belongs to another connection")

// Attach seats a connection, and returns the roster that its answer is to carry.
// What happens from then on is held until Start has sent that answer.
func (r *Room) Attach(peerID, connID string, out Outbox) (*Member, Roster, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.index[peerID]
	if s == nil || s.ConnID != connID {
		return nil, Roster{}, ErrSeatTaken
	}
	s.member = &Member{room: r, peerID: peerID, connID: connID, protocol: s.Protocol, out: out, rev: r.rev}
	if s.Protocol < 2 {
		r.maps.push() // its client expects one beside the answer; that of its join may be out already
	}
	if s.leads() && (r.lobby.rev > 0 || r.matrix.pairs.Reported()) {
		r.delta.push() // the lobby and the table come after the answer
	}
	return s.member, r.rosterLocked(), nil
}

// Start sends the answer to the join, and after it what was held.
func (m *Member) Start(answer ...Frame) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range answer {
		m.out.Send(f)
	}
	s := r.index[m.peerID]
	if s == nil || s.member != m {
		return
	}
	m.started = true
	held := s.held
	s.held, s.heldBytes = nil, 0
	for _, f := range held {
		m.out.Send(f)
	}
}

// Seated reports whether the connection still has its seat.
func (m *Member) Seated() bool {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	s := m.room.index[m.peerID]
	return s != nil && s.member == m
}

// Room is where the member sits.
func (m *Member) Room() *Room { return m.room }

// Detach takes the connection from its seat, which stays: what comes for it is
// held for its return.
func (m *Member) Detach() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if s := m.room.index[m.peerID]; s != nil && s.member == m {
		s.member = nil
	}
}

// Outcome of a relay.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota // to the connection of the receiver
	Queued                   // for the receiver's return
	Gone                     // the receiver has left, or its queue is full
	Unknown                  // the receiver is not in this meeting
	Unseated                 // the sender has no seat
	Elsewhere                // the receiver is at another node
)

// Route is the way to a participant at another node, who must have been told of
// the revision After before the signal.
type Route struct {
	Node  string
	After int64
}

// NextSeq counts the sender's messages to one receiver; 0 if either is not here.
func (m *Member) NextSeq(to string) uint64 {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	s := m.room.index[m.peerID]
	if s == nil || m.room.index[to] == nil { // names that clients make up are not remembered
		return 0
	}
	if s.seqs == nil {
		s.seqs = map[string]uint64{}
	}
	s.seqs[to]++
	return s.seqs[to]
}

// Relay sends a message to another participant. It never overtakes the news that
// the sender has joined. To a participant Elsewhere, Route is the way.
func (m *Member) Relay(to string, f Frame) Outcome {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.index[m.peerID]
	if from == nil || from.member != m {
		return Unseated
	}
	outcome, _ := r.deliverLocked(m.peerID, to, f)
	return outcome
}

// Route is the way to a participant at another node.
func (m *Member) Route(to string) Route {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	from, s := r.index[m.peerID], r.index[to]
	if from == nil || s == nil {
		return Route{}
	}
	return Route{Node: s.NodeID, After: from.since}
}

// deliverLocked hands a signal to its receiver, after the news of who sent it. Who
// has been taken out is not heard any more, though its own node may not know yet.
func (r *Room) deliverLocked(from, to string, f Frame) (Outcome, Route) {
	if r.index[from] == nil && slices.Contains(r.gone, from) {
		return Unseated, Route{}
	}
	s := r.index[to]
	if s == nil {
		if slices.Contains(r.gone, to) {
			return Gone, Route{}
		}
		return Unknown, Route{}
	}
	if s.NodeID != r.rooms.opts.NodeID && s.member == nil { // else the connection is here, and will be claimed back
		return Elsewhere, Route{Node: s.NodeID}
	}
	if n := r.news.find(from); n != nil && n.kind == Joined {
		r.flushDeltaLocked()
	}
	return r.sendLocked(s, f), Route{}
}

// delivery is a signal from another node.
type delivery struct {
	from, to string
	after    int64
	frame    Frame
	done     func(Outcome, Route)
}

// laterLimit bounds the signals that wait in a room for what they build on.
const laterLimit = 1024

// Deliver hands a signal of another node to a participant of this one, in the
// order of the calls, and once the room has reached the revision after. done is
// told what became of it; like an Outbox it must not block.
func (r *Rooms) Deliver(meetingID, from, to string, after int64, frame []byte, done func(Outcome, Route)) {
	f, err := r.encoder.Unmarshal(frame)
	room := r.hold(meetingID)
	if err != nil || room == nil {
		done(Gone, Route{})
		return
	}
	defer r.Release(room)
	room.mu.Lock()
	defer room.mu.Unlock()
	switch d := (delivery{from, to, after, f, done}); {
	case len(room.later) == 0 && room.rev >= after:
		done(room.deliverLocked(from, to, f))
	case len(room.later) < laterLimit:
		room.later = append(room.later, d)
		room.armHealLocked()
	default:
		r.stats.OrderFull.Add(1)
		done(Gone, Route{})
	}
}

// Held is what this node keeps for a participant that has come back at another.
type Held struct {
	Frames [][]byte
	Seqs   map[string]uint64 // of the signals it sent, by receiver
}

// Handover gives up what is held for a participant who is at node now.
func (r *Rooms) Handover(meetingID, peerID, node string) Held {
	room := r.hold(meetingID)
	if room == nil {
		return Held{}
	}
	defer r.Release(room)
	room.mu.Lock()
	defer room.mu.Unlock()
	s := room.index[peerID]
	if s == nil || s.member != nil {
		return Held{}
	}
	h := Held{Seqs: s.seqs}
	for _, f := range s.held {
		h.Frames = append(h.Frames, r.encoder.Marshal(f))
	}
	s.held, s.heldBytes, s.seqs = nil, 0, nil
	s.NodeID = node // what comes from now on goes there, even before the change arrives
	return h
}

// Hold keeps what comes for the member until Start, as before its answer.
func (m *Member) Hold() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.started = false
}

// Receive takes over what another node held for this member. Before Start it comes
// before everything else; later it is better late than never.
func (m *Member) Receive(h Held) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.index[m.peerID]
	if s == nil || s.member != m {
		return
	}
	frames := make([]Frame, 0, len(h.Frames)+len(s.held))
	for _, b := range h.Frames {
		f, err := r.rooms.encoder.Unmarshal(b)
		switch {
		case err != nil: // of another version: it could not be sent
		case m.started:
			r.sendLocked(s, f)
		default:
			frames = append(frames, f)
			s.heldBytes += r.rooms.encoder.Size(f)
		}
	}
	if !m.started {
		s.held = append(frames, s.held...)
	}
	for to, seq := range h.Seqs {
		if s.seqs == nil {
			s.seqs = map[string]uint64{}
		}
		s.seqs[to] = max(s.seqs[to], seq)
	}
}

// sendLocked sends to a participant's connection, or holds the message for it.
func (r *Room) sendLocked(s *seat, f Frame) Outcome {
	if s.member != nil && s.member.started && s.member.out.Send(f) {
		return Delivered
	}
	size := r.rooms.encoder.Size(f)
	if len(s.held) >= r.rooms.opts.QueueLimit || s.heldBytes+size > r.rooms.opts.QueueBytes {
		r.rooms.stats.AwayFull.Add(1)
		return Gone
	}
	s.held = append(s.held, f)
	s.heldBytes += size
	return Queued
}
