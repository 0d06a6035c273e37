package participants_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

func TestSixtyFourJoinsIntoAMeetingOfEight(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		// Two nodes: each has joins that the other's room has to read from the store.
		nodes := []*server{serve(t, db, oneOfMany), serve(t, db, oneOfMany, named("n2"))}
		var mu sync.Mutex
		var in []guest
		refused := map[fault.Code]int{}
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				j := protocol.Join{UserID: fmt.Sprint("user ", i), Version: 2}
				g, err := nodes[i%2].tryJoin(context.Background(), j)
				for fault.CodeOf(err) == fault.Unavailable { // with a slow machine the queue is longer than a call may take
					g, err = nodes[i%2].tryJoin(context.Background(), j)
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused[fault.CodeOf(err)]++
					return
				}
				in = append(in, g)
			})
		}
		wg.Wait()
		if len(in) != 8 || refused[fault.MeetingFull] != 56 {
			t.Errorf("%d are in, refused were %v", len(in), refused)
		}
		if n := len(rows(t, db, "k")); n != 8 {
			t.Errorf("%d in the database", n)
		}
		revs := map[int64]bool{}
		for _, g := range in {
			revs[g.State.Rev] = true
			if !slices.ContainsFunc(g.Roster.Peers, func(p rooms.Peer) bool { return p.PeerID == g.Seat.PeerID }) {
				t.Errorf("%s is not in its own roster", g.Seat.PeerID)
			}
		}
		if len(revs) != 8 || !revs[1] || !revs[8] {
			t.Errorf("revs %v, want 1 to 8", revs)
		}

		must(t, nodes[0].Leave(context.Background(), in[0].Seat, false)) // and there is one seat again
		nodes[1].join(protocol.Join{UserID: "late"})
		nodes[1].refused(protocol.Join{UserID: "later"}, fault.MeetingFull)
	})
}

func TestSecondLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		s := serve(t, db)
		for i, c := range []struct {
			name  string
			with  func(first, stranger guest, j *protocol.Join)
			error fault.Code
			stays bool // the first one
		}{
			{"Refuse", func(_, _ guest, j *protocol.Join) { j.JoinType = 1 }, fault.UserInUse, true},
			{"RefuseEvenTheHost", func(_, _ guest, j *protocol.Join) { j.JoinType, j.HostKey = 1, hostKey }, fault.UserInUse, true},
			{"ReplaceWithoutRight", func(_, _ guest, j *protocol.Join) { j.JoinType = 2 }, fault.Forbidden, true},
			{"ReplaceWithAMadeUpToken", func(_, _ guest, j *protocol.Join) { j.JoinType, j.ResumeToken = 2, "rt_x" }, fault.Forbidden, true},
			{"ReplaceWithAnothersToken", func(_, stranger guest, j *protocol.Join) { j.JoinType, j.ResumeToken = 2, stranger.ResumeToken }, fault.Forbidden, true},
			{"ReplaceWithTheToken", func(first, _ guest, j *protocol.Join) { j.JoinType, j.ResumeToken = 2, first.ResumeToken }, "", false},
			{"ReplaceAsHost", func(_, _ guest, j *protocol.Join) { j.JoinType, j.HostKey = 2, hostKey }, "", false},
			{"ReplaceNobody", func(_, _ guest, j *protocol.Join) { j.JoinType, j.UserID = 2, "someone new" }, "", true},
			{"RefuseNobody", func(_, _ guest, j *protocol.Join) { j.JoinType, j.UserID = 1, "someone new" }, "", true},
			{"Coexist", func(_, _ guest, _ *protocol.Join) {}, "", true},
		} {
			t.Run(c.name, func(t *testing.T) {
				id := fmt.Sprint("k", i)
				create(t, db, id)
				s := &server{Service: s.Service, t: t, rooms: s.rooms}
				watch := s.join(protocol.Join{MeetingID: id, UserID: "watch"})
				first := s.join(protocol.Join{MeetingID: id, UserID: "王", Version: 1})
				j := protocol.Join{MeetingID: id, UserID: "王", Version: 1}
				c.with(first, watch, &j)
				if c.error != "" {
					s.refused(j, c.error)
					if n := len(rows(t, db, id)); n != 2 {
						t.Errorf("%d in the meeting", n)
					}
				} else {
					second := s.join(j)
					if second.Seat.PeerID == first.Seat.PeerID || !second.Seat.Seated() {
						t.Errorf("the second is %s, seated %v", second.Seat.PeerID, second.Seat.Seated())
					}
					eventually(t, "the others hear of the second", func() bool { p, _ := watch.changed(second.Seat.PeerID); return p.Online })
				}
				_, inStore := row(t, db, first.Seat.PeerID)
				reason, _ := watch.left(first.Seat.PeerID)
				if c.stays {
					if !inStore || !first.Seat.Seated() || len(first.wasCut()) != 0 || reason != "" {
						t.Errorf("the first: stored %v, cut %q, said to have left %q", inStore, first.wasCut(), reason)
					}
				} else if inStore || first.Seat.Seated() || !slices.Equal(first.wasCut(), []string{"replaced"}) || reason != "replaced" {
					t.Errorf("the first: stored %v, cut %q, said to have left %q", inStore, first.wasCut(), reason)
				}
			})
		}
	})
}

