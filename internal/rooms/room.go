package rooms

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Room is one meeting.
type Room struct {
	// set at construction, read-only
	rooms *Rooms
	id    string

	listening <-chan struct{} // closed once this node is told of changes elsewhere

	holders int    // under Rooms.mu
	uses    uint64 // under Rooms.mu: counts the holders that there have been

	loading sync.Mutex // held by who reads the store; before mu

	mu      sync.Mutex
	loaded  bool
	ended   bool
	rev     int64
	peers   []*seat          // in the order of joining
	index   map[string]*seat // by peer id
	early   map[int64]Change // changes that wait for the ones before them
	waiting []waiter
	later   []delivery  // signals from other nodes that came before what they build on
	heal    *time.Timer // set while something waits

	gone []string // peer ids that left lately

	state    State
	stateRev int64 // the revision of its last change
	lobby    lobby
	matrix   matrix

	news  news   // since the last delta
	delta sluice // of deltas, to members of protocol 2
	maps  sluice // of maps, to members of protocol 1

	errands []errand // what is to be told, in order
	spare   []errand // its other store
	running bool     // somebody runs them
}

// keepGone is how many who left are remembered, to tell "gone" from "never here".
const keepGone = 64

// seat is a participant in the room.
type seat struct {
	Peer
	since  int64   // the revision that this node knows it since
	placed int64   // the revision that it has its connection since, as far as this node knows
	member *Member // its connection, if it is at this node and not away

	sent                 []kept // signals that its connection has not confirmed
	sentFirst            uint64 // the number of the first of them
	held                 []kept // signals for a local participant without a connection
	sentBytes, heldBytes int

	seqs    map[string]uint64 // of the signals it sent, by receiver
	seqBase uint64            // what they are counted from
	counted bool              // this node has counted them all
}

type waiter struct {
	rev  int64
	done chan struct{}
}

func newRoom(rooms *Rooms, id string) *Room {
	r := &Room{rooms: rooms, id: id, index: map[string]*seat{}, early: map[int64]Change{}}
	r.delta = sluice{every: rooms.opts.DeltaEvery, open: r.flushDelta}
	r.maps = sluice{every: rooms.opts.MapEvery, open: r.flushMap}
	r.matrix.sluice = sluice{every: rooms.opts.TableEvery, open: r.flushMatrix}
	return r
}

// MeetingID is the meeting's key.
func (r *Room) MeetingID() string { return r.id }

// Load reads the room from the store unless that was done.
func (r *Room) Load(ctx context.Context) error {
	r.mu.Lock()
	loaded := r.loaded
	r.mu.Unlock()
	if loaded {
		return nil
	}
	timer := time.NewTimer(watchTimeout)
	defer timer.Stop()
	select { // before reading, so that nothing falls between
	case <-r.listening:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.reload(ctx, false)
}

// reached is the revision that the roster is of.
func (r *Room) reached() (rev int64, loaded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rev, r.loaded
}

// reload reads the store and makes the roster equal to it.
func (r *Room) reload(ctx context.Context, again bool) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	r.mu.Lock()
	loaded := r.loaded
	r.mu.Unlock()
	if loaded && !again {
		return nil
	}
	roster, err := r.rooms.load(ctx, r.id)
	if err != nil {
		return err
	}
	missed, err := r.missed(ctx, roster.Rev)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.unlock()
	if r.ended || r.loaded && roster.Rev <= r.rev {
		return nil
	}
	before := r.rev
	r.rev = roster.Rev
	known := r.overtakenLocked(roster.Rev)
	for _, s := range slices.Clone(r.peers) {
		if !slices.ContainsFunc(roster.Peers, func(p Peer) bool { return p.PeerID == s.PeerID && p.Came == s.Came }) {
			r.removeLocked(s.PeerID, cmp.Or(known[s.PeerID], "server"))
		}
	}
	for _, p := range roster.Peers {
		r.rejoinedLocked(p.PeerID, roster.Rev)
		r.putLocked(p)
	}
	r.news.due = true
	r.ruleLocked(roster.State, roster.Rev)
	r.lobby.replace(r, roster.Lobby, roster.Rev)
	if !r.loaded { // nobody has been told anything yet
		r.loaded, r.news, r.stateRev = true, news{since: roster.Rev}, 0
	}
	for _, c := range missed {
		if c.Rev > before { // else it has arrived meanwhile
			r.speakLocked(c.Speech)
		}
	}
	r.advanceLocked()
	return nil
}

