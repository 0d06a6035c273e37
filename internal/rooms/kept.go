package rooms

import "math"

// Signals are kept until the receiver's client has them. Those on their way wait in
// seat.sent until the connection has confirmed them; those for a participant without a
// connection wait in seat.held. A new connection gets both, in this order, with the
// numbers that they were given by their senders.

// kept is a signal that its receiver may not have.
type kept struct {
	frame Frame
	from  string
	mark  uint64 // of the connection that it was sent to
}

// unconfirmed is the mark of what no connection has been sent yet.
const unconfirmed = math.MaxUint64

// sendLocked sends a signal to a participant's connection, or holds it for the next.
func (r *Room) sendLocked(s *seat, from string, f Frame) Outcome {
	size := r.sizeOf(f)
	opts := &r.rooms.opts
	m := s.member
	switch {
	case m == nil || !m.started || m.expecting:
		n, bytes := r.partOf(s.held, from)
		if len(s.held) >= opts.QueueLimit || s.heldBytes+size > opts.QueueBytes ||
			n >= opts.QueueLimit/heldShare || bytes+size > opts.QueueBytes/heldShare {
			r.rooms.stats.AwayFull.Add(1)
			return Gone
		}
		s.held = append(s.held, kept{f, from, unconfirmed})
		s.heldBytes += size
		if m != nil && !m.started && !m.overrun {
			m.pending = append(m.pending, heldHere)
		}
		return Queued
	case opts.Shares && r.crowds(s, from, size):
		r.rooms.stats.Crowded.Add(1)
		return Crowded
	case len(s.sent) >= opts.SentLimit || s.sentBytes+size > opts.SentBytes || len(r.errands) >= errandsLimit:
		r.rooms.stats.SentFull.Add(1)
		return NotYet
	}
	if m.heard != nil {
		m.heard[from] = true
	}
	s.keepSent(kept{f, from, unconfirmed}, size)
	r.trackLocked(m, s, len(s.sent)-1)
	return Delivered
}

// One sender has at most one part in so many of what a receiver has not confirmed, and of what waits for its
// return: the rest is for the others.
const (
	sentShare = 4
	heldShare = 2
	sentEarly = 2 * sentShare // of the bound, from where on confirmations are asked for
)

// crowds reports whether one more signal is more than its sender's share of what the receiver has not confirmed. The first
// one is not, however large.
func (r *Room) crowds(s *seat, from string, size int) bool {
	opts := &r.rooms.opts
	n, bytes := r.partOf(s.sent, from)
	return n > 0 && (n >= opts.SentLimit/sentShare || bytes+size > opts.SentBytes/sentShare)
}

// partOf is how many of the signals, and of their bytes, are one sender's.
func (r *Room) partOf(list []kept, from string) (n, bytes int) {
	for i := range list {
		if list[i].from == from {
			n, bytes = n+1, bytes+r.sizeOf(list[i].frame)
		}
	}
	return n, bytes
}

// dropSentToOld forgets what a client of protocol 1 has not confirmed: it was kept for its bound alone, for its
// next connection is another participant.
func (s *seat) dropSentToOld() {
	if s.Protocol < 2 {
		s.sentFirst += uint64(len(s.sent))
		s.sent, s.sentBytes = nil, 0
	}
}

func (s *seat) keepSent(k kept, size int) {
	s.sent = append(s.sent, k)
	s.sentBytes += size
}

// trackLocked sends a kept signal to the seat's connection. When the bound comes near, the client
// is asked early to confirm what it has.
func (r *Room) trackLocked(m *Member, s *seat, i int) {
	opts := &r.rooms.opts
	r.errands = append(r.errands, errand{
		frame: s.sent[i].frame, to: m.out, member: m, number: s.sentFirst + uint64(i), //nolint:gosec // an index
		early: len(s.sent) >= opts.SentLimit/sentEarly || s.sentBytes >= opts.SentBytes/sentEarly,
	})
}

// flushHeldLocked sends the first n of what was held to the seat's connection.
func (r *Room) flushHeldLocked(m *Member, s *seat, n int) {
	n = min(max(n, 0), len(s.held))
	held := s.held[:n]
	if s.held = s.held[n:]; len(s.held) == 0 {
		s.held = nil
	}
	for _, k := range held {
		s.heldBytes -= r.sizeOf(k.frame)
		if m.heard != nil {
			m.heard[k.from] = true
		}
		s.keepSent(k, r.sizeOf(k.frame))
		r.trackLocked(m, s, len(s.sent)-1)
	}
}

// sentLocked notes the mark of a signal that an errand has sent.
func (r *Room) sentLocked(m *Member, number, mark uint64) {
	s := r.index[m.peerID]
	if s == nil || s.member != m || number < s.sentFirst {
		return
	}
	if i := number - s.sentFirst; i < uint64(len(s.sent)) {
		s.sent[i].mark = mark
	}
	if mark <= m.confirmed { // the confirmation was faster
		r.forgetLocked(s, m.confirmed)
	}
}

