package store_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"signald/internal/store"
)

// BenchmarkJoinTx is a join as it is decided: capacity, second login, insert, revision. Everyone leaves,
// in one transaction, when the eight seats are taken.
func BenchmarkJoinTx(b *testing.B) {
	for _, db := range databases {
		b.Run(db.name, func(b *testing.B) {
			s := open(b, db.url(b))
			for i := range 64 {
				if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: fmt.Sprint("k", i)}); err != nil {
					b.Fatal(err)
				}
			}
			var people atomic.Int64
			b.Run("alone", func(b *testing.B) {
				for b.Loop() {
					joinOnce(b, s, "k0", people.Add(1))
				}
			})
			for _, meetings := range []int64{1, 64} {
				b.Run(fmt.Sprintf("32 callers, %d meetings", meetings), func(b *testing.B) {
					b.SetParallelism(16) // times GOMAXPROCS
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							n := people.Add(1)
							joinOnce(b, s, fmt.Sprint("k", n%meetings), n)
						}
					})
				})
			}
		})
	}
}

var blob = bytes.Repeat([]byte("v=0\r\n"), 600)

func joinOnce(b *testing.B, s *store.Store, meeting string, n int64) {
	user := fmt.Sprint("u", n)
	err := s.InMeeting(context.Background(), meeting, func(ctx context.Context, tx *store.Tx) error {
		if tx.Count() >= 8 {
			all, err := tx.Participants(ctx)
			if err != nil {
				return err
			}
			for _, p := range all {
				if err := tx.Delete(ctx, p.PeerID, "leave"); err != nil {
					return err
				}
			}
		}
		if _, err := tx.ByUser(ctx, user); err != nil {
			return err
		}
		tx.NextRev()
		return tx.Insert(ctx, store.Participant{PeerID: "p_" + user, UserID: user, SDP: blob, State: store.Online, ResumeHash: []byte(user)})
	})
	if err != nil {
		b.Error(err)
	}
}

func BenchmarkCreateMeeting(b *testing.B) {
	for _, db := range databases {
		b.Run(db.name, func(b *testing.B) {
			s := open(b, db.url(b))
			n := 0
			for b.Loop() {
				n++
				if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: fmt.Sprint("k", n), Name: "name"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, db := range databases {
		b.Run(db.name, func(b *testing.B) {
			s := open(b, db.url(b))
			createK(b, s)
			for i := range 8 {
				joinOnce(b, s, "k", int64(i))
			}
			for b.Loop() {
				if _, all, err := s.Snapshot(context.Background(), "k"); err != nil || len(all) != 8 {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}