// overtakenLocked forgets the changes that a reading of the store has overtaken, but
// for what it does not tell: it notifies, and returns why who left has left.
func (r *Room) overtakenLocked(rev int64) (reasons map[string]string) {
	reasons = map[string]string{}
	for _, at := range slices.Sorted(maps.Keys(r.early)) {
		if at > rev {
			break
		}
		c := r.early[at]
		delete(r.early, at)
		if c.Notice != nil {
			r.notifyLocked(*c.Notice)
		}
		if c.Kind == Left {
			reasons[c.Peer.PeerID] = c.Reason
		}
	}
	return reasons
}

// end stops the room's timers. Who still holds it by mistake sees an empty room.
func (r *Room) end() {
	r.mu.Lock()
	defer r.unlock()
	r.ended = true
	for _, d := range r.later { // the room could not be read
		r.answerLocked(d, NotYet, Route{})
	}
	r.later = nil
	r.delta.stop()
	r.maps.stop()
	r.matrix.sluice.stop()
	if r.heal != nil {
		r.heal.Stop()
	}
}

// apply applies changes in the order of their revisions; those that come before
// their turn wait for it.
func (r *Room) apply(changes ...Change) {
	r.mu.Lock()
	defer r.unlock()
	if r.ended {
		return
	}
	for _, c := range changes {
		if c.Rev > r.rev {
			r.early[c.Rev] = c
		}
	}
	if r.loaded { // else the load that is under way goes on from what it has read
		r.advanceLocked()
	}
}

// advanceLocked applies what has its turn, and tells it.
func (r *Room) advanceLocked() {
	for {
		c, ok := r.early[r.rev+1]
		if !ok {
			break
		}
		delete(r.early, c.Rev)
		r.rev = c.Rev
		r.news.due = r.news.due || c.Kind != Spoken
		r.applyLocked(c)
	}
	r.news.rev = r.rev
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiter) bool {
		if w.rev > r.rev {
			return false
		}
		close(w.done)
		return true
	})
	for len(r.later) > 0 && r.later[0].after <= r.rev {
		d := r.later[0]
		r.later = r.later[1:]
		outcome, route := r.deliverLocked(d.from, d.to, d.frame)
		r.answerLocked(d, outcome, route)
	}
	r.armHealLocked()
	if r.news.due && r.news.rev > r.news.since {
		r.delta.push()
	}
}

// applyLocked does one change, whose turn it is.
func (r *Room) applyLocked(c Change) {
	if c.Notice != nil { // before its target is cut off
		r.notifyLocked(*c.Notice)
	}
	switch c.Kind {
	case Joined, Changed:
		r.rejoinedLocked(c.Peer.PeerID, c.Rev)
		r.putLocked(c.Peer)
	case Left:
		r.removeLocked(c.Peer.PeerID, c.Reason)
	case Spoken:
		r.speakLocked(c.Speech)
	case Ruled:
		if c.State != nil {
			r.ruleLocked(*c.State, c.Rev)
		}
	case Lobbied:
		if c.Waiter != nil {
			r.lobby.put(r, *c.Waiter, c.Rev)
		}
	}
}

// armHealLocked sees to it that what waits for a revision does not wait for ever.
func (r *Room) armHealLocked() {
	wanted := len(r.early) > 0 || len(r.later) > 0
	switch {
	case wanted && r.heal == nil:
		r.heal = time.AfterFunc(r.rooms.opts.HealAfter, r.healHole)
	case !wanted && r.heal != nil:
		r.heal.Stop()
		r.heal = nil
	}
}

