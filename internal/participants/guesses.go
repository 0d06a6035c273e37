package participants

import (
	"context"
	"encoding/base64"
	"time"

	"signald/internal/fault"
	"signald/internal/limits"
	"signald/internal/protocol"
)

// Knows reports whether a join shows a secret of its meeting that nobody guesses, so that it need
// not prove that it knows the key. No: also when the store does not answer.
func (s *Service) Knows(ctx context.Context, j *protocol.Join) bool {
	a := &admission{join: j}
	var hashes [][]byte
	for _, secret := range []string{j.ResumeToken, j.PastToken, j.HostKey, j.Ticket, j.AdmissionToken, a.attempt()} {
		if secret != "" {
			hashes = append(hashes, HashSecret(secret))
		}
	}
	if len(hashes) == 0 {
		return false
	}
	known, err := s.store.HasSecret(ctx, j.MeetingID, hashes...)
	return err == nil && known
}

// guessPassword begins an attempt at the meeting's password.
func (a *admission) guessPassword(ctx context.Context) (limits.Guess, error) {
	guess, wait, ok := a.service.opts.Guesses.Begin(ctx, limits.Attempt{
		IP: a.conn.IP, Subject: subjectOf(a.join.MeetingID), Lane: a.conn.Lane, Until: a.conn.Patience,
	})
	if !ok {
		return guess, TooManyGuesses(wait)
	}
	return guess, nil
}

// TooManyGuesses refuses an attempt whose turn has not come in time.
func TooManyGuesses(wait time.Duration) error {
	return fault.New(fault.RateLimited).
		WithMessage("Too many failed attempts from your address. Wait a little and try again.").RetryAfter(wait)
}

// subjectOf names a meeting to limits, which other nodes are told of, without its key.
func subjectOf(meetingID string) string {
	return base64.RawURLEncoding.EncodeToString(HashSecret(meetingID)[:12])
}
