package participants

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"signald/internal/fault"
	"signald/internal/store"
)

// A join whose answer is lost is asked for again. A seat is known by the token with which it was taken last:
// for a first join that is the attempt, a secret of the client's own, or else the ticket of the lobby.

// errAsksAgain: the join's own seat is in its way.
var errAsksAgain = fault.New(fault.UserInUse)

// attempt is the secret of this join by which its client asks for it again; empty for none.
func (a *admission) attempt() string {
	secret := a.join.Attempt
	if secret == "" {
		secret = a.join.Ticket
	}
	if secret == "" || a.join.Version < 2 {
		return ""
	}
	return a.join.MeetingID + "\x00" + secret
}

// firstPrevious stands for the token before the first one of a seat. A ticket is believed to be a secret once
// it was that of a place in the lobby.
func (a *admission) firstPrevious() []byte {
	switch {
	case a.join.Version < 2:
		return nil
	case a.join.Attempt != "", a.entered && a.join.Ticket != "":
		return HashSecret(a.attempt())
	default:
		return noAnswer(a.peerID)
	}
}

// noAnswer stands for the token before the first one where there is none: the client has not confirmed the
// answer to its join. It is the hash of nothing.
func noAnswer(peerID string) []byte { return []byte("no answer yet: " + peerID) }

// isOurs reports whether the join has come to this seat before.
func (a *admission) isOurs(p store.Participant) bool {
	return a.attempt() != "" && sameHash(p.PreviousHash, HashSecret(a.attempt()))
}

// unanswered finds a seat of the same person that isUnanswered; nil: there is none.
func (a *admission) unanswered(ctx context.Context, tx *store.Tx) (*store.Participant, error) {
	same, err := tx.ByUser(ctx, a.join.UserID)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(same, a.isUnanswered); i >= 0 {
		return &same[i], nil
	}
	return nil, nil
}

// isUnanswered reports whether the same person has taken a seat without getting the answer, with a client that
// names no attempts: its connection, from the same network, was gone before it had confirmed anything. Nobody
// knows the seat's token then, so it gives way where it is in the way.
func (a *admission) isUnanswered(p store.Participant) bool {
	network := store.Network(a.conn.IP)
	return a.join.Version >= 2 && p.UserID == a.join.UserID && p.Verified == (a.role != "") && network != "" && store.Network(p.IP) == network &&
		p.State == store.Away && p.Role != Host && bytes.Equal(p.PreviousHash, noAnswer(p.PeerID))
}

// seatedBefore refuses a newcomer whose ticket or attempt has come to a seat: it is to have that.
func (a *admission) seatedBefore(ctx context.Context, tx *store.Tx) error {
	if a.attempt() == "" {
		return nil
	}
	_, err := tx.ByResume(ctx, HashSecret(a.attempt()))
	switch {
	case err == nil:
		return errAsksAgain
	case errors.Is(err, store.ErrParticipantNotFound):
		return nil
	default:
		return err
	}
}

// mayBeAskedAgain reports whether a join was refused though its own seat may be the reason: its client has
// asked before, and the answer was lost.
func (a *admission) mayBeAskedAgain(err error) bool {
	var refused *fault.Error
	return a.attempt() != "" && (errors.As(err, &refused) || errors.Is(err, store.ErrParticipantExists))
}

// askAgain gives the client of a refused join the seat that it has already; without one the refusal stays.
func (s *Service) askAgain(ctx context.Context, a *admission, refused error) error {
	if known, err := s.isToken(ctx, a.join.MeetingID, a.attempt()); err != nil {
		return err
	} else if !known {
		return refused
	}
	a.askedAgain = true
	err := s.store.InMeeting(ctx, a.join.MeetingID, a.decide)
	if errors.Is(err, fault.New(fault.ResumeExpired)) || errors.Is(err, fault.New(fault.MeetingEnded)) {
		a.who = store.Participant{}
		return refused
	}
	return err
}

// Secrets of a client that has named its attempt are made from it, so that a client which asks again gets
// the same ones.
func (a *admission) firstAdmission() string {
	if a.attempt() == "" {
		return newAdmissionToken()
	}
	return "at_" + derived(a.attempt(), "admission")
}

func (a *admission) firstTicket() (id, ticket string) {
	if a.join.Attempt == "" {
		id = newTicketID()
		return id, newTicket(id)
	}
	id = "w_" + strings.ToLower(derived(a.attempt(), "ticket id"))[:16]
	return id, id + "." + derived(a.attempt(), "ticket")
}
