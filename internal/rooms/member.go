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
	rev       int64           // what it has been told of the roster
	lobby     int64           // and of the lobby, if it is a host
	table     int64           // likewise of the tables of who hears whom
	arrived   int64           // the revision of its arrival
	started   bool            // it has its answer; until then messages are held
	replayed  bool            // the signals that the connection before has not confirmed were sent to it
	pending   []Frame         // news that waits for the answer
	bytes     int             // of pending
	nextMap   Frame           // the newest map that waits for the answer; nil: none
	overrun   bool            // there was too much of it
	confirmed uint64          // the mark that its client has confirmed
	expecting bool            // another node has older signals for it: newer ones wait
	heard     map[string]bool // the senders of signals that were sent to it while older ones may still come
}

// ErrSeatTaken: the seat belongs to another connection by now.
var ErrSeatTaken = errors.New("the seat belongs to another connection")

// Attach seats a connection, and returns the roster that its answer is to carry.
// What happens from then on is held until Start has sent that answer.
func (r *Room) Attach(peerID, connID string, out Outbox) (*Member, Roster, error) {
	r.mu.Lock()
	defer r.unlock()
	s := r.index[peerID]
	if s == nil || s.ConnID != connID {
		return nil, Roster{}, ErrSeatTaken
	}
	s.member = &Member{room: r, peerID: peerID, connID: connID, protocol: s.Protocol, out: out, rev: r.rev, arrived: r.rev}
	s.dropSentToOld()
	for i := range s.sent {
		s.sent[i].mark = unconfirmed // another connection's mark says nothing of this one
	}
	if s.Protocol < 2 {
		r.maps.push() // its client expects one beside the answer; that of its join may be out already
	}
	if s.leads() && (r.lobby.rev > 0 || r.matrix.pairs.Reported()) {
		r.delta.push() // the lobby and the table come after the answer
	}
	return s.member, r.rosterLocked(), nil
}

// Start sends the answer to the join, and after it what was held: the signals that the
// connection before has not confirmed, the news, and the signals that came since.
func (m *Member) Start(answer ...Frame) {
	r := m.room
	r.mu.Lock()
	defer r.unlock()
	for _, f := range answer {
		r.sendLaterLocked(f, m.out)
	}
	s := r.index[m.peerID]
	if s == nil || s.member != m {
		return
	}
	again := m.replayed // after Hold
	m.started, m.replayed, s.counted = true, true, true
	if m.overrun {
		r.doLaterLocked(m.out.Overrun)
		return
	}
	if !again {
		for i := range s.sent {
			r.trackLocked(m, s, i)
		}
	}
	r.flushPendingLocked(m, s)
}

// flushPendingLocked sends the news that waited for the answer, and among it, each in
// its place, the signals that came since; before them those that were held already.
func (r *Room) flushPendingLocked(m *Member, s *seat) {
	pending := m.pending
	if m.nextMap != nil {
		pending = append(pending, m.nextMap)
	}
	m.pending, m.bytes, m.nextMap = nil, 0, nil
	places := 0
	for _, f := range pending {
		if sameNews(f, heldHere) {
			places++
		}
	}
	if !m.expecting {
		r.flushHeldLocked(m, s, len(s.held)-places)
	}
	for _, f := range pending {
		switch {
		case !sameNews(f, heldHere):
			r.sendLaterLocked(f, m.out)
		case !m.expecting:
			r.flushHeldLocked(m, s, 1)
		}
	}
}

// heldHere stands in a member's pending news for a signal that is held.
var heldHere = &lazy{}

// The bounds of what waits for a member's answer: those of an outbox.
const (
	pendingLimit = 1024
	pendingBytes = 4 << 20
)

