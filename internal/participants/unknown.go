package participants

import (
	"context"
	"errors"
	"time"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

// Whatever a stranger can make up is looked for before the meeting's lock is taken, which its members wait
// for, and in SQLite everybody. What is found is decided under the lock all the same.

// nowhere says why a join cannot come to anything: its meeting or its resume token does not exist.
func (s *Service) nowhere(ctx context.Context, j *protocol.Join) error {
	comesBack := j.ResumeToken != "" && j.Version >= 2
	if comesBack {
		if known, err := s.isToken(ctx, j.MeetingID, j.ResumeToken); known || err != nil {
			return err
		}
	} else if s.rooms.Has(j.MeetingID) {
		return nil
	}
	_, st, _, err := s.store.Meeting(ctx, j.MeetingID)
	switch {
	case err != nil || !comesBack:
		return translate(err)
	case st.ExpiresAt != nil && time.Now().After(*st.ExpiresAt):
		return fault.New(fault.MeetingEnded)
	default:
		return fault.New(fault.ResumeExpired)
	}
}

// isToken reports whether there is a seat of this resume token in the meeting.
func (s *Service) isToken(ctx context.Context, meetingID, token string) (bool, error) {
	p, err := s.store.ParticipantByResume(ctx, HashSecret(token))
	if errors.Is(err, store.ErrParticipantNotFound) {
		return false, nil
	}
	return err == nil && p.MeetingID == meetingID, translate(err)
}
