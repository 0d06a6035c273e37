// Package rooms is the live state of meetings on this node: who is in each, in
// the order of its revisions, and what each local member is told of it.
//
// The store is the truth and a room its cache. Changes carry the revision the
// store gave them and are applied in that order, whatever order they arrive in;
// a hole that does not fill by itself is healed by reading the store again.
//
// Locks: Rooms.mu guards the map, Room.mu one room, and neither is held while the
// other is waited for. What members are told is put into order under Room.mu, and
// encoded and sent without it: see errand.
package rooms

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"signald/internal/pairs"
)

// Peer is a participant as everyone may see it, with what protocol 1 shows.
type Peer struct {
	PeerID, UserID, Name, Role string

	Online         bool
	Media          Media
	Fingerprint    string
	Protocol       int
	Verified       bool   // UserID is vouched for
	SDP, Candidate []byte // JSON; empty for none

	// ConnID names the connection that holds the seat: a member bound to another
	// one has lost it. NodeID is where that connection is.
	ConnID, NodeID string

	// Came is when it joined, in µs since 1970: the same peer with another is one that
	// has left and joined again.
	Came int64
}

// Media is what a participant says of the media it sends; Hand is in ms since
// 1970, nil when it is down.
type Media struct {
	Audio, Video, Screen bool
	Hand                 *int64
}

// Kind of a change.
type Kind uint8

// The kinds.
const (
	Joined Kind = iota
	Changed
	Left
	Spoken  // a message of the chat, or its revocation
	Ruled   // the meeting's state
	Lobbied // who waits to be let in
)

// Change is one revision of a meeting. Peer is whole for Joined and Changed; for
// Left its PeerID counts.
type Change struct {
	Rev    int64
	Kind   Kind
	Peer   Peer
	Reason string  // Left: why
	Speech *Speech // Spoken
	State  *State  // Ruled: what it is now
	Waiter *Waiter // Lobbied: whole, but for one that is out of the lobby
	Notice *Notice // what a host has done, for those it concerns
}

// Speech is a message for those who are in the room: all but From, or those named
// in To. Who is not there now will ask the store.
type Speech struct {
	From  string
	To    []string // empty: everyone
	Frame []byte   // as the Encoder marshals it
}

// Delta is the net effect of all changes after Since up to Rev.
type Delta struct {
	MeetingID  string
	Since, Rev int64
	Joined     []Peer
	Changed    []Peer
	Left       []Departure
}

// Departure is who left, and why.
type Departure struct{ PeerID, Reason string }

// Roster is a meeting as of a revision: who is in it, in the order of joining, what
// it allows, and who waits to be let in.
type Roster struct {
	Rev   int64
	Peers []Peer
	State State
	Lobby []Waiter
}

// Frame is a message made ready by the Encoder for any number of outboxes.
type Frame any

// Encoder makes the messages of a room. It must not block.
type Encoder interface {
	Delta(Delta) Frame                    // for members of protocol 2
	Map(meetingID string, r Roster) Frame // for members of protocol 1
	State(meetingID string, rev int64, s State) Frame
	Notice(meetingID string, n Notice) Frame
	Lobby(meetingID string, rev int64, waiting []Waiter) Frame // for hosts
	Decided(meetingID string, admitted bool) Frame             // for who waits
	Advice(meetingID string, a pairs.Advice) Frame             // for who is to mend a pair
	Matrix(meetingID string, t pairs.Table) Frame              // for those who lead
	Size(Frame) int                                            // in bytes
	Marshal(Frame) []byte                                      // for the way to another node
	Unmarshal([]byte) (Frame, error)
}

// Outbox leads to one member's client. No method may block, and Send keeps the order
// of its calls.
type Outbox interface {
	Send(Frame) bool
	// Track marks what has been sent so far. Member.Confirmed is to be told once the client
	// has confirmed it; Confirm asks for that early.
	Track() uint64
	Confirm()
	// Overrun ends the connection as one that does not read what it is sent.
	Overrun()
	// Cut tells the client that its seat is gone, and closes the connection.
	Cut(reason string)
}

// Loader reads a meeting's roster from the store, blobs and all.
type Loader func(ctx context.Context, meetingID string) (Roster, error)

// SpokenLoader reads from the store what was said after one revision and not after
// another, in order.
type SpokenLoader func(ctx context.Context, meetingID string, after, upTo int64) ([]Change, error)

// Options of Rooms. Zero fields take the defaults named.
type Options struct {
	NodeID     string        // this node: participants with it are local
	DeltaEvery time.Duration // least time between two deltas of a room; 20 ms
	MapEvery   time.Duration // least time between two maps of a room; 250 ms
	TableEvery time.Duration // least time between two tables of who hears whom; 1 s
	HealAfter  time.Duration // how long a hole may stay; 300 ms
	QueueLimit int           // messages kept for a member that is away; 128, half of them of one sender
	QueueBytes int           // and their bytes; 512 KiB, likewise
	SentLimit  int           // signals that a connection need not have confirmed; 1,000
	SentBytes  int           // and their bytes; 512 KiB
	Shares     bool          // one sender has at most a quarter of SentLimit and SentBytes

	// Watch has this node told of a meeting's changes, as soon as what it returns is
	// closed; Unwatch ends that. Both only note the wish. Nil: there is no other node.
	Watch   func(meetingID string) <-chan struct{}
	Unwatch func(meetingID string)

	// Spoken finds what was said in a meeting and did not arrive. Nil: nothing is said.
	Spoken SpokenLoader
}