// tellLocked sends news to the seat's member: at once, or behind the answer that it
// still waits for. A participant that is away learns the roster at its return.
func (r *Room) tellLocked(s *seat, f Frame) {
	m := s.member
	switch size := r.sizeOf(f); {
	case m.started:
		r.sendLaterLocked(f, m.out)
	case m.overrun:
	case len(m.pending) >= pendingLimit || m.bytes+size > pendingBytes:
		m.pending, m.bytes, m.nextMap, m.overrun = nil, 0, nil, true
	default:
		m.pending = append(m.pending, f)
		m.bytes += size
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
	r := m.room
	held := r.rooms.retain(r)
	r.mu.Lock()
	if s := r.index[m.peerID]; s != nil && s.member == m {
		s.member = nil
		s.dropSentToOld()
	}
	r.mu.Unlock()
	if held { // it may have been the last that kept the room
		r.rooms.Release(r)
	}
}

// Outcome of a relay.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota // to the connection of the receiver, and kept until that confirms it
	Queued                   // for the receiver's return
	Gone                     // the receiver has left, or its queue is full
	Unknown                  // the receiver is not in this meeting
	Unseated                 // the sender has no seat
	Elsewhere                // the receiver is at another node
	NotYet                   // it cannot be taken right now: send it again
	Crowded                  // likewise, for too much of this sender's waits at the receiver
)

// Route is the way to a participant at another node, which must have been told of
// the revision After before the signal.
type Route struct {
	Node  string
	After int64
}

// seqEpoch is the distance between the first numbers of two connections of a
// participant, of which the second does not know how far the first has counted.
const seqEpoch = 1 << 20

// Resumed says that the member's participant was in the meeting before, on another
// connection. If this node does not know how many signals it has sent, for it was at
// another or this one has been started anew, it counts on from its revision, which
// is above all that were: a receiver drops what is not above the last.
func (m *Member) Resumed() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.index[m.peerID]; s != nil && s.member == m && !s.counted {
		s.seqBase = uint64(max(r.rev, 0)) * seqEpoch //nolint:gosec // not negative
	}
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
	s.seqs[to] = max(s.seqs[to], s.seqBase) + 1
	return s.seqs[to]
}

// Relay sends a message to another participant. It never overtakes the news that
// the sender has joined. To a participant Elsewhere, Route is the way.
func (m *Member) Relay(to string, f Frame) Outcome {
	r := m.room
	r.mu.Lock()
	defer r.unlock()
	from := r.index[m.peerID]
	if from == nil || from.member != m {
		return Unseated
	}
	outcome, _ := r.deliverLocked(m.peerID, to, f)
	return outcome
}

// Route is the way to a participant at another node. That must know both: it may have
// read neither from the store yet.
func (m *Member) Route(to string) Route {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	from, s := r.index[m.peerID], r.index[to]
	if from == nil || s == nil {
		return Route{}
	}
	return Route{Node: s.NodeID, After: max(from.since, s.placed)}
}

// deliverLocked hands a signal to its receiver, after the news of its sender. A
// participant that has been taken out is not heard any more, though its own node may
// not know yet.
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
	return r.sendLocked(s, from, f), Route{}
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
// order of the calls, and once the room has been read and has reached the revision
// after. done is told what became of it; like an Outbox it must not block.
func (r *Rooms) Deliver(meetingID, from, to string, after int64, frame []byte, done func(Outcome, Route)) {
	f, err := r.encoder.Unmarshal(frame)
	room := r.hold(meetingID)
	switch {
	case err != nil:
		if room != nil {
			r.Release(room)
		}
		done(Gone, Route{})
		return
	case room == nil: // the receiver has left, or is about to come: the sender's node will know
		done(NotYet, Route{})
		return
	}
	defer r.Release(room)
	room.mu.Lock()
	defer room.unlock()
	d := delivery{from, to, after, f, done}
	switch {
	case room.ended:
		room.answerLocked(d, NotYet, Route{})
	case room.loaded && len(room.later) == 0 && room.rev >= after:
		outcome, route := room.deliverLocked(from, to, f)
		room.answerLocked(d, outcome, route)
	case len(room.later) < laterLimit:
		room.later = append(room.later, d)
		room.armHealLocked()
	default:
		r.stats.OrderFull.Add(1)
		room.answerLocked(d, NotYet, Route{})
	}
}

func (r *Room) answerLocked(d delivery, o Outcome, route Route) {
	r.doLaterLocked(func() { d.done(o, route) })
}
