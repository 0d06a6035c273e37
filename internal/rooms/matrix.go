package rooms

import (
	"time"

	"signald/internal/pairs"
)

// matrix is who hears whom, as far as this node has been told. It belongs to the
// room's lock.
type matrix struct {
	pairs  pairs.Matrix
	table  pairs.Table // as those who lead were last told
	rev    int64       // counts the tables; 0: there was none yet
	sluice sluice
}

// changed has the table told anew, if there is one.
func (m *matrix) changed() {
	if m.pairs.Reported() {
		m.sluice.push()
	}
}

// Report takes what a participant, of whatever node, says of its pairs. Those of this
// node who are to mend one are asked, and those who lead are told soon.
func (r *Rooms) Report(meetingID string, report pairs.Report) {
	room := r.hold(meetingID)
	if room == nil {
		return
	}
	defer r.Release(room)
	room.mu.Lock()
	defer room.unlock()
	if room.ended {
		return
	}
	members := make([]pairs.Member, 0, len(room.peers))
	for _, s := range room.peers {
		if s.Protocol >= 2 {
			members = append(members, pairs.Member{PeerID: s.PeerID, Online: s.Online})
		}
	}
	for _, a := range room.matrix.pairs.Take(report, members, time.Now()) {
		room.askLocked(a)
	}
	room.matrix.changed()
}

// askLocked asks a member to mend a pair, if it is at this node. It is asked again
// later if it is lost.
func (r *Room) askLocked(a pairs.Advice) {
	s := r.index[a.To]
	if s == nil || s.member == nil || !s.member.started {
		return
	}
	r.sendLaterLocked(lazily(256, func(e Encoder) Frame { return e.Advice(r.id, a) }), s.member.out)
	switch {
	case !a.Offer:
	case a.Action == pairs.Restart:
		r.rooms.stats.AskedRestart.Add(1)
	case a.Action == pairs.Relay:
		r.rooms.stats.AskedRelay.Add(1)
	}
}

// flushMatrix tells those who lead what is new.
func (r *Room) flushMatrix() {
	r.mu.Lock()
	defer r.unlock()
	r.matrix.sluice.opened()
	r.showMatrixLocked(true)
}

// showMatrixLocked tells those who lead who hears whom: all of them, or at once those
// who lead since a moment ago.
func (r *Room) showMatrixLocked(all bool) {
	if r.ended || !r.matrix.pairs.Reported() {
		return
	}
	var frame Frame
	renewed := false
	for _, s := range r.peers {
		m := s.member
		switch {
		case m == nil || m.protocol < 2:
		case !s.leads():
			m.table = 0 // should it lead again, it is told anew
		case m.table == 0 || all:
			if !renewed {
				r.renewTableLocked()
				renewed = true
			}
			if m.table == r.matrix.rev {
				continue
			}
			if frame == nil {
				table := r.matrix.table // whose parts are made anew, never changed
				frame = lazily(len(table.Members)*(len(table.Members)+32), func(e Encoder) Frame { return e.Matrix(r.id, table) })
			}
			m.table = r.matrix.rev
			r.tellLocked(s, frame)
		}
	}
}

// renewTableLocked makes the table what it is now.
func (r *Room) renewTableLocked() {
	var members []string
	for _, s := range r.peers {
		if s.Protocol >= 2 {
			members = append(members, s.PeerID)
		}
	}
	table := r.matrix.pairs.Table(members, time.Now())
	if r.matrix.rev == 0 || !table.Equal(r.matrix.table) {
		r.matrix.table = table
		r.matrix.rev++
	}
}

func (r *Room) brokenPairs() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.matrix.pairs.Broken(time.Now(), func(asked string) {
		if s := r.index[asked]; s != nil && s.member != nil {
			n++
		}
	})
	return n
}
