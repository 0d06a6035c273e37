package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"signald/internal/store"
)

func callsEndWithTheirContext(t *testing.T, s *store.Store) {
	create(t, s, "k")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancelLate := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancelLate()
	for name, call := range map[string]func(context.Context) error{
		"Snapshot":      func(ctx context.Context) error { return second(first2(s.Snapshot(ctx, "k"))) },
		"Audit":         func(ctx context.Context) error { return second(s.Audit(ctx, store.AuditQuery{})) },
		"CreateMeeting": func(ctx context.Context) error { return second(s.CreateMeeting(ctx, newMeeting("new"))) },
		"InMeeting": func(ctx context.Context) error {
			return s.InMeeting(ctx, "k", func(context.Context, *store.Tx) error { t.Error("fn ran"); return nil })
		},
		"Ping": s.Ping,
	} {
		if err := call(cancelled); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s with a cancelled context: %v, want it said and nothing else", name, err)
		}
		if err := call(late); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s after its deadline: %v, want ErrUnavailable", name, err)
		}
	}

	// Cancelled on the way, with a write that has reached the database.
	half, cancelHalf := context.WithCancel(ctx)
	err := s.InMeeting(half, "k", func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Insert(ctx, newParticipant("p_a")))
		if _, err := tx.Participants(ctx); err != nil {
			return err
		}
		cancelHalf()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before the commit: %v", err)
	}
	_, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", len(everyone), 0)
	join(t, s, "k", newParticipant("p_a"))
}

func closedStoreIsUnavailable(t *testing.T, s *store.Store) {
	create(t, s, "k")
	must(t, s.Ping(ctx))
	must(t, s.Close())
	must(t, s.Close())
	for name, err := range map[string]error{
		"Ping": s.Ping(ctx), "Snapshot": second(first2(s.Snapshot(ctx, "k"))), "RegisterNode": s.RegisterNode(ctx, "n"),
		"InMeeting": s.InMeeting(ctx, "k", nil), "CreateMeeting": second(s.CreateMeeting(ctx, newMeeting("l"))),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}
