package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/store"
)

func participantIsReadBackAsWritten(t *testing.T, s *store.Store) {
	create(t, s, "k")
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	full := newParticipant("p_full")
	full.SDP, full.Candidate = every, []byte(" {\"b\": 1,\n\"a\":\"\\u0000\"} ") // as text it would be refused, as JSON reordered
	full.CandidateJSON = true
	full.State, full.AwaySince = store.Away, ptr(stored(start.Add(time.Second)))
	bare := store.Participant{PeerID: "p_bare", State: store.Online, JoinedAt: stored(start.Add(time.Minute))}
	other := bare
	other.PeerID = "p_other" // a second one without a token
	join(t, s, "k", full, bare, other)

	full.MeetingID, bare.MeetingID, other.MeetingID = "k", "k", "k"
	st, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "snapshot", everyone, []store.Participant{full, bare, other})
	equal(t, "rev", st.Rev, int64(3))

	_, _, count, err := s.Meeting(ctx, "k")
	must(t, err)
	equal(t, "participants", count, 3)

	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		full.SDPJSON, full.CandidateJSON = !full.SDPJSON, !full.CandidateJSON
		full.SDP, full.State, full.AwaySince, full.ResumeHash = nil, store.Online, nil, []byte("rotated")
		full.UserID, full.Name, full.Role, full.Protocol = "u", "n", "host", 1
		full.NodeID, full.ConnID, full.Fingerprint = "node-2", "conn-2", ""
		full.Media, full.IP, full.AdmissionHash = store.Media{Screen: true}, netip.Addr{}, []byte{0, 1}
		full.JoinedAt, full.Verified = stored(start.Add(-time.Minute)), true
		return tx.Update(ctx, full)
	}))
	p, err := s.Participant(ctx, "p_full")
	must(t, err)
	equal(t, "updated", p, full)
}

func participantIsFoundByEachKey(t *testing.T, s *store.Store) {
	create(t, s, "k")
	a, b, c := newParticipant("p_a"), newParticipant("p_b"), newParticipant("p_c")
	c.UserID = "someone else"
	b.JoinedAt = a.JoinedAt.Add(-time.Second)
	join(t, s, "k", a, b, c)
	a.MeetingID, b.MeetingID, c.MeetingID = "k", "k", "k"

	p, err := s.Participant(ctx, "p_b")
	must(t, err)
	equal(t, "by peer id", p, b)
	p, err = s.ParticipantByResume(ctx, c.ResumeHash)
	must(t, err)
	equal(t, "by token", p, c)

	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		p, err := tx.ByPeer(ctx, "p_a")
		must(t, err)
		equal(t, "by peer id", p, a)
		p, err = tx.ByResume(ctx, b.ResumeHash)
		must(t, err)
		equal(t, "by token", p, b)
		list, err := tx.ByUser(ctx, a.UserID)
		must(t, err)
		equal(t, "by user", list, []store.Participant{b, a})
		list, err = tx.ByUser(ctx, "nobody")
		must(t, err)
		equal(t, "by nobody", len(list), 0)
		if _, err = tx.ByPeer(ctx, "nobody"); !errors.Is(err, store.ErrParticipantNotFound) {
			t.Errorf("ByPeer: %v", err)
		}
		if _, err = tx.ByResume(ctx, nil); !errors.Is(err, store.ErrParticipantNotFound) {
			t.Errorf("ByResume: %v", err)
		}
		return nil
	}))
	for name, err := range map[string]error{
		"peer id": second(s.Participant(ctx, "nobody")), "token": second(s.ParticipantByResume(ctx, []byte("none"))),
		"no token": second(s.ParticipantByResume(ctx, nil)),
	} {
		if !errors.Is(err, store.ErrParticipantNotFound) {
			t.Errorf("%s: %v, want ErrParticipantNotFound", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func nothingOfADeletedParticipantStays(t *testing.T, s *store.Store) {
	create(t, s, "k")
	p := newParticipant("p_a")
	for range 2 { // the same ids and token are free again
		join(t, s, "k", p)
		must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { return tx.Delete(ctx, "p_a", "leave") }))
	}
	_, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", len(everyone), 0)
	if _, err := s.ParticipantByResume(ctx, p.ResumeHash); !errors.Is(err, store.ErrParticipantNotFound) {
		t.Errorf("by token: %v", err)
	}
}

func transactionSeesItsOwnWrites(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_old"))
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		equal(t, "count", tx.Count(), 1)
		must(t, tx.Insert(ctx, newParticipant("p_new")))
		equal(t, "count", tx.Count(), 2)
		list, err := tx.Participants(ctx)
		must(t, err)
		equal(t, "everyone", peerIDs(list), []string{"p_new", "p_old"})

		must(t, tx.Delete(ctx, "p_old", "leave"))
		equal(t, "count", tx.Count(), 1)
		list, err = tx.ByUser(ctx, "王宇")
		must(t, err)
		equal(t, "by user", peerIDs(list), []string{"p_new"})
		for name, err := range map[string]error{"delete": tx.Delete(ctx, "p_old", "leave"), "update": tx.Update(ctx, newParticipant("p_old")), "never there": tx.Delete(ctx, "p_never", "leave")} {
			if !errors.Is(err, store.ErrParticipantNotFound) {
				t.Errorf("%s: %v, want ErrParticipantNotFound", name, err)
			}
		}

		changed := list[0]
		changed.Name = "another"
		must(t, tx.Update(ctx, changed))
		got, err := tx.ByPeer(ctx, "p_new")
		must(t, err)
		equal(t, "updated", got, changed)
		return nil
	}))
	_, list, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "afterwards", peerIDs(list), []string{"p_new"})
}

