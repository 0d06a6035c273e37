package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// proxied lets tests say where a client is.
var proxied = []string{"SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_GRACE=1s"}

func at(addr string) client.Options {
	return client.Options{Header: http.Header{"X-Forwarded-For": {addr}}}
}

func asHost(m client.Meeting) protocol.Join {
	return protocol.Join{MeetingID: m.MeetingID, UserID: "host", HostKey: m.HostKey}
}

func joinFrom(t *testing.T, n *testnode.Node, addr string, j protocol.Join, b *inbox) *client.Participant {
	t.Helper()
	if b == nil {
		b = newInbox()
	}
	p, err := client.Join(ctx(t), n.URL, j, b.handlers(), at(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Conn().Kill)
	return p
}

func tryFrom(t *testing.T, n *testnode.Node, addr string, j protocol.Join) error {
	t.Helper()
	p, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, at(addr))
	if err == nil {
		p.Conn().Kill()
	}
	return err
}

func moderate(t *testing.T, by *client.Participant, m protocol.Moderate) {
	t.Helper()
	if err := by.Moderate(ctx(t), m); err != nil {
		t.Fatalf("%s: %v", m.Action, err)
	}
}

func control(t *testing.T, by *client.Participant, fields map[string]any) {
	t.Helper()
	if err := by.Control(ctx(t), fields); err != nil {
		t.Fatalf("control %v: %v", fields, err)
	}
}

// hasRole waits until p sees the user in the role.
func hasRole(t *testing.T, p *client.Participant, user, role string) {
	t.Helper()
	err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
		for _, peer := range peers {
			if peer.UserID == user {
				return peer.Role == role
			}
		}
		return false
	})
	if err != nil {
		t.Fatalf("%s as %s: %v", user, role, err)
	}
}

func TestPolicySwitchesAreLiveForAllAndForNewcomers(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], nil)
		hosts, guests := newInbox(), newInbox()
		host := join(t, n[0], asHost(m), hosts)
		g := as(m, "guest")
		g.Media = &protocol.Media{Audio: true, Video: true}
		guest := join(t, far, g, guests)
		sees(t, host, map[string]string{"guest": "online"})

		control(t, host, map[string]any{"camera": false, "rename": false, "spotlight": guest.PeerID()})
		for who, b := range map[string]*inbox{"the host": hosts, "the guest": guests} {
			b.await(t, who+" is told", func() bool {
				return slices.ContainsFunc(b.states, func(s protocol.RoomState) bool {
					return !s.Policy.Camera && s.Policy.Speak && !s.Policy.Rename && s.Spotlight != nil && *s.Spotlight == guest.PeerID()
				})
			})
		}
		err := host.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
			p := peers[guest.PeerID()]
			return p.Media.Audio && !p.Media.Video
		})
		if err != nil {
			t.Errorf("the guest's camera goes on: %v", err)
		}
		wantCode(t, guest.Conn().Call(ctx(t), "media_state", map[string]any{"video": true}, nil), fault.Forbidden)
		wantCode(t, guest.Conn().Call(ctx(t), "rename", map[string]any{"name": "x"}, nil), fault.Forbidden)

		late := join(t, far, as(m, "late"), nil)
		if st := late.State(); st.Policy.Camera || st.Policy.Rename || !st.Policy.Chat || st.Spotlight == nil {
			t.Errorf("a newcomer learns %+v", st)
		}
		var roster protocol.Roster
		if err := late.Conn().Call(ctx(t), "sync", map[string]any{}, &roster); err != nil || roster.Meeting == nil || roster.Meeting.Policy.Camera ||
			roster.Self == nil || roster.Self.PeerID != late.PeerID() {
			t.Errorf("sync: %+v, %v", roster, err)
		}

		control(t, host, map[string]any{"locked": true})
		wantCode(t, tryFrom(t, far, "127.0.0.1", as(m, "locked out")), fault.MeetingLocked)
		wantCode(t, guest.Control(ctx(t), map[string]any{"camera": true}), fault.Forbidden)
		err = host.Control(ctx(t), map[string]any{"camera": true, "warp": true})
		wantCode(t, err, fault.InvalidPayload)
		if late.State().Policy.Camera {
			t.Error("half of a refused control was done")
		}
	})
}

