package participants_test

import (
	"context"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/store"
)

const attempt = "an-attempt-of-22-letters"

// lose joins, and the client never gets the answer: its connection is gone.
func (s *server) lose(j protocol.Join) guest {
	s.t.Helper()
	g := s.join(j)
	s.Disconnected(context.Background(), g.Seat, "")
	return g
}

func TestReturnWhoseAnswerIsLostIsAskedForAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 2 })
		s, other := serve(t, db), serve(t, db, named("n2"))
		host := s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		first := s.join(protocol.Join{})
		set(t, db, "k", func(st *store.State) { st.Policy.Locked = true })
		for _, at := range []*server{s, other, s} { // lost three times, on either node
			if lost := at.lose(protocol.Join{ResumeToken: first.ResumeToken}); lost.Seat.PeerID != first.Seat.PeerID {
				t.Fatalf("it is %s, was %s", lost.Seat.PeerID, first.Seat.PeerID)
			}
		}
		back := s.join(protocol.Join{ResumeToken: first.ResumeToken})
		if back.Seat.PeerID != first.Seat.PeerID || !back.Resumed {
			t.Errorf("it came back as %s, was %s", back.Seat.PeerID, first.Seat.PeerID)
		}
		if n := len(rows(t, db, "k")); n != 2 || !host.Seat.Seated() {
			t.Errorf("%d in the meeting", n)
		}
		// The connection that is there is not cut by the clean-up of those that are lost.
		s.sweep()
		if p, _ := row(t, db, first.Seat.PeerID); p.State != store.Online || !back.Seat.Seated() {
			t.Errorf("it is %q, seated %v", p.State, back.Seat.Seated())
		}
	})
}

func TestPreviousTokenEndsOnceTheNextOneIsConfirmed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		first := s.join(protocol.Join{Attempt: attempt})
		s.Confirmed(first.Seat)
		s.sweep()
		again := s.join(protocol.Join{Attempt: attempt})
		if again.Resumed || again.Seat.PeerID == first.Seat.PeerID {
			t.Error("an attempt whose answer was confirmed is good for the seat")
		}

		back := s.join(protocol.Join{ResumeToken: first.ResumeToken})
		late := s.join(protocol.Join{ResumeToken: first.ResumeToken}) // the next one is not confirmed
		s.Confirmed(back.Seat)                                        // by a connection that has lost the seat
		s.sweep()
		if _, err := s.tryJoin(t.Context(), protocol.Join{ResumeToken: first.ResumeToken, Version: 2}); err != nil {
			t.Errorf("a former connection's word has ended the token: %v", err)
		}
		late = s.join(protocol.Join{ResumeToken: first.ResumeToken})
		s.Confirmed(late.Seat)
		s.sweep()
		s.refused(protocol.Join{ResumeToken: first.ResumeToken}, fault.ResumeExpired)
		s.join(protocol.Join{ResumeToken: late.ResumeToken})
	})
}

func TestFirstJoinWhoseAnswerIsLostIsAskedForAgain(t *testing.T) {
	for name, meeting := range map[string]func(*store.NewMeeting){
		"open":          func(*store.NewMeeting) {},
		"full":          func(m *store.NewMeeting) { m.Policy.MaxPeers = 2 },
		"with password": func(m *store.NewMeeting) { m.PasswordHash = hashOf(t, "secret") },
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				create(t, db, "k", meeting)
				s, other := serve(t, db), serve(t, db, named("n2"))
				watch := s.join(protocol.Join{UserID: "watch", HostKey: hostKey})
				j := protocol.Join{Attempt: attempt, Password: "secret", JoinType: 1}
				lost := s.lose(j)
				set(t, db, "k", func(st *store.State) { st.Policy.Locked = true }) // meanwhile
				for _, at := range []*server{other, s} {
					if back := at.lose(j); back.Seat.PeerID != lost.Seat.PeerID || !back.Resumed {
						t.Errorf("it is %s, was %s", back.Seat.PeerID, lost.Seat.PeerID)
					}
				}
				back := s.join(j)
				if n := len(rows(t, db, "k")); n != 2 || !back.Seat.Seated() || !watch.Seat.Seated() {
					t.Errorf("%d in the meeting", n)
				}
				s.refused(protocol.Join{Attempt: strings.Repeat("x", 22), UserID: "new"}, fault.MeetingLocked)

				// A person who was removed is not let in by it.
				must(t, s.moderate(watch, protocol.Moderate{Action: "kick", PeerID: back.Seat.PeerID}))
				s.refused(j, fault.Banned)
			})
		})
	}
}