var errChanged = errors.New("changed my mind")

func rollbackLeavesNothing(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_old"))
	before, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	err = s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Delete(ctx, "p_old", "leave"))
		must(t, tx.Insert(ctx, newParticipant("p_new")))
		tx.NextRev()
		tx.State().Policy.Locked = true
		if _, err := tx.Participants(ctx); err != nil { // what was written so far has reached the database
			return err
		}
		return errChanged
	})
	if !errors.Is(err, errChanged) {
		t.Errorf("InMeeting: %v, want fn's own error", err)
	}
	unchanged(t, s, before, everyone)
}

func panicLeavesNothing(t *testing.T, s *store.Store) {
	create(t, s, "k")
	before, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
			must(t, tx.Insert(ctx, newParticipant("p_new")))
			_, err := tx.Participants(ctx)
			must(t, err)
			panic("a bug")
		})
	}()
	unchanged(t, s, before, everyone)
	join(t, s, "k", newParticipant("p_new")) // the lock is free
}

func unchanged(t *testing.T, s *store.Store, state store.State, everyone []store.Participant) {
	t.Helper()
	gotState, got, err := s.Snapshot(ctx, state.MeetingID)
	must(t, err)
	equal(t, "state", gotState, state)
	equal(t, "roster", got, everyone)
}

func takenPeerIDOrTokenIsRefusedWhole(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "elsewhere")
	a, b := newParticipant("p_a"), newParticipant("p_b")
	join(t, s, "k", a, b)
	before, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)

	sameToken, sameID := newParticipant("p_c"), newParticipant("p_a")
	sameToken.ResumeHash, sameID.ResumeHash = a.ResumeHash, []byte("new")
	for name, change := range map[string]func(ctx context.Context, tx *store.Tx) error{
		"same id":    func(ctx context.Context, tx *store.Tx) error { return tx.Insert(ctx, sameID) },
		"same token": func(ctx context.Context, tx *store.Tx) error { return tx.Insert(ctx, sameToken) },
		"another token": func(ctx context.Context, tx *store.Tx) error {
			b := b
			b.ResumeHash = a.ResumeHash
			return tx.Update(ctx, b)
		},
	} {
		err := s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
			must(t, tx.Insert(ctx, newParticipant("p_with")))
			tx.NextRev()
			return change(ctx, tx)
		})
		if !errors.Is(err, store.ErrParticipantExists) {
			t.Errorf("%s: %v, want ErrParticipantExists", name, err)
		}
		unchanged(t, s, before, everyone)
	}
	err = s.InMeeting(ctx, "elsewhere", func(ctx context.Context, tx *store.Tx) error { return tx.Insert(ctx, sameID) })
	if !errors.Is(err, store.ErrParticipantExists) {
		t.Errorf("same id in another meeting: %v, want ErrParticipantExists", err)
	}
}

