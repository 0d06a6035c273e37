package rooms

import (
	"context"
	"slices"
)

// missed reads what was said between what the room has reached and upTo. Who is
// told when it is read here was there when it was said: nobody takes a seat in a
// room that is behind its own join.
func (r *Room) missed(ctx context.Context, upTo int64) ([]Change, error) {
	reached, loaded := r.reached()
	if !loaded || reached >= upTo || r.rooms.opts.Spoken == nil {
		return nil, nil
	}
	return r.rooms.opts.Spoken(ctx, r.id, reached, upTo)
}

// speakLocked tells the members of this node what was said, after the news of who
// said it.
func (r *Room) speakLocked(s *Speech) {
	if s == nil {
		return // of a node that knows more than we do
	}
	f := lazily(len(s.Frame), func(e Encoder) Frame {
		f, err := e.Unmarshal(s.Frame)
		if err != nil {
			return nil // likewise
		}
		return f
	})
	if n := r.news.find(s.From); n != nil && n.kind == Joined {
		r.news.rev = r.rev
		r.flushDeltaLocked()
	}
	for _, p := range r.peers {
		if p.member != nil && p.PeerID != s.From && (len(s.To) == 0 || slices.Contains(s.To, p.PeerID)) {
			r.tellLocked(p, f)
		}
	}
}

// Hint tells the members of this node something that nobody needs to be told later.
func (r *Rooms) Hint(meetingID string, s Speech) {
	room := r.hold(meetingID)
	if room == nil {
		return
	}
	defer r.Release(room)
	f, err := r.encoder.Unmarshal(s.Frame)
	if err != nil {
		return
	}
	room.mu.Lock()
	defer room.unlock()
	if n := room.news.find(s.From); n != nil && n.kind == Joined {
		return // not before they know who it is
	}
	for _, p := range room.peers {
		if p.member != nil && p.member.started && p.PeerID != s.From && (len(s.To) == 0 || slices.Contains(s.To, p.PeerID)) {
			room.sendLaterLocked(f, p.member.out)
		}
	}
}