func TestReplacingNeedsNoFreeSeat(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 1 })
		s := serve(t, db)
		first := s.join(protocol.Join{Version: 1})
		s.refused(protocol.Join{}, fault.MeetingFull)
		s.join(protocol.Join{Version: 1, JoinType: 2, ResumeToken: first.ResumeToken})
	})
}

func TestTwoOfOneUserDoNotDeleteEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		for _, version := range []int{1, 2} {
			first, second := s.join(protocol.Join{Version: version}), s.join(protocol.Join{Version: version})
			must(t, s.Leave(context.Background(), first.Seat, false))
			if _, stored := row(t, db, second.Seat.PeerID); !stored || !second.Seat.Seated() {
				t.Errorf("protocol %d: the second went with the first", version)
			}
			s.Disconnected(context.Background(), second.Seat, "")
		}
	})
}

func TestHostKey(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "none", func(m *store.NewMeeting) { m.HostKeyHash = nil })
		s := serve(t, db)
		if g := s.join(protocol.Join{HostKey: hostKey}); g.Seat.Role != participants.Host || peer(g, g.Seat.PeerID).Role != participants.Host {
			t.Errorf("with the key: %s", g.Seat.Role)
		}
		if g := s.join(protocol.Join{}); g.Seat.Role != participants.Guest {
			t.Errorf("without: %s", g.Seat.Role)
		}
		s.refused(protocol.Join{HostKey: "hk_wrong"}, fault.Forbidden)
		s.refused(protocol.Join{MeetingID: "none", HostKey: hostKey}, fault.Forbidden)
		if n := len(rows(t, db, "k")); n != 2 {
			t.Errorf("%d in the meeting", n)
		}
	})
}

func TestPassword(t *testing.T) {
	long := strings.Repeat("长", 40) // over the 72 bytes that bcrypt reads
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.PasswordHash = hashOf(t, long+"1") })
		s := serve(t, db)
		_, err := s.tryJoin(context.Background(), protocol.Join{})
		wantCode(t, "no password", err, fault.BadPassword)
		if !strings.Contains(err.Error(), "has a password") {
			t.Errorf("who gave none is told %q", err)
		}
		s.refused(protocol.Join{Password: "wrong"}, fault.BadPassword)
		s.refused(protocol.Join{Password: long + "2"}, fault.BadPassword)
		if n := len(rows(t, db, "k")); n != 0 {
			t.Fatalf("%d in the meeting", n)
		}
		s.join(protocol.Join{Password: long + "1"})
		s.join(protocol.Join{HostKey: hostKey})

		create(t, db, "open")
		s.join(protocol.Join{MeetingID: "open", Password: "not asked for"})
	})
}

// A password is expensive to check, so a join that would be refused anyway is refused before.
func TestPasswordIsCheckedLast(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) {
			m.PasswordHash, m.Policy.MaxPeers = hashOf(t, "right"), 1
		})
		s := serve(t, db)
		s.join(protocol.Join{Password: "right"})
		s.refused(protocol.Join{Password: "wrong"}, fault.MeetingFull)
	})
}

func TestPasswordThatChangesWhileItIsChecked(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, c := range []struct {
			name string
			to   string
			want fault.Code
		}{
			{"ToAnother", "new", fault.BadPassword},
			{"ToTheSameHashedAnew", "old", ""},
			{"ToNone", "", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				id := fmt.Sprint("k", i)
				create(t, db, id, func(m *store.NewMeeting) { m.PasswordHash = hashOf(t, "old") })
				f := &flaky{Store: db}
				f.before = func(n int) {
					if n == 2 { // between the look at the hash and the decision
						set(t, db, id, func(st *store.State) {
							st.PasswordHash = nil
							if c.to != "" {
								st.PasswordHash = hashOf(t, c.to)
							}
						})
					}
				}
				s := serve(t, db, on(f))
				j := protocol.Join{MeetingID: id, Password: "old"}
				if c.want != "" {
					s.refused(j, c.want)
				} else {
					s.join(j)
				}
			})
		}
	})
}