// TestKickedModifiedClientGetsNothing: it ignores that it is told to go, reads on,
// and tries every way back that it knows of.
func TestKickedModifiedClientGetsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], nil)
		hosts, others := newInbox(), newInbox()
		host := joinFrom(t, n[0], "192.0.2.1", asHost(m), hosts)
		bob := joinFrom(t, n[0], "192.0.2.2", as(m, "bob"), others)

		var mu sync.Mutex
		var told []string
		opts := at("192.0.2.66")
		opts.OnEvent = func(event string, args []json.RawMessage) {
			mu.Lock()
			told = append(told, event+" "+string(args[0]))
			mu.Unlock()
		}
		eve, err := client.Dial(ctx(t), far.URL, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(eve.Kill)
		var in protocol.Joined
		if err := eve.Call(ctx(t), "join", map[string]any{"v": 2, "meeting_id": m.MeetingID, "user_id": "eve"}, &in); err != nil {
			t.Fatal(err)
		}
		sees(t, bob, map[string]string{"host": "online", "eve": "online"})

		moderate(t, host, protocol.Moderate{Action: "kick", PeerID: in.PeerID, Reason: "shouting"})
		hosts.await(t, "the host is told", func() bool { return len(hosts.done) == 1 && hosts.done[0].PeerID == in.PeerID })
		sees(t, bob, map[string]string{"host": "online"})
		secret := "secret of those who stayed"
		if _, err := bob.Signal(ctx(t), host.PeerID(), "offer", "1", secret); err != nil {
			t.Fatal(err)
		}
		for _, event := range []string{"sync", "media_state", "heartbeat"} { // over the socket that it keeps
			_ = eve.Emit(event, map[string]any{"meeting_id": m.MeetingID, "audio": true})
		}
		_ = eve.Emit("signal", map[string]any{"to": bob.PeerID(), "kind": "bye"})
		select {
		case <-eve.Done():
		case <-ctx(t).Done():
			t.Fatal("its connection lives on")
		}
		mu.Lock()
		after := slices.Clone(told)
		mu.Unlock()
		i := slices.IndexFunc(after, func(s string) bool { return len(s) > 9 && s[:9] == "moderated" })
		if i < 0 || len(after) != i+2 || after[i+1][:6] != "closed" {
			t.Errorf("since its kick it was told %q", after[max(i, 0):])
		}

		for what, j := range map[string]protocol.Join{
			"resume": {MeetingID: m.MeetingID, UserID: "eve", ResumeToken: in.ResumeToken},
			"rejoin": as(m, "eve"),
		} {
			for _, node := range n {
				want := fault.Banned
				if what == "resume" {
					want = fault.ResumeExpired
				}
				if got := fault.CodeOf(tryFrom(t, node, "192.0.2.66", j)); got != want {
					t.Errorf("%s: %q", what, got)
				}
			}
		}
		opts.OnEvent, opts.Auth = nil, map[string]any{"resume_token": in.ResumeToken}
		again, err := client.Dial(ctx(t), far.URL, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(again.Kill)
		wantCode(t, again.Call(ctx(t), "join", map[string]any{"v": 2, "meeting_id": m.MeetingID, "user_id": "eve"}, nil), fault.ResumeExpired)
		wantCode(t, again.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "eve"}, nil), fault.Banned)
		wantCode(t, again.Call(ctx(t), "signal", map[string]any{"meeting_id": m.MeetingID, "to": bob.PeerID(), "kind": "bye"}, nil), fault.NotJoined)
		wantCode(t, again.Call(ctx(t), "sync", map[string]any{"meeting_id": m.MeetingID}, nil), fault.NotJoined)
		wantCode(t, client.Request(ctx(t), http.MethodGet, far.URL, "/api/v1/ice", in.ResumeToken, nil, nil), fault.Unauthorized)
		others.mu.Lock()
		defer others.mu.Unlock()
		if len(others.signals) != 0 {
			t.Errorf("it was heard: %+v", others.signals)
		}
	}, proxied...)
}

func TestBanHoldsByNetworkUntilItIsTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], nil)
		host := joinFrom(t, n[0], "192.0.2.1", asHost(m), newInbox())
		eves := newInbox()
		eve := joinFrom(t, far, "2001:db8:1:2::1", as(m, "eve"), eves)
		sees(t, host, map[string]string{"eve": "online"})
		moderate(t, host, protocol.Moderate{Action: "ban", PeerID: eve.PeerID()})
		eves.await(t, "she is told", func() bool {
			return len(eves.done) == 1 && eves.done[0].Action == "ban" && len(eves.closed) == 1 && eves.closed[0].Code == "banned" && !eves.closed[0].Rejoin
		})
		for _, node := range n {
			wantCode(t, tryFrom(t, node, "2001:db8:1:2:ffff::2", as(m, "mallory")), fault.Banned)
			wantCode(t, tryFrom(t, node, "2001:db8:1:3::1", as(m, "eve")), fault.Waiting) // another network of that site
		}
		joinFrom(t, far, "192.0.2.9", as(m, "eve"), newInbox()) // anybody may have that name

		var list struct {
			Banned []struct {
				PeerID string `json:"peer_id"`
				Kind   string `json:"kind"`
			} `json:"banned"`
		}
		if err := client.Attendees(ctx(t), far.URL, m.MeetingID, m.HostKey, &list); err != nil || len(list.Banned) != 1 || list.Banned[0].PeerID != eve.PeerID() {
			t.Fatalf("%+v, %v", list, err)
		}
		moderate(t, host, protocol.Moderate{Action: "unban", PeerID: list.Banned[0].PeerID})
		joinFrom(t, far, "2001:db8:1:2::1", as(m, "eve"), newInbox())
	}, proxied...)
}

