package storetest

import (
	"context"
	"testing"
	"time"

	"signald/internal/store"
)

func reloads(t *testing.T, s *store.Store, meetingID, peerID string) {
	t.Helper()
	within(t, s, meetingID, func(ctx context.Context, tx *store.Tx) {
		p, err := tx.ByPeer(ctx, peerID)
		must(t, err)
		before := tx.Count()
		p.State, p.AwaySince = store.Returning, ptr(start)
		must(t, tx.Update(ctx, p))
		equal(t, "count", tx.Count(), before-1)
	})
}

func returningIsSeenByNobodyButItsToken(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "alone")
	a, b := newParticipant("p_a"), newParticipant("p_b")
	join(t, s, "k", a, b)
	join(t, s, "alone", newParticipant("p_c"))
	reloads(t, s, "k", "p_a")
	reloads(t, s, "alone", "p_c")

	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		equal(t, "count", tx.Count(), 1)
		_, err := tx.ByPeer(ctx, "p_a")
		equal(t, "by its id", err, store.ErrParticipantNotFound)
		equal(t, "deleted by its id", tx.Delete(ctx, "p_a", "leave"), store.ErrParticipantNotFound)
		same, err := tx.ByUser(ctx, a.UserID)
		must(t, err)
		equal(t, "by its user", peerIDs(same), []string{"p_b"})
		everyone, err := tx.Participants(ctx)
		must(t, err)
		equal(t, "roster", peerIDs(everyone), []string{"p_b"})
		returning, err := tx.Returning(ctx)
		must(t, err)
		equal(t, "returning", peerIDs(returning), []string{"p_a"})
	})
	_, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", peerIDs(everyone), []string{"p_b"})
	_, _, n, err := s.Meeting(ctx, "k")
	must(t, err)
	equal(t, "counted", n, 1)
	p, err := s.ParticipantByResume(ctx, a.ResumeHash)
	must(t, err)
	equal(t, "by its token alone", p.State, store.Returning)
	live, meetings, people, err := s.LiveMeetings(ctx, 9)
	must(t, err)
	equal(t, "live", []int{len(live), meetings, people, live[0].Participants}, []int{1, 1, 1, 1})
	abandoned, err := s.Abandoned(ctx, nil)
	must(t, err)
	equal(t, "abandoned", len(abandoned), 1)
	leftovers, err := s.AwayBefore(ctx, start.Add(time.Second))
	must(t, err)
	equal(t, "to be cleaned up", len(leftovers), 2)

	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { // it is back
		p, err := tx.ByResume(ctx, a.ResumeHash)
		must(t, err)
		p.State, p.AwaySince = store.Online, nil
		must(t, tx.Update(ctx, p))
		equal(t, "count", tx.Count(), 2)
	})
	_, everyone, err = s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", peerIDs(everyone), []string{"p_a", "p_b"})
}

// Who reloads alone finds everything as it was: the meeting ends when it does not return.
func meetingGoesOnForOneThatReturns(t *testing.T, s *store.Store) {
	recorded(s)
	m := newMeeting("k")
	m.Policy.Attendance = true
	_, err := s.CreateMeeting(ctx, m)
	must(t, err)
	a := newParticipant("p_a")
	join(t, s, "k", a)
	say(t, s, "k", message("m1", "p_a", ""))
	tell(t, s)
	attendee := func() store.Attendee {
		t.Helper()
		list, err := s.Attendance(ctx, "k")
		must(t, err)
		equal(t, "attendees", len(list), 1)
		return list[0]
	}

	reloads(t, s, "k", "p_a")
	equal(t, "left", attendee().LeftAt != nil, true)
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		p, err := tx.ByResume(ctx, a.ResumeHash)
		must(t, err)
		p.State, p.AwaySince = store.Online, nil
		must(t, tx.Update(ctx, p))
	})
	equal(t, "left", attendee().LeftAt != nil, false)
	equal(t, "messages", missed(t, s, "p_a", 0, 9, true), []string{"m1"})
	equal(t, "told", kinds(tell(t, s)), []string(nil))

	reloads(t, s, "k", "p_a")
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		_, err := tx.Returning(ctx)
		must(t, err)
		must(t, tx.Delete(ctx, "p_a", "leave"))
	})
	equal(t, "told", kinds(tell(t, s)), []string{store.ParticipantLeft, store.MeetingEnded})
	list, err := s.Attendance(ctx, "k")
	must(t, err)
	equal(t, "attendees", len(list), 0)
	join(t, s, "k", a)
	equal(t, "messages", missed(t, s, "p_a", 0, 9, true), []string{})
}
