package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"signald/internal/store"
)

func message(id, from, to string) *store.Message {
	return &store.Message{ID: id, ClientID: "c-" + id, From: from, Name: "王 of " + from, To: to, Text: "line 1\n行 2 🙂", Meta: []byte(`{"a": 1.50 }`), At: start}
}

// say says them all in one transaction.
func say(t *testing.T, s *store.Store, meetingID string, list ...*store.Message) {
	t.Helper()
	must(t, s.InMeeting(ctx, meetingID, func(_ context.Context, tx *store.Tx) error {
		for _, m := range list {
			if err := tx.Say(m); err != nil {
				return err
			}
		}
		return nil
	}))
}

func revoke(t *testing.T, s *store.Store, meetingID, id string) {
	t.Helper()
	must(t, s.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		m, err := tx.Message(ctx, id)
		if err == nil {
			tx.Revoke(&m)
		}
		return err
	}))
}

func missed(t *testing.T, s *store.Store, peerID string, after int64, limit int, own bool) []string {
	t.Helper()
	list, err := s.Messages(ctx, "k", peerID, after, limit, own)
	must(t, err)
	return messageIDs(list)
}

func messageIDs(list []store.Message) []string {
	ids := []string{}
	for _, m := range list {
		id := m.ID
		if m.Revoked {
			id += " revoked"
		}
		ids = append(ids, id)
	}
	return ids
}

func messageIsReadBackAsSaid(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	said := message("m1", "p_a", "")
	bare := &store.Message{ID: "m2", ClientID: "c", From: "p_a", To: "p_b", At: start}
	say(t, s, "k", said, bare)
	equal(t, "revs", []int64{said.Rev, bare.Rev}, []int64{3, 4})
	list, err := s.Messages(ctx, "k", "p_b", 0, 10, false)
	must(t, err)
	equal(t, "messages", list, []store.Message{*said, *bare})
	m, err := s.MessageByClient(ctx, "p_a", "c-m1")
	must(t, err)
	equal(t, "by client id", m, *said)
	if _, err := s.MessageByClient(ctx, "p_b", "c-m1"); !errors.Is(err, store.ErrMessageNotFound) {
		t.Errorf("another's: %v", err)
	}
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "rev", st.Rev, int64(4))
}

func everyoneIsDeliveredWhatWasSaidToThemAfterTheyJoined(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	say(t, s, "k", message("to all", "p_a", ""), message("to b", "p_a", "p_b"))
	join(t, s, "k", newParticipant("p_late"))
	say(t, s, "k", message("again", "p_b", ""), message("to late", "p_a", "p_late"))
	equal(t, "b", missed(t, s, "p_b", 0, 10, false), []string{"to all", "to b"})
	equal(t, "late", missed(t, s, "p_late", 0, 10, false), []string{"again", "to late"})
	equal(t, "a", missed(t, s, "p_a", 0, 10, false), []string{"again"})
	equal(t, "a, its own as well", missed(t, s, "p_a", 0, 10, true), []string{"to all", "to b", "again", "to late"})
	equal(t, "nobody", missed(t, s, "p_nobody", 0, 10, true), []string{})
	create(t, s, "other")
	list, err := s.Messages(ctx, "other", "p_b", 0, 10, true)
	must(t, err)
	equal(t, "of another meeting", len(list), 0)
}

func missedMessagesComeInPages(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	for i := range 7 {
		say(t, s, "k", message(fmt.Sprint("m", i), "p_a", ""))
	}
	var pages []int
	var all []string
	for after := int64(0); ; {
		list, err := s.Messages(ctx, "k", "p_b", after, 3, false)
		must(t, err)
		if len(list) == 0 {
			break
		}
		pages, all, after = append(pages, len(list)), append(all, messageIDs(list)...), list[len(list)-1].Rev
	}
	equal(t, "pages", pages, []int{3, 3, 1})
	equal(t, "messages", all, []string{"m0", "m1", "m2", "m3", "m4", "m5", "m6"})
}

func revokedMessageIsEmptyAndSaidToWhoHadIt(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	first, second := message("m1", "p_a", ""), message("m2", "p_a", "")
	say(t, s, "k", first, second)
	revoke(t, s, "k", "m1")
	equal(t, "of who had both", missed(t, s, "p_b", second.Rev, 10, false), []string{"m1 revoked"})
	equal(t, "of who had none", missed(t, s, "p_b", 0, 10, false), []string{"m1 revoked", "m2"})
	list, err := s.MessagesBetween(ctx, "k", second.Rev, second.Rev+1)
	must(t, err)
	equal(t, "between", messageIDs(list), []string{"m1 revoked"})
	if m := list[0]; m.Text != "" || m.Meta != nil || m.LastRev != second.Rev+1 || m.Rev != first.Rev {
		t.Errorf("revoked: %+v", m)
	}
	list, err = s.MessagesBetween(ctx, "k", 2, second.Rev)
	must(t, err)
	equal(t, "before", messageIDs(list), []string{"m1 revoked", "m2"})
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Message(ctx, "m3"); !errors.Is(err, store.ErrMessageNotFound) {
			t.Errorf("unknown: %v", err)
		}
		return nil
	}))
}

func sameMessageTwiceIsOneMessage(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"))
	first := message("m1", "p_a", "")
	say(t, s, "k", first)
	again := message("m2", "p_a", "")
	again.ClientID = first.ClientID
	err := s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error {
		other := message("m3", "p_a", "")
		must(t, tx.Say(other))
		return tx.Say(again)
	})
	if !errors.Is(err, store.ErrMessageExists) {
		t.Errorf("said twice: %v", err)
	}
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "rev", st.Rev, first.Rev)
	equal(t, "messages", missed(t, s, "p_a", 0, 10, true), []string{"m1"})
}

func rolledBackMessageWasNeverSaid(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"))
	no := errors.New("no")
	err := s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Say(message("m1", "p_a", "")))
		if _, err := tx.Message(ctx, "m1"); err != nil { // it has reached the database
			t.Error(err)
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Error(err)
	}
	equal(t, "messages", missed(t, s, "p_a", 0, 10, true), []string{})
	for _, bad := range []*store.Message{{ID: "m", From: "p_a", Text: "a\x00b"}, {ID: "m", From: "p_a", ClientID: "\xff"}} {
		err := s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error { return tx.Say(bad) })
		if !errors.Is(err, store.ErrBadText) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func messagesGoWithTheLast(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	say(t, s, "k", message("m1", "p_a", ""))
	out := func(peerID string) {
		must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { return tx.Delete(ctx, peerID, "leave") }))
	}
	all := func() []string {
		list, err := s.MessagesBetween(ctx, "k", 0, 1<<40)
		must(t, err)
		return messageIDs(list)
	}
	out("p_a")
	equal(t, "with one left", all(), []string{"m1"})
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { // changing places is not leaving
		must(t, tx.Delete(ctx, "p_b", "leave"))
		return tx.Insert(ctx, newParticipant("p_b"))
	}))
	equal(t, "with another in its place", all(), []string{"m1"})
	out("p_b")
	equal(t, "with nobody", all(), []string{})
	join(t, s, "k", newParticipant("p_a"))
	said := message("m2", "p_a", "")
	say(t, s, "k", said)
	if said.Rev < 4 {
		t.Errorf("rev %d was given before", said.Rev)
	}
	equal(t, "afterwards", all(), []string{"m2"})
	sweep(t, s)
	equal(t, "when the others are deleted", all(), []string{"m2"})
}