func TestLobbyLetsInWhomTheHostAdmitsAndNoMoreThanFit(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], map[string]any{"policy": map[string]any{"lobby": true, "max_peers": 2}})
		knock := func(user string) *client.Waiter {
			t.Helper()
			j := as(m, user)
			j.Memo = "it is " + user
			_, w, err := client.Knock(ctx(t), far.URL, j, client.Handlers{}, client.Options{})
			if err != nil || w == nil {
				t.Fatalf("%s: %v, %v", user, w, err)
			}
			t.Cleanup(w.Conn().Kill)
			return w
		}
		a := knock("a") // before the host is there
		hosts := newInbox()
		host := join(t, n[0], asHost(m), hosts)
		waiting := func(users ...string) []protocol.Waiter {
			t.Helper()
			var last []protocol.Waiter
			hosts.await(t, "the host sees who waits", func() bool {
				if len(hosts.lobbies) == 0 {
					return false
				}
				last = hosts.lobbies[len(hosts.lobbies)-1].Waiting
				var got []string
				for _, w := range last {
					got = append(got, w.UserID)
				}
				return slices.Equal(got, users)
			})
			return last
		}
		if w := waiting("a")[0]; w.Memo != "it is a" || w.Ticket == "" || w.Ticket == a.Ticket {
			t.Errorf("the host sees %+v", w)
		}
		b, c, d := knock("b"), knock("c"), knock("d")
		list := waiting("a", "b", "c", "d")
		moderate(t, host, protocol.Moderate{Action: "deny", Ticket: list[3].Ticket})
		_, err := d.Enter(ctx(t))
		wantCode(t, err, fault.Denied)
		moderate(t, host, protocol.Moderate{Action: "admit", Ticket: list[0].Ticket})
		in, err := a.Enter(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		sees(t, host, map[string]string{"a": "online"})
		waiting("b", "c")

		moderate(t, host, protocol.Moderate{Action: "admit"}) // everyone
		_, err = b.Enter(ctx(t))
		wantCode(t, err, fault.MeetingFull)
		again := as(m, "a")
		again.AdmissionToken = in.Joined().AdmissionToken
		if err := in.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		sees(t, host, map[string]string{})
		if _, err := c.Enter(ctx(t)); err != nil {
			t.Fatal(err)
		}
		sees(t, host, map[string]string{"c": "online"})
		wantCode(t, tryFrom(t, far, "127.0.0.1", again), fault.MeetingFull) // she need not wait, and there is no room
	}, proxied...)
}

func TestWhoWaitsSurvivesTheServerOrGoesWithItsConnection(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, "SIGNALD_GRACE=2s")
	m := meeting(t, n, map[string]any{"policy": map[string]any{"lobby": true}})
	knock := func(j protocol.Join) *client.Waiter {
		t.Helper()
		_, w, err := client.Knock(ctx(t), n.URL, j, client.Handlers{}, client.Options{})
		if err != nil || w == nil {
			t.Fatal(w, err)
		}
		t.Cleanup(w.Conn().Kill)
		return w
	}
	stays := knock(as(m, "stays"))
	knock(as(m, "goes"))
	n.Kill()
	n.Start()
	back := as(m, "stays")
	back.Ticket = stays.Ticket
	w := knock(back)
	if w.Ticket != stays.Ticket {
		t.Error("it has another place after the restart")
	}
	hosts := newInbox()
	host := join(t, n, asHost(m), hosts)
	hosts.await(t, "who did not come back is gone", func() bool {
		last := len(hosts.lobbies) - 1
		return last >= 0 && len(hosts.lobbies[last].Waiting) == 1 && hosts.lobbies[last].Waiting[0].UserID == "stays"
	})
	moderate(t, host, protocol.Moderate{Action: "admit"})
	if _, err := w.Enter(ctx(t)); err != nil {
		t.Fatal(err)
	}
	sees(t, host, map[string]string{"stays": "online"})
}

func TestWhoGivesUpWaitingIsGoneAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], map[string]any{"policy": map[string]any{"lobby": true}})
		hosts := newInbox()
		join(t, n[0], asHost(m), hosts)
		for how, goes := range map[string]func(*client.Waiter) error{
			"event":  func(w *client.Waiter) error { return w.Conn().Call(ctx(t), protocol.EventLeave, map[string]any{}, nil) },
			"packet": func(w *client.Waiter) error { return w.Conn().Close() },
			"beacon": func(w *client.Waiter) error {
				body := map[string]any{"meeting_id": m.MeetingID, "ticket": w.Ticket}
				return client.Request(ctx(t), http.MethodPost, n[0].URL, "/api/v1/leave", "", body, nil)
			},
		} {
			_, w, err := client.Knock(ctx(t), far.URL, as(m, how), client.Handlers{}, client.Options{})
			if err != nil || w == nil {
				t.Fatal(how, w, err)
			}
			t.Cleanup(w.Conn().Kill)
			last := func(waiting int) func() bool {
				return func() bool {
					i := len(hosts.lobbies) - 1
					return i >= 0 && len(hosts.lobbies[i].Waiting) == waiting
				}
			}
			hosts.await(t, how+" waits", last(1))
			if err := goes(w); err != nil {
				t.Fatal(how, err)
			}
			hosts.await(t, how+" is gone", last(0))
		}
	}, "SIGNALD_GRACE=10m") // it would stay that long
}

func TestHostIsSucceededAndTheKeyWinsBack(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], map[string]any{"policy": map[string]any{"takeover": true}})
		firsts, cos := newInbox(), newInbox()
		host := join(t, n[0], asHost(m), nil)
		first := join(t, far, as(m, "first"), firsts)
		co := join(t, far, as(m, "co"), cos)
		wantCode(t, co.Moderate(ctx(t), protocol.Moderate{Action: "kick", PeerID: first.PeerID()}), fault.Forbidden)
		moderate(t, host, protocol.Moderate{Action: "promote", PeerID: co.PeerID()})
		hasRole(t, first, "co", "cohost")

		host.Conn().Kill() // without a word: away, then out
		hasRole(t, first, "co", "host")
		moderate(t, co, protocol.Moderate{Action: "stop_video", PeerID: first.PeerID()})
		firsts.await(t, "it is told", func() bool {
			return slices.ContainsFunc(firsts.done, func(d protocol.Moderated) bool { return d.Action == "stop_video" })
		})

		host = join(t, n[0], asHost(m), nil)
		hasRole(t, first, "co", "cohost")
		if err := host.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		hasRole(t, first, "co", "host")
		if err := co.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		firsts.await(t, "the longest present takes over", func() bool {
			return slices.ContainsFunc(firsts.done, func(d protocol.Moderated) bool {
				return d.Action == "promote" && d.PeerID == first.PeerID() && d.By == ""
			})
		})
		control(t, first, map[string]any{"locked": true})
		host = join(t, far, asHost(m), nil)
		hasRole(t, host, "first", "guest")
		wantCode(t, first.Control(ctx(t), map[string]any{"locked": false}), fault.Forbidden)

		moderate(t, host, protocol.Moderate{Action: "end"})
		firsts.await(t, "all are told of the end", func() bool {
			return len(firsts.closed) == 1 && firsts.closed[0].Code == string(fault.MeetingEnded) && !firsts.closed[0].Rejoin
		})
		for _, node := range n {
			wantCode(t, tryFrom(t, node, "127.0.0.1", as(m, "late")), fault.MeetingEnded)
		}
	}, "SIGNALD_GRACE=1s")
}

