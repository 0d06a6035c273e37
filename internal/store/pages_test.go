package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"signald/internal/store"
)

// Whatever cannot be cleaned up at the beginning of a list, what comes after it is looked at, too.
func TestListsOfLeftoversReachTheirEndPageByPage(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, db.url(t))
			ctx := t.Context()
			const meetings, pages, each = 3, 5, 4
			past := time.Now().Add(-time.Minute)
			for m := range meetings {
				id := fmt.Sprint("m", m)
				_, err := s.CreateMeeting(ctx, store.NewMeeting{ID: id, CreatedAt: past.Add(-time.Hour), ExpiresAt: &past})
				if err != nil {
					t.Fatal(err)
				}
				err = s.InMeeting(ctx, id, func(ctx context.Context, tx *store.Tx) error {
					for i := range pages * each {
						name := fmt.Sprintf("%s-%02d", id, i)
						p := store.Participant{PeerID: name, ConnID: name, NodeID: "dead", State: store.Online}
						if i%2 == 0 {
							p.State, p.AwaySince = store.Away, &past // all in the same moment
						}
						if err := tx.Insert(ctx, p); err != nil {
							return err
						}
						if err := tx.Wait(store.Waiting{TicketID: name, TicketHash: []byte(name), NodeID: "dead", State: store.Waits}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			const all = meetings * pages * each
			for _, page := range []int{1, each - 1, each, all, all + 1} {
				s.ReadPagesOf(page)
				abandoned, err := s.Abandoned(ctx, []string{"live"})
				distinct(t, "abandoned", abandoned, err, all/2, func(p store.Presence) string { return p.PeerID })
				away, err := s.AwayBefore(ctx, time.Now())
				distinct(t, "away", away, err, all/2, func(p store.Presence) string { return p.PeerID })
				gone, err := s.Gone(ctx, []string{"live"})
				distinct(t, "gone from lobbies", gone, err, all, func(g store.Gone) string { return g.TicketID })
				expired, err := s.Expired(ctx, past.Add(-time.Second), time.Now())
				distinct(t, "expired", expired, err, meetings, func(id string) string { return id })
			}
		})
	}
}

func distinct[T any](t *testing.T, what string, list []T, err error, want int, key func(T) string) {
	t.Helper()
	keys := map[string]bool{}
	for _, item := range list {
		keys[key(item)] = true
	}
	if err != nil || len(list) != want || len(keys) != want {
		t.Errorf("%s: %d rows, %d of them distinct, want %d: %v", what, len(list), len(keys), want, err)
	}
}
