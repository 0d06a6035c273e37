package rooms

import "sync/atomic"

// Stats counts since the start.
type Stats struct {
	DeltaFrames, DeltaBytes atomic.Int64 // of rosters, to members of protocol 2
	MapFrames, MapBytes     atomic.Int64 // and of protocol 1
	AwayFull                atomic.Int64 // signals for which the queue of who is away had no room
	SentFull                atomic.Int64 // signals for which too many others were not confirmed yet
	Crowded                 atomic.Int64 // signals for which too many of the same sender waited
	OrderFull               atomic.Int64 // signals of other nodes that too many waited before
	AskedRestart            atomic.Int64 // members of this node to mend a pair by an ICE restart
	AskedRelay              atomic.Int64 // and through a TURN server
}

// Stats returns the counters, which go on counting.
func (r *Rooms) Stats() *Stats { return &r.stats }

// Participants is how many have their seat at this node.
func (r *Rooms) Participants() int {
	n := 0
	for _, room := range r.all() {
		n += room.participants()
	}
	return n
}

func (r *Room) participants() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.peers {
		if s.NodeID == r.rooms.opts.NodeID {
			n++
		}
	}
	return n
}

// BrokenPairs is how many pairs a member of this node is to mend.
func (r *Rooms) BrokenPairs() int {
	n := 0
	for _, room := range r.all() {
		n += room.brokenPairs()
	}
	return n
}

// String is the outcome as a word.
func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Queued:
		return "queued"
	case Gone:
		return "gone"
	case Unknown:
		return "unknown"
	case Unseated:
		return "unseated"
	case Elsewhere:
		return "elsewhere"
	case NotYet:
		return "not_yet"
	case Crowded:
		return "crowded"
	}
	return "invalid"
}