func TestLockedMeetingRefusesAllButTheHostAndWhoReturns(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		before := s.join(protocol.Join{})
		set(t, db, "k", func(st *store.State) { st.Policy.Locked = true })
		s.refused(protocol.Join{}, fault.MeetingLocked)
		s.join(protocol.Join{HostKey: hostKey})
		s.join(protocol.Join{ResumeToken: before.ResumeToken})
	})
}

func TestExpiredMeetingHasEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		g := s.join(protocol.Join{})
		set(t, db, "k", func(st *store.State) { st.ExpiresAt = ptr(time.Now().Add(time.Hour)) })
		s.join(protocol.Join{})
		set(t, db, "k", func(st *store.State) { st.ExpiresAt = ptr(time.Now().Add(-time.Millisecond)) })
		s.refused(protocol.Join{}, fault.MeetingEnded)
		s.refused(protocol.Join{HostKey: hostKey}, fault.MeetingEnded)
		s.refused(protocol.Join{ResumeToken: g.ResumeToken}, fault.MeetingEnded)
	})
}

func TestUnknownMeetingIsNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		s := serve(t, db)
		s.refused(protocol.Join{}, fault.MeetingNotFound)
		s.refused(protocol.Join{ResumeToken: "rt_x"}, fault.MeetingNotFound)
		if s.rooms.Count() != 0 || s.Late() != 0 {
			t.Errorf("%d rooms, %d late", s.rooms.Count(), s.Late())
		}
	})
}

func TestWhatAJoinStoresAndShows(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		g := s.join(protocol.Join{
			UserID: "王宇", Name: "王宇 🎧", Fingerprint: "sha-256 1A", Media: &protocol.Media{Audio: true, Screen: true, Hand: ptr(int64(5))},
		})
		eventually(t, "the others hear of it", func() bool { p, _ := watch.changed(g.Seat.PeerID); return p.Online })
		p, stored := row(t, db, g.Seat.PeerID)
		if !stored || p.UserID != "王宇" || p.State != store.Online || p.Role != participants.Guest || p.NodeID != "n1" {
			t.Errorf("%v, %+v", stored, p)
		}
		if string(p.ResumeHash) == g.ResumeToken || !slices.Equal(p.ResumeHash, participants.HashSecret(g.ResumeToken)) {
			t.Error("the resume token is not stored as its hash")
		}
		want := rooms.Peer{
			PeerID: g.Seat.PeerID, UserID: "王宇", Name: "王宇 🎧", Role: participants.Guest, Online: true, Fingerprint: "sha-256 1A",
			Media:    rooms.Media{Audio: true, Screen: true}, // when a hand was raised is not the client's to say
			Protocol: 2, ConnID: p.ConnID, NodeID: "n1", Came: p.JoinedAt.UnixMicro(),
		}
		heard, _ := watch.changed(g.Seat.PeerID)
		if !reflect.DeepEqual(heard, want) || !reflect.DeepEqual(peer(g, g.Seat.PeerID), want) {
			t.Errorf("heard %+v\nin the room %+v\nwant %+v", heard, peer(g, g.Seat.PeerID), want)
		}
		if len(g.Seat.PeerID) != 18 || !strings.HasPrefix(g.Seat.PeerID, "p_") || !strings.HasPrefix(g.ResumeToken, "rt_") || len(g.ResumeToken) != 25 {
			t.Errorf("peer id %q, token %q", g.Seat.PeerID, g.ResumeToken)
		}
	})
}

func TestJoinThatTheStoreCannotAnswerLeavesNoGhost(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, fate := range []fate{refusedAll, undone, savedYet} {
			id := fmt.Sprint("k", i)
			create(t, db, id)
			f := &flaky{Store: db}
			s := serve(t, db, on(f), grace(100*time.Millisecond))
			watch := s.join(protocol.Join{MeetingID: id, UserID: "watch"})
			f.meet(fate)
			s.refused(protocol.Join{MeetingID: id, UserID: "ghost"}, fault.Unavailable)
			if want := map[bool]int{true: 2, false: 1}[fate == savedYet]; len(rows(t, db, id)) != want {
				t.Fatalf("fate %d: the test does not do what it says", fate)
			}
			if fate == refusedAll && s.Late() != 0 {
				t.Error("something is to be undone though nothing was begun")
			}
			stop := s.run()
			eventually(t, "the ghost is out of the store", func() bool { return len(rows(t, db, id)) == 1 && s.Late() == 0 })
			st, _, err := db.Snapshot(context.Background(), id)
			must(t, err)
			eventually(t, "the room has heard it all", func() bool { r := roster(watch); return r.Rev == st.Rev && len(r.Peers) == 1 })
			stop()
		}
	})
}

