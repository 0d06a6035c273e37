package participants_test

import (
	"context"
	"net/netip"
	"slices"
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
		s.join(protocol.Join{ResumeToken: first.ResumeToken}) // the next one is not confirmed
		s.Confirmed(back.Seat)                                // by a connection that has lost the seat
		s.sweep()
		if _, err := s.tryJoin(t.Context(), protocol.Join{ResumeToken: first.ResumeToken, Version: 2}); err != nil {
			t.Errorf("a former connection's word has ended the token: %v", err)
		}
		late := s.join(protocol.Join{ResumeToken: first.ResumeToken})
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
		if !did(kick) {
			t.Error("a kick without a name is done twice")
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

// Clients that name no requests ask again, too.
func TestModerationAskedAgainWithoutANameChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		host := s.host()
		s.ip = netip.MustParseAddr("198.51.100.7")
		enter := func(user string) guest {
			w := s.knock(protocol.Join{UserID: user})
			must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
			return s.join(protocol.Join{UserID: user, Ticket: w.Wait.Ticket})
		}
		kicked, banned, cohost := enter("kicked"), enter("banned"), enter("cohost")
		s.ip = netip.MustParseAddr("198.51.100.8") // a ban sends those of its network away
		w := s.knock(protocol.Join{UserID: "denied"})
		ticket, _, _ := strings.Cut(w.Wait.Ticket, ".")

		for _, m := range []protocol.Moderate{
			{Action: "kick", PeerID: kicked.Seat.PeerID},
			{Action: "ban", PeerID: banned.Seat.PeerID},
			{Action: "promote", PeerID: cohost.Seat.PeerID},
			{Action: "deny", Ticket: ticket},
		} {
			must(t, s.moderate(host, m))
			before, err := db.Bans(bg, "k")
			must(t, err)
			rev := roster(host).Rev
			again := false
			must(t, s.Moderate(bg, host.Seat, &m, func(a bool) { again = a }))
			after, err := db.Bans(bg, "k")
			must(t, err)
			if !again || !slices.Equal(before, after) || roster(host).Rev != rev {
				t.Errorf("%s: said again to be done before: %v; %+v became %+v; rev %d to %d", m.Action, again, before, after, rev, roster(host).Rev)
			}
		}
		// A ban after a kick is another request.
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: kicked.Seat.PeerID}))
		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: banned.Seat.PeerID}))
		bans, err := db.Bans(bg, "k")
		must(t, err)
		for _, b := range bans {
			if b.PeerID != ticket && b.Kind != store.Banned {
				t.Errorf("%s is %s", b.UserID, b.Kind)
			}
		}
		must(t, s.moderate(host, protocol.Moderate{Action: "demote", PeerID: cohost.Seat.PeerID}))
		wantCode(t, "kick of a ticket", s.moderate(host, protocol.Moderate{Action: "kick", PeerID: ticket}), fault.PeerGone)
	})
}

// A client that knows no attempts has its ticket.
func TestTicketWhoseAnswerIsLostGivesTheSameSeat(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s, other := serve(t, db), serve(t, db, named("n2"))
		host := s.host()
		wait := s.knock(protocol.Join{UserID: "new"})
		must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
		j := protocol.Join{UserID: "new", Ticket: wait.Wait.Ticket}
		lost := s.lose(j)
		for _, lobby := range []bool{true, false} {
			set(t, db, "k", func(st *store.State) { st.Policy.Lobby = lobby })
			back := other.lose(j)
			if back.Wait != nil || back.Seat.PeerID != lost.Seat.PeerID || back.AdmissionToken != lost.AdmissionToken || lost.AdmissionToken == "" {
				t.Errorf("asked again, lobby %v: %+v, was %+v", lobby, back.Joined, lost.Joined)
			}
		}
		back := s.join(j)
		s.Confirmed(back.Seat)
		s.sweep()
		set(t, db, "k", func(st *store.State) { st.Policy.Lobby = true })
		if again := s.join(j); again.Wait == nil {
			t.Error("a ticket whose answer was confirmed lets in a second one")
		}
		// It is no secret before the lobby has given it.
		set(t, db, "k", func(st *store.State) { st.Policy.Lobby = false })
		a, b := s.join(protocol.Join{Ticket: "made up"}), s.join(protocol.Join{Ticket: "made up"})
		if a.Seat.PeerID == b.Seat.PeerID {
			t.Error("a ticket of somebody's making is a seat")
		}
	})
}