// watchTimeout is how long a room waits for Watch. What it misses then it finds in
// the store.
const watchTimeout = 500 * time.Millisecond

// Rooms are the meetings that someone on this node is in.
type Rooms struct {
	encoder Encoder
	load    Loader
	opts    Options
	stats   Stats

	mu    sync.Mutex
	rooms map[string]*Room
}

// New makes an empty set of rooms.
func New(encoder Encoder, load Loader, opts Options) *Rooms {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&opts.DeltaEvery, 20*time.Millisecond)
	def(&opts.MapEvery, 250*time.Millisecond)
	def(&opts.TableEvery, time.Second)
	def(&opts.HealAfter, 300*time.Millisecond)
	opts.QueueLimit, opts.QueueBytes = cmp.Or(opts.QueueLimit, 128), cmp.Or(opts.QueueBytes, 512<<10)
	opts.SentLimit, opts.SentBytes = cmp.Or(opts.SentLimit, 1000), cmp.Or(opts.SentBytes, 512<<10)
	if opts.Watch == nil {
		listening := make(chan struct{})
		close(listening)
		opts.Watch = func(string) <-chan struct{} { return listening }
		opts.Unwatch = func(string) {}
	}
	return &Rooms{encoder: encoder, load: load, opts: opts, rooms: map[string]*Room{}}
}

// Count is the number of rooms.
func (r *Rooms) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rooms)
}

// Has reports whether this node has the meeting's room.
func (r *Rooms) Has(meetingID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rooms[meetingID] != nil
}

// Acquire returns the meeting's room, loaded. The room lives until Release, and
// after it as long as a participant of this node is in it.
func (r *Rooms) Acquire(ctx context.Context, meetingID string) (*Room, error) {
	room := r.Open(meetingID)
	if err := room.Load(ctx); err != nil {
		r.Release(room)
		return nil, err
	}
	return room, nil
}

// Open returns the meeting's room, which may not be loaded yet: until it is, signals of
// other nodes wait in it. It lives as long as one that Acquire returns.
func (r *Rooms) Open(meetingID string) *Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.rooms[meetingID]
	if room == nil {
		room = newRoom(r, meetingID)
		room.listening = r.opts.Watch(meetingID)
		r.rooms[meetingID] = room
	}
	room.holders++
	room.uses++
	return room
}

// Release gives back what Acquire gave. The last one to do so looks whether anybody is left, without
// the lock of the map; if somebody else has used the room meanwhile, that is theirs to do.
func (r *Rooms) Release(room *Room) {
	r.mu.Lock()
	room.holders--
	last, uses := room.holders == 0, room.uses
	r.mu.Unlock()
	if !last || room.local() {
		return
	}
	r.mu.Lock()
	unused := room.holders == 0 && room.uses == uses && r.rooms[room.id] == room
	if unused {
		delete(r.rooms, room.id)
		r.opts.Unwatch(room.id)
	}
	r.mu.Unlock()
	if unused {
		room.end()
	}
}

// hold returns the meeting's room, if this node has one, until Release.
func (r *Rooms) hold(meetingID string) *Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.rooms[meetingID]
	if room != nil {
		room.holders++
		room.uses++
	}
	return room
}

// retain is hold for a room that may have been given up.
func (r *Rooms) retain(room *Room) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms[room.id] != room {
		return false
	}
	room.holders++
	room.uses++
	return true
}

// all are the rooms that there are.
func (r *Rooms) all() []*Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.rooms))
}

// Apply brings changes to the meeting's room, if this node has one.
func (r *Rooms) Apply(meetingID string, changes ...Change) {
	if room := r.hold(meetingID); room != nil {
		room.apply(changes...)
		r.Release(room)
	}
}

// Refresh reads the meeting's roster again, if this node has its room: for who
// knows that the store went on and does not know the change.
func (r *Rooms) Refresh(ctx context.Context, meetingID string) error {
	room := r.hold(meetingID)
	if room == nil {
		return nil
	}
	defer r.Release(room)
	return room.reload(ctx, true)
}

// Revs are the revisions that the rooms have reached.
func (r *Rooms) Revs() map[string]int64 {
	all := r.all()
	revs := make(map[string]int64, len(all))
	for _, room := range all {
		if rev, loaded := room.reached(); loaded {
			revs[room.id] = rev
		}
	}
	return revs
}

// Stray is a seat whose connection is here though the roster says otherwise.
type Stray struct {
	MeetingID, PeerID, ConnID string
	Member                    *Member
}

// Strays lists the seats with a connection of this node that the roster has away,
// or at another node.
func (r *Rooms) Strays() []Stray {
	var strays []Stray
	for _, room := range r.all() {
		room.mu.Lock()
		for _, s := range room.peers {
			if m := s.member; m != nil && m.started && (!s.Online || s.NodeID != r.opts.NodeID) {
				strays = append(strays, Stray{room.id, s.PeerID, m.connID, m})
			}
		}
		room.mu.Unlock()
	}
	return strays
}