func swallowedRefusalDoesNotCommit(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"))
	before, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	err = s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Insert(ctx, newParticipant("p_b")))
		must(t, tx.Insert(ctx, newParticipant("p_a")))
		if _, err := tx.Participants(ctx); !errors.Is(err, store.ErrParticipantExists) {
			t.Errorf("read after a refused write: %v, want ErrParticipantExists", err)
		}
		return nil
	})
	if !errors.Is(err, store.ErrParticipantExists) {
		t.Errorf("InMeeting: %v, want ErrParticipantExists", err)
	}
	unchanged(t, s, before, everyone)
}

func otherMeetingsParticipantsAreOutOfReach(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "other")
	p := newParticipant("p_a")
	join(t, s, "other", p)
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		_, byPeer := tx.ByPeer(ctx, "p_a")
		_, byResume := tx.ByResume(ctx, p.ResumeHash)
		for name, err := range map[string]error{"ByPeer": byPeer, "ByResume": byResume, "Update": tx.Update(ctx, p), "Delete": tx.Delete(ctx, "p_a", "leave")} {
			if !errors.Is(err, store.ErrParticipantNotFound) {
				t.Errorf("%s: %v, want ErrParticipantNotFound", name, err)
			}
		}
		equal(t, "count", tx.Count(), 0)
		return nil
	}))
}

func stateIsSaved(t *testing.T, s *store.Store) {
	create(t, s, "k")
	want := store.State{
		Policy: store.Policy{Locked: true, Lobby: true, MaxPeers: 1000}, PasswordHash: []byte{0xff, 0}, HostKeyHash: []byte("new"),
		ExpiresAt: ptr(stored(start)), Rev: 1, Live: store.Live{Spotlight: "p_a", Acting: "p_b", ActingWas: "guest"},
	}
	must(t, s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error {
		want.MeetingID, want.CreatedAt = tx.State().MeetingID, tx.State().CreatedAt
		equal(t, "rev", tx.NextRev(), int64(1))
		*tx.State() = want
		return nil
	}))
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "state", st, want)

	must(t, s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error {
		tx.State().PasswordHash, tx.State().ExpiresAt = nil, nil
		return nil
	}))
	want.PasswordHash, want.ExpiresAt = nil, nil
	_, st, _, err = s.Meeting(ctx, "k")
	must(t, err)
	equal(t, "state with nothing optional", st, want)

	err = s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error { tx.State().Rev--; return nil })
	if err == nil {
		t.Error("a revision was set back")
	}
}

var errFull = errors.New("full")

func fullMeetingStaysFull(t *testing.T, s *store.Store) {
	const seats, callers = 8, 64
	create(t, s, "k")
	var in, out atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			err := s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
				if tx.Count() >= seats {
					return errFull
				}
				tx.NextRev()
				return tx.Insert(ctx, newParticipant(fmt.Sprint("p_", i)))
			})
			switch {
			case err == nil:
				in.Add(1)
			case errors.Is(err, errFull):
				out.Add(1)
			default:
				t.Errorf("join: %v", err)
			}
		})
	}
	wg.Wait()
	equal(t, "seated", in.Load(), int64(seats))
	equal(t, "refused", out.Load(), int64(callers-seats))
	st, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", len(everyone), seats)
	equal(t, "rev", st.Rev, int64(seats))
}

func revNeverRepeats(t *testing.T, s *store.Store) {
	const callers, each = 16, 10
	create(t, s, "k")
	var mu sync.Mutex
	var revs []int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range each {
				var rev int64
				err := s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error {
					rev = tx.NextRev()
					if (i+n)%5 == 0 {
						return errChanged
					}
					return nil
				})
				if err == nil {
					mu.Lock()
					revs = append(revs, rev)
					mu.Unlock()
				} else if !errors.Is(err, errChanged) {
					t.Errorf("InMeeting: %v", err)
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(revs)
	for i, rev := range revs {
		if rev != int64(i+1) {
			t.Fatalf("revisions given: %v", revs)
		}
	}
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "rev", st.Rev, int64(len(revs)))
}