// Confirmed takes the word of the member's client that it has everything up to a mark
// of its outbox.
func (m *Member) Confirmed(mark uint64) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	m.confirmed = max(m.confirmed, mark)
	if s := r.index[m.peerID]; s != nil && s.member == m {
		r.forgetLocked(s, mark)
	}
}

// forgetLocked drops the signals that are confirmed.
func (r *Room) forgetLocked(s *seat, mark uint64) {
	n := 0
	for n < len(s.sent) && s.sent[n].mark <= mark {
		s.sentBytes -= r.sizeOf(s.sent[n].frame)
		s.sent[n] = kept{}
		n++
	}
	s.sentFirst += uint64(n) //nolint:gosec // not negative
	if s.sent = s.sent[n:]; len(s.sent) == 0 {
		s.sent = nil
	}
}

// Held is what this node keeps for a participant that has come back at another.
type Held struct {
	Frames [][]byte
	From   []string          // their senders; missing from nodes of an older version
	Seqs   map[string]uint64 // of the signals it sent, by receiver
}

// handoverBytes bounds what one node hands to another: a message between nodes takes 1 MiB.
const handoverBytes = 900 << 10

// Handover gives up what is kept for a participant that has come to node by the
// revision rev. Its connection here may still be thought alive: then it is over.
func (r *Rooms) Handover(meetingID, peerID, node string, rev int64) Held {
	room := r.hold(meetingID)
	if room == nil {
		return Held{}
	}
	defer r.Release(room)
	room.mu.Lock()
	s := room.index[peerID]
	if s == nil || s.member != nil && s.member.arrived >= rev { // it has returned here since
		room.mu.Unlock()
		return Held{}
	}
	if m := s.member; m != nil { // and the change that says so is still on its way
		s.member = nil
		room.cutLaterLocked(m, "replaced")
	}
	list := append(s.sent, s.held...) //nolint:gocritic // both are given up
	h := Held{Seqs: s.seqs}
	s.sent, s.sentBytes, s.held, s.heldBytes, s.seqs, s.counted = nil, 0, nil, 0, nil, false
	s.NodeID = node // what comes from now on goes there, even before the change arrives
	room.unlock()
	bytes := 0
	for i, k := range list {
		if bytes += r.encoder.Size(k.frame); bytes > handoverBytes { // of several moves that were never confirmed
			r.stats.AwayFull.Add(int64(len(list) - i))
			break
		}
		h.Frames, h.From = append(h.Frames, r.encoder.Marshal(k.frame)), append(h.From, k.from)
	}
	return h
}

// Hold keeps what comes for the member until Start, as before its answer.
func (m *Member) Hold() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.started = false
}

// Expect says that another node keeps signals for this member. Newer ones wait behind
// them, until Receive or, if that node is not reached, GoOn.
func (m *Member) Expect() {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.expecting, m.heard = true, map[string]bool{}
}

// GoOn sends the signals that wait. What another node keeps may still come, unless the
// search for it is over.
func (m *Member) GoOn(over bool) {
	r := m.room
	r.mu.Lock()
	defer r.unlock()
	m.expecting = false
	if s := r.index[m.peerID]; s != nil && s.member == m && m.started {
		r.flushHeldLocked(m, s, len(s.held))
	}
	if over {
		m.heard = nil
	}
}

// Receive takes over what another node kept for this member. It comes before newer
// signals, or not at all: those of a sender that was heard since are dropped, as
// the client would do by their numbers.
func (m *Member) Receive(h Held) {
	r := m.room
	older := make([]kept, 0, len(h.Frames))
	for i, b := range h.Frames {
		f, err := r.rooms.encoder.Unmarshal(b)
		if err != nil { // of another version: it could not be sent
			continue
		}
		k := kept{frame: f, mark: unconfirmed}
		if i < len(h.From) {
			k.from = h.From[i]
		}
		older = append(older, k)
	}
	r.mu.Lock()
	defer r.unlock()
	s := r.index[m.peerID]
	if s == nil || s.NodeID != r.rooms.opts.NodeID && s.member != m {
		return // it has left, or gone on to another node
	}
	all := make([]kept, 0, len(older)+len(s.held))
	for _, k := range older {
		if m.heard[k.from] {
			continue
		}
		all = append(all, k)
		s.heldBytes += r.sizeOf(k.frame)
	}
	s.held = append(all, s.held...)
	for to, seq := range h.Seqs {
		if s.seqs == nil {
			s.seqs = map[string]uint64{}
		}
		s.seqs[to] = max(s.seqs[to], seq)
	}
	m.expecting, m.heard = false, nil
	if s.member == m && m.started {
		r.flushHeldLocked(m, s, len(s.held))
	}
}
