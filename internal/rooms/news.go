package rooms

import "time"

// news is what has changed since the members were last told.
type news struct {
	since, rev int64
	due        bool // a client is to hear of it: what was said is told by itself
	fresh      []note
}

type note struct {
	peerID string
	kind   Kind
	reason string
}

func (n *news) find(peerID string) *note {
	for i := range n.fresh {
		if n.fresh[i].peerID == peerID {
			return &n.fresh[i]
		}
	}
	return nil
}

func (n *news) joined(peerID string) {
	if old := n.find(peerID); old != nil {
		old.kind = Joined
		return
	}
	n.fresh = append(n.fresh, note{peerID: peerID, kind: Joined})
}

func (n *news) changed(peerID string) {
	if n.find(peerID) == nil {
		n.fresh = append(n.fresh, note{peerID: peerID, kind: Changed})
	}
}

func (n *news) left(peerID, reason string) {
	if old := n.find(peerID); old != nil {
		old.kind, old.reason = Left, reason
		return
	}
	n.fresh = append(n.fresh, note{peerID: peerID, kind: Left, reason: reason})
}

// delta puts the news into words, with the values as they are now.
func (n *news) delta(r *Room) Delta {
	d := Delta{MeetingID: r.id, Since: n.since, Rev: n.rev}
	for _, f := range n.fresh {
		if f.kind == Left {
			d.Left = append(d.Left, Departure{f.peerID, f.reason})
			continue
		}
		s := r.index[f.peerID]
		if s == nil {
			continue
		}
		if f.kind == Joined {
			d.Joined = append(d.Joined, s.Peer)
		} else {
			d.Changed = append(d.Changed, s.Peer)
		}
	}
	return d
}

// sluice lets news through at once when it is calm, and gathers it when it is
// not: open is called at most once per every. It belongs to its room's lock.
type sluice struct {
	every time.Duration
	open  func() // takes the room's lock, and says opened

	timer   *time.Timer
	last    time.Time
	pending bool
}

// push has open called, soon.
func (s *sluice) push() {
	if s.pending {
		return
	}
	s.pending = true
	wait := max(s.every-time.Since(s.last), 0)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.open)
		return
	}
	s.timer.Reset(wait)
}

func (s *sluice) opened() { s.pending, s.last = false, time.Now() }

func (s *sluice) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