// The writer keeps as many participants as rev says, modulo 10.
func snapshotIsOfOneRev(t *testing.T, s *store.Store) {
	create(t, s, "k")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 150 {
			err := s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
				rev := tx.NextRev()
				if rev%10 != 0 {
					return tx.Insert(ctx, newParticipant(fmt.Sprint("p_", rev%10)))
				}
				for n := 1; n <= 9; n++ {
					if err := tx.Delete(ctx, fmt.Sprint("p_", n), "leave"); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		st, everyone, err := s.Snapshot(ctx, "k")
		must(t, err)
		if int64(len(everyone)) != st.Rev%10 {
			t.Fatalf("%d participants at rev %d", len(everyone), st.Rev)
		}
	}
	wg.Wait()
}

func leftoversAreListed(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "l")
	away := func(p store.Participant, since time.Duration) store.Participant {
		p.State, p.AwaySince = store.Away, ptr(stored(start.Add(since)))
		return p
	}
	on := func(node string, p store.Participant) store.Participant { p.NodeID = node; return p }
	a, b := on("n1", newParticipant("p_a")), on("n2", away(newParticipant("p_b"), 0))
	c, d := on("n2", newParticipant("p_c")), on("n3", away(newParticipant("p_d"), -time.Minute))
	join(t, s, "k", a, b)
	join(t, s, "l", c, d)
	presence := func(meeting string, p store.Participant) store.Presence {
		return store.Presence{MeetingID: meeting, PeerID: p.PeerID, ConnID: p.ConnID, NodeID: p.NodeID, State: p.State, AwaySince: p.AwaySince}
	}
	pa, pb, pc, pd := presence("k", a), presence("k", b), presence("l", c), presence("l", d)

	for _, c := range []struct {
		live []string
		want []store.Presence
	}{
		{nil, []store.Presence{pa, pc}}, // not those that are away already
		{[]string{}, []store.Presence{pa, pc}},
		{[]string{"n2"}, []store.Presence{pa}},
		{[]string{"n1", "n2", "n3", `"'],`}, nil},
	} {
		got, err := s.Abandoned(ctx, c.live)
		must(t, err)
		equal(t, fmt.Sprint("abandoned but for ", c.live), got, c.want)
	}

	for _, c := range []struct {
		before time.Duration
		want   []store.Presence
	}{
		{time.Second, []store.Presence{pd, pb}},
		{0, []store.Presence{pd}}, {-time.Minute, nil},
	} {
		got, err := s.AwayBefore(ctx, stored(start.Add(c.before)))
		must(t, err)
		equal(t, fmt.Sprint("away before ", c.before), got, c.want)
	}
}

func nodesAreSeenWhenTheyRegister(t *testing.T, s *store.Store) {
	must(t, s.RegisterNode(ctx, "n2"))
	must(t, s.RegisterNode(ctx, "n1"))
	first, err := s.Nodes(ctx)
	must(t, err)
	equal(t, "nodes", slices.Sorted(maps.Keys(first)), []string{"n1", "n2"})
	then := first
	for deadline := time.Now().Add(10 * time.Second); then["n1"].Equal(first["n1"]) && time.Now().Before(deadline); { // the store's clock has steps
		must(t, s.RegisterNode(ctx, "n1"))
		then, err = s.Nodes(ctx)
		must(t, err)
	}
	if !then["n1"].After(first["n1"]) || !then["n2"].Equal(first["n2"]) {
		t.Errorf("seen %v, then %v", first, then)
	}
	must(t, s.ForgetNode(ctx, "n1"))
	then, err = s.Nodes(ctx)
	must(t, err)
	equal(t, "nodes", slices.Sorted(maps.Keys(then)), []string{"n2"})
}

func presentAreThoseInAMeeting(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "other")
	join(t, s, "k", newParticipant("p_here"), newParticipant("p_leaves"))
	join(t, s, "other", newParticipant("p_elsewhere"))
	leave(t, s, "k", "leave", "p_leaves")
	present, err := s.Present(ctx, []string{"p_here", "p_leaves", "p_elsewhere", "p_unknown"})
	must(t, err)
	equal(t, "present", present, map[string]bool{"p_here": true, "p_elsewhere": true})
}