// healHole reads the store when a revision has not come. It tries until it can. If it
// takes the last participant of this node out, the room goes with it.
func (r *Room) healHole() {
	if !r.rooms.retain(r) {
		return
	}
	defer r.rooms.Release(r)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = r.reload(ctx, true) // the next try is set below
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heal != nil && !r.ended {
		r.heal.Reset(r.rooms.opts.HealAfter)
	}
}

// rejoinedLocked sees to it that who leaves and joins again as the same peer is not
// told as somebody who stayed: everyone is to connect to it anew.
func (r *Room) rejoinedLocked(peerID string, rev int64) {
	if n := r.news.find(peerID); n != nil && n.kind == Left {
		r.news.due, r.news.rev = true, rev-1
		r.flushDeltaLocked()
		r.news.due = true
	}
}

// putLocked adds or replaces a participant.
func (r *Room) putLocked(p Peer) {
	s := r.index[p.PeerID]
	if s == nil {
		s = &seat{Peer: p, since: r.rev, placed: r.rev}
		r.peers, r.index[p.PeerID] = append(r.peers, s), s
		r.news.joined(p.PeerID)
		r.maps.push()
		r.matrix.changed()
		return
	}
	if string(s.SDP) != string(p.SDP) || string(s.Candidate) != string(p.Candidate) || s.Name != p.Name {
		r.maps.push()
	}
	if s.ConnID != p.ConnID || s.NodeID != p.NodeID {
		s.placed = r.rev
		s.counted = s.counted && p.NodeID == r.rooms.opts.NodeID
	}
	s.Peer = p
	r.news.changed(p.PeerID)
	if m := s.member; m != nil && m.connID != p.ConnID {
		s.member = nil
		r.cutLaterLocked(m, "replaced") // another connection has the seat now
	}
}

// removeLocked takes a participant out.
func (r *Room) removeLocked(peerID, reason string) {
	s := r.index[peerID]
	if s == nil {
		return
	}
	if m := s.member; m != nil {
		s.member = nil
		r.cutLaterLocked(m, reason)
	}
	delete(r.index, peerID)
	r.peers = slices.DeleteFunc(r.peers, func(other *seat) bool { return other == s })
	for _, other := range r.peers {
		delete(other.seqs, peerID)
	}
	if r.gone = append(r.gone, peerID); len(r.gone) > keepGone {
		r.gone = slices.Delete(r.gone, 0, 1)
	}
	r.news.left(peerID, reason)
	r.maps.push()
	r.matrix.pairs.Drop(peerID)
	r.matrix.changed()
}

// local reports whether a participant of this node is in the room, or a connection
// of this node whose seat another node has taken for abandoned, or what a
// participant's next node has not fetched yet.
func (r *Room) local() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.peers, func(s *seat) bool {
		return s.NodeID == r.rooms.opts.NodeID || s.member != nil || len(s.sent) > 0 || len(s.held) > 0 || len(s.seqs) > 0
	})
}

// Await waits until the room has reached rev, by itself or by being healed.
func (r *Room) Await(ctx context.Context, rev int64) error {
	r.mu.Lock()
	if r.rev >= rev {
		r.mu.Unlock()
		return nil
	}
	w := waiter{rev, make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		r.waiting = slices.DeleteFunc(r.waiting, func(other waiter) bool { return other == w })
		r.mu.Unlock()
		return ctx.Err()
	}
}

// Roster is who is in the meeting now.
func (r *Room) Roster() Roster {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rosterLocked()
}

func (r *Room) rosterLocked() Roster {
	roster := Roster{Rev: r.rev, Peers: make([]Peer, len(r.peers)), State: r.state}
	for i, s := range r.peers {
		roster.Peers[i] = s.Peer
	}
	return roster
}