func TestJoinWhoseRoomCannotBeReadLeavesNobodyBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		away := fmt.Errorf("the test wants it so: %w", store.ErrUnavailable)
		s := serve(t, db, func(o *options) {
			o.loader = func(context.Context, string) (rooms.Roster, error) { return rooms.Roster{}, away }
		})
		s.refused(protocol.Join{}, fault.Unavailable)
		if n := len(rows(t, db, "k")); n != 0 || s.rooms.Count() != 0 {
			t.Errorf("%d in the meeting, %d rooms", n, s.rooms.Count())
		}
	})
}

func TestJoinOfWhoGaveUpLeavesNobodyBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		ctx, cancel := context.WithCancel(context.Background())
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		cancel()
		_, err := s.tryJoin(ctx, protocol.Join{Version: 2})
		wantCode(t, "given up before", err, fault.Unavailable)

		ctx, cancel = context.WithCancel(context.Background())
		defer cancel()
		s = serve(t, db, func(o *options) {
			o.loader = func(ctx context.Context, _ string) (rooms.Roster, error) { cancel(); return rooms.Roster{}, ctx.Err() }
		})
		_, err = s.tryJoin(ctx, protocol.Join{Version: 2})
		wantCode(t, "given up while the room was read", err, fault.Unavailable)
		if n := len(rows(t, db, "k")); n != 0 {
			t.Errorf("%d in the meeting", n)
		}
	})
}

func TestHostileTextIsOnlyText(t *testing.T) {
	hostile := []string{
		`'; DROP TABLE meetings;--`, `" OR ""="`, `') OR 1=1 --`, `\'; DELETE FROM participants; --`, `$1`, `%s%n`, `{{7*7}}`,
		`<script>alert(1)</script>`, `../../etc/passwd`, "NULL", "`id`", "王'宇", `%00`, `:name`, `?`,
	}
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		for _, text := range hostile {
			s.refused(protocol.Join{MeetingID: text}, fault.MeetingNotFound)
			create(t, db, text, func(m *store.NewMeeting) { m.PasswordHash = hashOf(t, text) })
			quoted := raw(fmt.Sprintf("%q", text))
			j := protocol.Join{
				MeetingID: text, UserID: text, Name: text, Password: text, Fingerprint: text, Memo: text, SDP: quoted, Candidate: quoted, Version: 1,
			}
			g := s.join(j)
			p := peer(g, g.Seat.PeerID)
			if p.UserID != text || p.Name != text || p.Fingerprint != text || string(p.SDP) != string(quoted) || string(p.Candidate) != string(quoted) {
				t.Errorf("%q came back as %+v", text, p)
			}
			must(t, s.Rename(context.Background(), g.Seat, text+text))
			if got, _ := row(t, db, g.Seat.PeerID); got.Name != text+text {
				t.Errorf("%q was renamed to %q", text, got.Name)
			}
			j.JoinType = 1
			s.refused(j, fault.UserInUse)
			j.JoinType, j.ResumeToken = 2, text
			s.refused(j, fault.Forbidden)
			j.Version = 2
			s.refused(j, fault.ResumeExpired)
			s.refused(protocol.Join{MeetingID: text, HostKey: text}, fault.Forbidden)
			s.refused(protocol.Join{MeetingID: text, Password: text + "'"}, fault.BadPassword)
			wantCode(t, "leave", s.LeaveByToken(context.Background(), text, text, false), fault.NotJoined)
			wantCode(t, "leave", s.LeaveByToken(context.Background(), text, g.ResumeToken, false), fault.NotJoined)
			_, _, err := s.Authenticate(context.Background(), text)
			wantCode(t, "authenticate", err, fault.Unauthorized)
		}
		for _, text := range []string{"a\x00b", "a\xffb"} { // past the validation, as a mistake of ours would be
			for what, j := range map[string]protocol.Join{
				"meeting": {MeetingID: text, UserID: "u"}, "user": {MeetingID: "k", UserID: text}, "user that is looked up": {MeetingID: "k", UserID: text, JoinType: 1},
				"name": {MeetingID: "k", UserID: "u", Name: text}, "fingerprint": {MeetingID: "k", UserID: "u", Fingerprint: text},
			} {
				j.Version = 2
				_, err := s.Join(context.Background(), &j, participants.Connection{ID: "c", Out: &box{}})
				wantCode(t, what, err, fault.InvalidPayload)
			}
			wantCode(t, "rename", s.Rename(context.Background(), watch.Seat, text), fault.InvalidPayload)
		}
		if n := len(rows(t, db, "k")); n != 1 || s.Late() != 0 {
			t.Errorf("%d in the meeting, %d late", n, s.Late())
		}
		if _, err := db.VerifyAudit(context.Background(), nil); err != nil {
			t.Error(err)
		}
		if _, err := db.Participant(context.Background(), watch.Seat.PeerID); errors.Is(err, store.ErrParticipantNotFound) {
			t.Error("someone uninvolved is gone")
		}
	})
}