func TestAttemptIsOfOneMeeting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "l")
		s := serve(t, db)
		a, b := s.join(protocol.Join{Attempt: attempt}), s.join(protocol.Join{MeetingID: "l", Attempt: attempt})
		if a.Seat.PeerID == b.Seat.PeerID || b.Resumed {
			t.Error("one seat in two meetings")
		}
	})
}

func TestLobbyWhoseAnswerIsLostIsAskedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.Lobby = true })
		s := serve(t, db)
		host := s.host()
		j := protocol.Join{Attempt: attempt, UserID: "new", Name: "New"}
		first := s.join(j)
		first.Wait.End()
		second := s.join(j) // the ticket never came
		if second.Wait == nil || first.Wait.Ticket != second.Wait.Ticket || len(waiting(t, db)) != 1 {
			t.Fatalf("%d wait", len(waiting(t, db)))
		}
		must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
		j.UserID, j.Name = "host", "The host himself" // not whom the host has let in
		lost := s.lose(j)
		if lost.Seat.UserID != "new" || lost.AdmissionToken == "" {
			t.Errorf("it entered as %q, with the admission %q", lost.Seat.UserID, lost.AdmissionToken)
		}
		if p, _ := row(t, db, lost.Seat.PeerID); p.Name != "New" {
			t.Errorf("it is called %q", p.Name)
		}
		back := s.join(j) // the answer with the admission never came
		if back.Wait != nil || back.Seat.PeerID != lost.Seat.PeerID || back.AdmissionToken != lost.AdmissionToken {
			t.Errorf("asked again: %+v", back.Joined)
		}
	})
}

func TestRequestAskedAgainIsNotDoneTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host, g := s.host(), s.join(protocol.Join{UserID: "g", Media: &protocol.Media{Audio: true}})
		did := func(m protocol.Moderate) (again bool) {
			must(t, s.Moderate(bg, host.Seat, &m, func(a bool) { again = a }))
			return again
		}
		mute := protocol.Moderate{Action: "mute", PeerID: g.Seat.PeerID, RequestID: "r1"}
		if did(mute) {
			t.Error("the first time is said to be the second")
		}
		on := true
		must(t, s.SetMedia(bg, g.Seat, &protocol.MediaState{Audio: &on})) // it may
		back := s.join(protocol.Join{ResumeToken: host.ResumeToken})      // the answer was lost
		host = back
		if !did(mute) {
			t.Error("it is done a second time")
		}
		if p, _ := row(t, db, g.Seat.PeerID); !p.Media.Audio {
			t.Error("a request that was asked again has muted a second time")
		}
		kick := protocol.Moderate{Action: "kick", PeerID: g.Seat.PeerID, RequestID: "r2"}
		if did(kick) || !did(kick) {
			t.Error("a kick is done twice, or not at all")
		}
		kick.RequestID = "" // of a client that names no requests
		if did(kick) {
			t.Error("it has no name")
		}
		for i := range 20 {
			off := i%2 == 0
			c := protocol.Control{Camera: &off, RequestID: strings.Repeat("c", i+1)}
			must(t, s.Control(bg, host.Seat, &c))
		}
		p, _ := row(t, db, host.Seat.PeerID)
		if n := len(strings.Split(p.Requests, "\n")); n != 8 {
			t.Errorf("%d requests are remembered", n)
		}
	})
}

func TestHostKeyFollowsFromTheCreatorsSecret(t *testing.T) {
	a, b := participants.NewHostKey(attempt), participants.NewHostKey(attempt)
	if a != b || a == participants.NewHostKey(attempt+"x") || strings.Contains(a, attempt) || len(a) != len(participants.NewHostKey("")) {
		t.Errorf("%s and %s", a, b)
	}
	if participants.NewHostKey("") == participants.NewHostKey("") {
		t.Error("two keys are the same")
	}
}

// waiting lists the lobby of k, as it is stored.
func waiting(t *testing.T, db *store.Store) []store.Waiting {
	t.Helper()
	st, _, err := db.Snapshot(bg, "k")
	must(t, err)
	return st.Waiting
}