// Peer finds a participant.
func (r *Room) Peer(peerID string) (Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.index[peerID]; s != nil {
		return s.Peer, true
	}
	return Peer{}, false
}

// flushDelta tells members of protocol 2 what is new.
func (r *Room) flushDelta() {
	r.mu.Lock()
	defer r.unlock()
	r.delta.opened()
	r.flushDeltaLocked()
	r.flushLobbyLocked()
	r.showMatrixLocked(false)
}

// flushDeltaLocked tells them of the roster, and before it of the meeting's state:
// what is forbidden now explains what has been switched off.
func (r *Room) flushDeltaLocked() {
	if r.ended || !r.news.due || r.news.rev <= r.news.since {
		return
	}
	var frame, state Frame
	told := 0
	for _, s := range r.peers {
		m := s.member
		if m == nil || m.protocol < 2 || m.rev >= r.news.rev {
			continue
		}
		if frame == nil {
			frame = r.deltaFrame(&told)
		}
		if m.rev < r.stateRev {
			if state == nil {
				rev, now := r.news.rev, r.state
				state = lazily(512, func(e Encoder) Frame { return e.State(r.id, rev, now) })
			}
			r.tellLocked(s, state)
		}
		m.rev = r.news.rev
		r.tellLocked(s, frame)
		told++
	}
	r.news = news{since: r.news.rev, rev: r.news.rev}
}

// Changes of names and media are told at the pace of a slow line, 1 Mbit/s, of which they take a half: however
// often members change something, each of them is told of once in that.
const (
	changesBytesPerSecond = 64 << 10 // to one member
	sizeOfPeer            = 512      // on the wire, roughly
)

// deltaFrame is the message of what is new. told is how many get it, once all are known.
func (r *Room) deltaFrame(told *int) Frame {
	d := r.news.delta(r)
	r.delta.every = max(r.rooms.opts.DeltaEvery, time.Duration(len(d.Changed))*sizeOfPeer*time.Second/changesBytesPerSecond)
	return lazily(sizeOfPeer*(1+len(d.Joined)+len(d.Changed)+len(d.Left)), func(e Encoder) Frame {
		f := e.Delta(d)
		r.rooms.stats.DeltaFrames.Add(int64(*told))
		r.rooms.stats.DeltaBytes.Add(int64(*told * e.Size(f)))
		return f
	})
}

// flushMap tells members of protocol 1 the whole map. Of the maps that wait for an
// answer only the newest counts.
func (r *Room) flushMap() {
	r.mu.Lock()
	defer r.unlock()
	r.maps.opened()
	if r.ended {
		return
	}
	var frame Frame
	told := 0
	for _, s := range r.peers {
		m := s.member
		if m == nil || m.protocol >= 2 {
			continue
		}
		if frame == nil {
			frame = r.mapFrame(&told)
		}
		told++
		if m.started {
			r.sendLaterLocked(frame, m.out)
		} else {
			m.nextMap = frame
		}
	}
	r.maps.every = r.mapPauseLocked(told)
}

// mapBytesPerSecond is what the maps of one meeting may take together.
const mapBytesPerSecond = 256 << 20

// mapPauseLocked is the least time until the next map, after one to so many members: the
// map of a large meeting is sent to all of a large meeting.
func (r *Room) mapPauseLocked(told int) time.Duration {
	size := 0
	for _, s := range r.peers {
		size += len(s.SDP) + len(s.Candidate)
	}
	return max(r.rooms.opts.MapEvery, time.Duration(float64(told*size)/mapBytesPerSecond*float64(time.Second)))
}

// mapFrame is the message of the whole map, as deltaFrame is that of what is new.
func (r *Room) mapFrame(told *int) Frame {
	roster := r.rosterLocked()
	return lazily(0, func(e Encoder) Frame {
		f := e.Map(r.id, roster)
		r.rooms.stats.MapFrames.Add(int64(*told))
		r.rooms.stats.MapBytes.Add(int64(*told * e.Size(f)))
		return f
	})
}