func TestWhatHostsDoToOthersIsInTheAuditIfWanted(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, append([]string{"SIGNALD_AUDIT_EVENTS=actions"}, proxied...)...)
	m := meeting(t, n, nil)
	host := joinFrom(t, n, "192.0.2.1", asHost(m), newInbox())
	eve, mallory := joinFrom(t, n, "192.0.2.2", as(m, "eve"), newInbox()), joinFrom(t, n, "192.0.2.3", as(m, "mallory"), newInbox())
	wantCode(t, eve.Moderate(ctx(t), protocol.Moderate{Action: "kick", PeerID: mallory.PeerID()}), fault.Forbidden)
	moderate(t, host, protocol.Moderate{Action: "mute", PeerID: eve.PeerID()})
	moderate(t, host, protocol.Moderate{Action: "kick", PeerID: eve.PeerID()})
	moderate(t, host, protocol.Moderate{Action: "ban", PeerID: mallory.PeerID()})
	moderate(t, host, protocol.Moderate{Action: "end"})

	type event struct {
		Kind, Actor, Subject, IP string
		MeetingID                string `json:"meeting_id"`
	}
	var got struct{ Items []event }
	for c := ctx(t); len(got.Items) < 3; { // the ack of the last comes before its row
		if err := client.Request(c, http.MethodGet, n.URL, "/api/v1/admin/events", testnode.AdminToken, nil, &got); err != nil {
			t.Fatalf("%+v: %v", got.Items, err)
		}
	}
	want := []event{
		{"end", "host", "", "192.0.2.1", m.MeetingID},
		{"ban", "host", "mallory", "192.0.2.1", m.MeetingID},
		{"kick", "host", "eve", "192.0.2.1", m.MeetingID},
	}
	if !slices.Equal(got.Items, want) {
		t.Errorf("%+v", got.Items)
	}
}

// A host empties the lobby of those of one address, an IPv6 /48, or of everybody, at once.
func TestHostEmptiesTheLobby(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"policy": map[string]any{"lobby": true}})
		hosts := newInbox()
		host := joinFrom(t, n[0], "192.0.2.1", asHost(m), hosts)
		knock := func(user, addr string) *client.Waiter {
			_, w, err := client.Knock(ctx(t), n[len(n)-1].URL, as(m, user), client.Handlers{}, at(addr))
			if err != nil || w == nil {
				t.Fatalf("%s: %v, %v", user, w, err)
			}
			t.Cleanup(w.Conn().Kill)
			return w
		}
		wait := func(users ...string) (last []protocol.Waiter) {
			t.Helper()
			hosts.await(t, fmt.Sprint("waiting are ", users), func() bool {
				if len(hosts.lobbies) == 0 {
					return false
				}
				last = hosts.lobbies[len(hosts.lobbies)-1].Waiting
				return slices.EqualFunc(last, users, func(w protocol.Waiter, user string) bool { return w.UserID == user })
			})
			return last
		}
		evil := []*client.Waiter{knock("x0", "2001:db8:1:1::1"), knock("x1", "2001:db8:1:2::1"), knock("x2", "2001:db8:1:1::9")}
		good := knock("good", "2001:db8:2::1")
		list := wait("x0", "x1", "x2", "good")
		moderate(t, host, protocol.Moderate{Action: "deny", Ticket: list[1].Ticket, Network: true})
		wait("good")
		for _, w := range evil {
			_, err := w.Enter(ctx(t))
			wantCode(t, err, fault.Denied)
		}
		wantCode(t, tryFrom(t, n[0], "2001:db8:1:1::1", as(m, "x0")), fault.Denied)
		other := knock("other", "198.51.100.1")
		wait("good", "other")
		moderate(t, host, protocol.Moderate{Action: "deny"})
		wait()
		for _, w := range []*client.Waiter{good, other} {
			_, err := w.Enter(ctx(t))
			wantCode(t, err, fault.Denied)
		}
		moderate(t, host, protocol.Moderate{Action: "deny"}) // of nobody
	}, proxied...)
}

// Of one site no more wait than leave room for others.
func TestLobbyIsNotFilledFromOneSite(t *testing.T) {
	n := testnode.Start(t, proxied...)
	m := meeting(t, n, map[string]any{"policy": map[string]any{"lobby": true}, "password": "right"})
	waiting := 0
	with := func(user, password string) protocol.Join {
		j := as(m, user)
		j.Password = password
		return j
	}
	for i := range 60 {
		_, w, err := client.Knock(ctx(t), n.URL, with(fmt.Sprint("x", i), "right"), client.Handlers{}, at(fmt.Sprintf("2001:db8:1:%d::1", i)))
		if err == nil && w != nil {
			t.Cleanup(w.Conn().Kill)
			waiting++
		} else {
			wantCode(t, err, fault.MeetingFull)
		}
	}
	if waiting != 40 {
		t.Errorf("%d of one site wait, want 40", waiting)
	}
	// The password is expensive to compare: not for one for whom there is no place.
	wantCode(t, tryFrom(t, n, "2001:db8:1:99::1", with("y", "wrong")), fault.MeetingFull)
	if _, w, err := client.Knock(ctx(t), n.URL, with("other", "right"), client.Handlers{}, at("2001:db8:2::1")); err != nil || w == nil {
		t.Errorf("of another site: %v", err)
	}
}
