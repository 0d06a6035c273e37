package participants

import (
	"context"
	"errors"
	"slices"
	"time"

	"signald/internal/fault"
	"signald/internal/rooms"
	"signald/internal/store"
)

// vacate is takeOut for who may return, as the same and in the same role: the
// others are told that it has left. What it is in the meeting is kept for the
// grace time, a host's office too: nobody takes over from a page that is reloaded.
func vacate(ctx context.Context, tx *store.Tx, p store.Participant) ([]rooms.Change, error) {
	changes := leftOf(tx, p.PeerID, ReasonLeave, nil)
	now := time.Now()
	p.State, p.AwaySince = store.Returning, &now
	return changes, tx.Update(ctx, p)
}

// comeAnew gives a seat to a page that has been loaded anew: the others connect to
// it as to someone who has just joined. If they do not know yet that the page before
// it is gone, they are told now.
func (a *admission) comeAnew(ctx context.Context, tx *store.Tx) error {
	returning := a.who.State == store.Returning
	if returning {
		if err := a.mayReturn(ctx, tx); err != nil {
			return err
		}
	} else {
		a.changes = append(a.changes, rooms.Change{
			Rev: tx.NextRev(), Kind: rooms.Left, Peer: rooms.Peer{PeerID: a.who.PeerID}, Reason: ReasonReplaced,
		})
	}
	a.cameFrom = "" // what is kept there is for connections that are no more
	a.who.JoinedAt, a.who.Fingerprint, a.who.Media = time.Now(), a.join.Fingerprint, store.Media{}
	a.take(tx.State())
	a.changed(tx, rooms.Joined, a.who, "")
	if err := tx.Update(ctx, a.who); err != nil {
		return err
	}
	if returning && a.who.Role == Host && tx.State().Live.Acting != a.who.PeerID {
		return a.winBack(ctx, tx)
	}
	return nil
}

// mayReturn asks what may have come to pass since it left: someone else has the last
// place, or it was removed with its other connections.
func (a *admission) mayReturn(ctx context.Context, tx *store.Tx) error {
	if kind, err := removed(ctx, tx, a.who); err != nil {
		return err
	} else if kind != "" {
		return refusal(kind)
	}
	limit := tx.State().Policy.MaxPeers
	if a.who.Role == Host {
		limit++
	}
	if tx.Count() >= limit {
		return fault.New(fault.MeetingFull)
	}
	return nil
}

// findReturning finds one who has left and may return.
func findReturning(ctx context.Context, tx *store.Tx, peerID string) (store.Participant, error) {
	list, err := tx.Returning(ctx)
	if err != nil {
		return store.Participant{}, err
	}
	i := slices.IndexFunc(list, func(p store.Participant) bool { return p.PeerID == peerID })
	if i < 0 {
		return store.Participant{}, store.ErrParticipantNotFound
	}
	return list[i], nil
}

// removed tells of one that has left whether it was removed since, with its other
// connections, and how.
func removed(ctx context.Context, tx *store.Tx, p store.Participant) (kind string, err error) {
	if rooms.Leads(p.Role) {
		return "", nil
	}
	bans, err := tx.Bans(ctx)
	if err != nil {
		return "", err
	}
	for _, b := range bans {
		if b.Match(p.Person(), time.Now()) == store.Same {
			return b.Kind, nil
		}
	}
	return "", nil
}

// giveUp ends the wait for one who has not returned. Everybody knows that it has
// left; but only now may somebody else be the host.
func (s *Service) giveUp(ctx context.Context, gone store.Presence) error {
	var changes []rooms.Change
	err := s.store.InMeeting(ctx, gone.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		changes = nil
		p, err := findReturning(ctx, tx, gone.PeerID)
		if err != nil {
			return err
		}
		if p.ConnID != gone.ConnID {
			return store.ErrParticipantNotFound
		}
		if err := tx.Delete(ctx, p.PeerID, ReasonLeave); err != nil {
			return err
		}
		if gone, err := removed(ctx, tx, p); err != nil {
			return err
		} else if gone != "" {
			tx.Unread(p.PeerID)
		}
		if live := &tx.State().Live; live.Acting == p.PeerID {
			live.Acting, live.ActingWas = "", ""
		}
		if p.Role == Host {
			changes, err = succeed(ctx, tx)
		}
		return err
	})
	if errors.Is(err, store.ErrMeetingNotFound) || errors.Is(err, store.ErrParticipantNotFound) {
		return nil // it has returned, or another node was faster
	}
	return s.settle(ctx, gone.MeetingID, changes, err)
}