func TestSeatWithoutAnAnswerGivesWayToItsPerson(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers, m.PasswordHash = 2, hashOf(t, "secret") })
		s := serve(t, db)
		here := netip.MustParseAddr("198.51.100.7")
		s.ip = here
		watch := s.join(protocol.Join{UserID: "watch", HostKey: hostKey})
		j := protocol.Join{UserID: "a", Password: "secret"}
		lost := s.lose(j)

		full := func(j protocol.Join) { t.Helper(); s.refused(j, fault.MeetingFull) }
		full(protocol.Join{UserID: "b", Password: "secret"})
		s.ip = netip.MustParseAddr("198.51.100.8")
		full(j)
		s.ip = here
		s.refused(protocol.Join{UserID: "a", Password: "wrong"}, fault.BadPassword)
		if p, there := row(t, db, lost.Seat.PeerID); !there || p.State != store.Away {
			t.Error("the seat is gone before anybody has come for it")
		}

		for _, how := range []int{0, 1, 2} {
			j.JoinType = how
			back := s.join(j)
			want := map[int]string{0: participants.ReasonTimeout, 1: participants.ReasonTimeout, 2: participants.ReasonReplaced}[how]
			eventually(t, "the other sees it leave", func() bool { r, _ := watch.left(lost.Seat.PeerID); return r == want })
			if n := len(rows(t, db, "k")); n != 2 {
				t.Errorf("join type %d: %d in the meeting", how, n)
			}
			s.Disconnected(bg, back.Seat, "")
			lost = back
		}
		// A client that has the token of the seat keeps it.
		j.JoinType = 0
		s.lose(protocol.Join{ResumeToken: lost.ResumeToken})
		full(j)
		back := s.join(protocol.Join{ResumeToken: lost.ResumeToken})
		s.Confirmed(back.Seat)
		s.sweep()
		s.Disconnected(bg, back.Seat, "")
		full(j)
		s.join(protocol.Join{ResumeToken: back.ResumeToken})
	})
}

func TestAttemptKeepsItsSeatWhateverElseTheJoinAsksFor(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 4 })
		s := serve(t, db)
		s.ip = netip.MustParseAddr("198.51.100.7")
		for _, j := range []protocol.Join{
			{UserID: "host", HostKey: hostKey, JoinType: 2, Attempt: attempt + "1"},
			{UserID: "guest", Attempt: attempt + "2"},
			{UserID: "guest", Attempt: attempt + "3"}, // those of its network who are away have their share of the seats
		} {
			lost := s.lose(j)
			if back := s.lose(j); back.Seat.PeerID != lost.Seat.PeerID {
				t.Errorf("%s came back as another one", j.UserID)
			}
		}
		if n := len(rows(t, db, "k")); n != 3 {
			t.Errorf("%d in the meeting", n)
		}
	})
}

func TestPreviousTokenIsGoodForAllThatTheNextOneIs(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		first := s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		lost := s.join(protocol.Join{ResumeToken: first.ResumeToken})
		for _, token := range []string{first.ResumeToken, lost.ResumeToken} {
			if k, p, err := s.Authenticate(bg, token); err != nil || k != "k" || p != first.Seat.PeerID {
				t.Errorf("%s of %s: %v", p, k, err)
			}
			must(t, s.MayResume(bg, token))
			must(t, s.AuthorizeHost(bg, "k", token))
		}
		// The page before a reload says late that it goes; one that leaves means it.
		wantCode(t, "late beacon", s.LeaveByToken(bg, first.Seat.PeerID, first.ResumeToken, true), fault.NotJoined)
		must(t, s.LeaveByToken(bg, first.Seat.PeerID, first.ResumeToken, false))
		eventually(t, "it has left", func() bool { r, _ := watch.left(first.Seat.PeerID); return r == participants.ReasonLeave })

		// A participant of protocol 1 that has come back so is replaced by either token.
		g := s.join(protocol.Join{UserID: "g"})
		back := s.lose(protocol.Join{ResumeToken: g.ResumeToken})
		one := s.join(protocol.Join{UserID: "g", Version: 1, JoinType: 2, ResumeToken: g.ResumeToken})
		eventually(t, "it is replaced", func() bool { r, _ := watch.left(back.Seat.PeerID); return r == participants.ReasonReplaced })
		if !one.Seat.Seated() {
			t.Error("nobody is there in its place")
		}
	})
}

func TestTokenOfAPageOnItsWayBackIsGood(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		s.join(protocol.Join{UserID: "watch"})
		g := s.join(protocol.Join{UserID: "g", HostKey: hostKey})
		must(t, s.Leave(bg, g.Seat, true))
		must(t, s.MayResume(bg, g.ResumeToken))
		_, _, err := s.Authenticate(bg, g.ResumeToken)
		wantCode(t, "ICE servers", err, fault.Unauthorized)
		wantCode(t, "attendees", s.AuthorizeHost(bg, "k", g.ResumeToken), fault.Unauthorized)
		for range 3 { // its answers get lost
			s.lose(protocol.Join{ResumeToken: g.ResumeToken, Fresh: true})
		}
		must(t, s.MayResume(bg, g.ResumeToken))
		if back := s.join(protocol.Join{ResumeToken: g.ResumeToken, Fresh: true}); back.Seat.PeerID != g.Seat.PeerID || back.Seat.Role != participants.Host {
			t.Errorf("came back as %s, %s", back.Seat.PeerID, back.Seat.Role)
		}
		wantCode(t, "unknown", s.MayResume(bg, "rt_unknown"), fault.ResumeExpired)
	})
}

func TestHostKeyFollowsFromTheCreatorsSecret(t *testing.T) {
	a, b := participants.NewHostKey(attempt), participants.NewHostKey(attempt)
	if a != b || a == participants.NewHostKey(attempt+"x") || strings.Contains(a, attempt) || len(a) != len(participants.NewHostKey("")) {
		t.Errorf("%s and %s", a, b)
	}
	if one, other := participants.NewHostKey(""), participants.NewHostKey(""); one == other {
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
