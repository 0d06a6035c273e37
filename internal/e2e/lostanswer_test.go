package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/faultproxy"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

const attempted = "0123456789abcdefghijkl"

// loses runs a request whose answer, which contains text, is lost with the connection.
func loses(t *testing.T, link *faultproxy.Proxy, text string, request func(context.Context) error) {
	t.Helper()
	lost := link.Drop(faultproxy.ToClient, text)
	answered := make(chan error, 1)
	go func() { answered <- request(ctx(t)) }()
	select {
	case <-lost:
	case err := <-answered:
		t.Fatalf("it was answered: %v", err)
	case <-ctx(t).Done():
		t.Fatal("no answer came by the link")
	}
	link.Reset()
	if err := <-answered; err == nil {
		t.Fatal("its answer was not lost")
	}
}

// losesJoin joins, and loses the answer.
func losesJoin(t *testing.T, link *faultproxy.Proxy, j protocol.Join) {
	t.Helper()
	loses(t, link, `"peer_id"`, func(c context.Context) error {
		p, err := client.Join(c, "http://"+link.Addr(), j, client.Handlers{}, client.Options{NoPong: true})
		if err == nil {
			p.Conn().Kill()
		}
		return err
	})
}

// A participant whose answers are lost on the way is one participant, whatever it asks for.
func TestJoinAskedForAgainIsOneParticipant(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here, there := n[0], n[len(n)-1]
		links := make([]*faultproxy.Proxy, len(n))
		for i := range n {
			links[i], _ = through(t, n[i])
		}
		for name, c := range map[string]struct {
			policy map[string]any
			first  func(client.Meeting) protocol.Join
			role   string
		}{
			"guest":  {nil, func(m client.Meeting) protocol.Join { return as(m, "b") }, "guest"},
			"host":   {nil, asHost, "host"},
			"locked": {map[string]any{"locked": true}, nil, "guest"},
			"full":   {map[string]any{"max_peers": 2}, func(m client.Meeting) protocol.Join { return as(m, "b") }, "guest"},
		} {
			t.Run(name, func(t *testing.T) {
				m := meeting(t, here, map[string]any{"policy": c.policy})
				watch := join(t, there, protocol.Join{MeetingID: m.MeetingID, UserID: "watch", HostKey: m.HostKey}, nil)
				j := as(m, "b")
				if c.first != nil {
					j = c.first(m)
				} else { // let in before it was locked
					control(t, watch, map[string]any{"locked": false})
				}
				j.Attempt = attempted
				for i := range 3 {
					losesJoin(t, links[i%len(n)], j)
					if c.first == nil && i == 0 {
						control(t, watch, map[string]any{"locked": true})
					}
				}
				hasPeers(t, watch, 1)
				_, peers := watch.Roster()
				p := join(t, there, j, nil)
				if _, same := peers[p.PeerID()]; !same || p.Joined().Role != c.role || !p.Joined().Resumed {
					t.Fatalf("asked again it is %+v; seen were %v", p.Joined(), peers)
				}
				awaitNoRow(t, here, previousTokens)

				back := as(m, "not looked at")
				back.ResumeToken = p.Joined().ResumeToken
				for _, fresh := range []bool{false, true} {
					back.Fresh = fresh
					for i := range 3 {
						losesJoin(t, links[i%len(n)], back)
					}
				}
				beaconOf(t, there, p) // of the page before, and late: it is here already, or on its way
				for i := range 2 {
					losesJoin(t, links[i%len(n)], back)
				}
				last := join(t, here, back, nil)
				if last.PeerID() != p.PeerID() || last.Joined().Role != c.role {
					t.Errorf("came back as %+v", last.Joined())
				}
				sees(t, watch, map[string]string{j.UserID: "online"})
				if rows := cells(t, database(t, here), `SELECT peer_id FROM participants WHERE meeting_id = '`+m.MeetingID+`'`); len(rows) != 2 {
					t.Errorf("%d seats", len(rows))
				}
			})
		}
	})
}

// beaconOf says that a page is going, which may be of no concern any more.
func beaconOf(t *testing.T, n *testnode.Node, p *client.Participant) {
	t.Helper()
	if err := sendBeacon(t, n, p); err != nil && fault.CodeOf(err) != fault.NotJoined {
		t.Fatal(err)
	}
}

// Waiting, being let in, and the admission that spares the lobby later: each answer is lost.
func TestLobbyAskedAgainKeepsNobodyOut(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		for _, attempt := range []string{attempted, ""} {
			m := meeting(t, n[0], map[string]any{"policy": map[string]any{"lobby": true}})
			box := newInbox()
			host := join(t, n[0], asHost(m), box)
			link, url := through(t, n[0])
			other, _ := through(t, n[len(n)-1])
			j := as(m, "new")
			j.Attempt = attempt
			if attempt != "" {
				for range 2 {
					loses(t, link, `"ticket"`, func(c context.Context) error {
						_, w, err := client.Knock(c, url, j, client.Handlers{}, client.Options{NoPong: true})
						if w != nil {
							w.Conn().Kill()
						}
						return err
					})
				}
			}
			_, wait, err := client.Knock(ctx(t), url, j, client.Handlers{}, client.Options{})
			if err != nil || wait == nil {
				t.Fatalf("%+v, %v", wait, err)
			}
			box.await(t, "one waits", func() bool { return len(box.lobbies) > 0 && len(box.lobbies[len(box.lobbies)-1].Waiting) == 1 })
			wait.Conn().Kill()
			moderate(t, host, protocol.Moderate{Action: protocol.ActionAdmit})
			j.Ticket = wait.Ticket
			for _, l := range []*faultproxy.Proxy{link, other} {
				losesJoin(t, l, j)
			}
			in := join(t, n[len(n)-1], j, nil)
			hasPeers(t, host, 1)
			if _, peers := host.Roster(); peers[in.PeerID()].UserID != "new" || in.Joined().AdmissionToken == "" {
				t.Errorf("it is %+v; the host sees %v", in.Joined(), peers)
			}
			leaveAll(t, in)
			j.Ticket, j.Attempt, j.AdmissionToken = "", "", in.Joined().AdmissionToken
			join(t, n[0], j, nil)
		}
	})
}

// Every other event: its answer is lost, and the client asks again when it is back.
func TestEventAskedAgainIsDoneOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here, there := n[0], n[len(n)-1]
		m := meeting(t, here, nil)
		seen := newInbox()
		watch := join(t, there, as(m, "watch"), seen)
		guest := func(user string) string { return join(t, there, as(m, user), nil).PeerID() }
		link, url := through(t, here)
		host, err := client.Join(ctx(t), url, asHost(m), client.Handlers{}, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		said := say(t, host, "to be taken back")
		kicked, banned, cohost, muted := guest("kicked"), guest("banned"), guest("cohost"), guest("muted")

		type fields = map[string]any
		again := func(event string, f fields, into any) { // the answer of the first time is lost
			t.Helper()
			loses(t, link, `[{"ok":true`, func(c context.Context) error { return host.Conn().Call(c, event, f, nil) })
			j := asHost(m)
			j.ResumeToken = host.Joined().ResumeToken
			losesJoin(t, link, j)
			back, err := client.Join(ctx(t), url, j, client.Handlers{}, client.Options{})
			if err != nil || back.PeerID() != host.PeerID() {
				t.Fatalf("%s: the host does not come back: %v", event, err)
			}
			host = back
			if err := host.Conn().Call(ctx(t), event, f, into); err != nil {
				t.Errorf("%s %v: %v", event, f, err)
			}
		}
		told := func(action string) (times int) {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			for _, m := range seen.done {
				if m.Action == action {
					times++
				}
			}
			return times
		}

		again("chat", fields{"client_id": "c-1", "text": "once"}, nil)
		again("chat_revoke", fields{"message_id": said.MessageID}, nil)
		again("rename", fields{"name": "Hostess"}, nil)
		again("media_state", fields{"hand": true}, nil)
		again("update_signal", fields{"SDP": "x"}, nil)
		again("sync", fields{}, nil)
		again("chat_sync", fields{}, nil)
		again("heartbeat", fields{}, nil)
		again("typing", fields{}, nil)
		again("mesh_report", fields{"pairs": []any{}}, nil)
		again("signal", fields{"to": watch.PeerID(), "kind": "offer", "neg": "n-1", "sdp": "v=0"}, nil)
		again("control", fields{"camera": false, "request_id": "r-1"}, nil)
		again("control", fields{"camera": true}, nil)
		for _, name := range []string{"", "r-2"} {
			for action, peer := range map[string]string{"kick": kicked, "ban": banned, "promote": cohost} {
				f := fields{"action": action, "peer_id": peer}
				if name != "" {
					f = fields{"action": "mute", "peer_id": muted, "request_id": name + action}
				}
				again("moderate", f, nil)
			}
		}
		say(t, host, "last")
		seen.await(t, "the last message", func() bool { return len(seen.chats) >= 3 && seen.chats[len(seen.chats)-1].Text == "last" })
		if got, want := textsOf(seen.heard()), []string{"to be taken back", "once", "last"}; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		for action, want := range map[string]int{"kick": 1, "ban": 1, "promote": 1, "mute": 3} {
			if n := told(action); n > want {
				t.Errorf("%s was told %d times", action, n)
			}
		}
		bans := cells(t, database(t, here), `SELECT kind FROM bans ORDER BY kind`)
		if !slices.Equal(bans, []string{"banned", "kicked"}) {
			t.Errorf("bans %q", bans)
		}
		sees(t, watch, map[string]string{"host": "online", "cohost": "online", "muted": "online"})

		// Leaving and ending take away what one would ask with.
		loses(t, link, `[{"ok":true`, func(c context.Context) error {
			return host.Conn().Call(c, "moderate", fields{"action": "end", "request_id": "r-3"}, nil)
		})
		j := asHost(m)
		j.ResumeToken = host.Joined().ResumeToken
		_, err = client.Join(ctx(t), url, j, client.Handlers{}, client.Options{})
		wantCode(t, err, fault.MeetingEnded)
	})
}

func TestLeaveAskedAgainHasLeft(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[len(n)-1], as(m, "a"), nil)
		link, url := through(t, n[0])
		b, err := client.Join(ctx(t), url, as(m, "b"), client.Handlers{}, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sees(t, a, map[string]string{"b": "online"})
		loses(t, link, `[{"ok":true`, func(c context.Context) error { return b.Conn().Call(c, "leave", map[string]any{}, nil) })
		sees(t, a, map[string]string{})
		body := map[string]any{"peer_id": b.PeerID(), "resume_token": b.Joined().ResumeToken}
		wantCode(t, client.Request(ctx(t), http.MethodPost, url, "/api/v1/leave", "", body, nil), fault.NotJoined)

		// A participant whose answer to a resume was lost has the token before, and leaves by it.
		c := join(t, n[0], as(m, "c"), nil)
		j := as(m, "c")
		j.ResumeToken = c.Joined().ResumeToken
		losesJoin(t, link, j)
		body = map[string]any{"peer_id": c.PeerID(), "resume_token": j.ResumeToken}
		if err := client.Request(ctx(t), http.MethodPost, n[len(n)-1].URL, "/api/v1/leave", "", body, nil); err != nil {
			t.Error(err)
		}
		sees(t, a, map[string]string{})
	})
}

// What was said while a participant was out for longer than the grace time it reads when it is back, in any
// meeting, also if the answer to its resume was lost before; what it had said itself is not said again.
func TestParticipantThatWasOutForLongReadsOn(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here, there := n[0], n[len(n)-1]
		m := meeting(t, here, nil)
		box := newInbox()
		a := join(t, here, as(m, "a"), box)
		link, url := through(t, there)
		b, err := client.Join(ctx(t), url, as(m, "b"), client.Handlers{}, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sees(t, a, map[string]string{"b": "online"})
		var own protocol.ChatDone
		unsure := protocol.Chat{ClientID: "c-1", Text: "mine"}
		loses(t, link, `"message_id"`, func(c context.Context) error { _, err := b.Chat(c, unsure); return err })
		j := as(m, "b")
		j.ResumeToken = b.Joined().ResumeToken
		losesJoin(t, link, j)
		sees(t, a, map[string]string{}) // the grace time is over
		say(t, a, "said meanwhile")

		back := join(t, here, asPast(m, "b", b), nil)
		if got := back.Joined().PastPeerIDs; !slices.Equal(got, []string{b.PeerID()}) {
			t.Fatalf("past seats %q", got)
		}
		if got := reads(t, back, b.Joined().Rev); !slices.Equal(got, []string{"said meanwhile"}) {
			t.Errorf("it reads %q", got)
		}
		if own, err = back.Chat(ctx(t), unsure); err != nil {
			t.Error(err)
		}
		say(t, back, "new")
		box.await(t, "the new message", func() bool { return len(box.chats) > 0 && box.chats[len(box.chats)-1].Text == "new" })
		heard := box.heard()
		if got := textsOf(heard); !slices.Equal(got, []string{"mine", "new"}) || heard[0].MessageID != own.MessageID {
			t.Errorf("the others heard %q", got)
		}
	}, "SIGNALD_GRACE=300ms")
}

func TestCreationWhoseAnswerIsLostIsAnsweredAgain(t *testing.T) {
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		link, url := through(t, n)
		create := func(c context.Context) (m client.Meeting, err error) {
			r, err := http.NewRequestWithContext(c, http.MethodPost, url+"/api/v1/meetings", strings.NewReader(`{"name":"Weekly","password":"secret"}`))
			if err != nil {
				return m, err
			}
			r.Header.Set("Idempotency-Key", attempted)
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
			if err != nil {
				return m, err
			}
			defer func() { _ = resp.Body.Close() }()
			var b bytes.Buffer
			if _, err := b.ReadFrom(resp.Body); err != nil {
				return m, err
			}
			if resp.StatusCode != http.StatusCreated {
				return m, errors.New(b.String())
			}
			return m, json.Unmarshal(b.Bytes(), &m)
		}
		for range 2 {
			loses(t, link, "host_key", func(c context.Context) error { _, err := create(c); return err })
		}
		m, err := create(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if host := join(t, n, asHost(m), nil); host.Joined().Role != "host" {
			t.Errorf("its creator is %s", host.Joined().Role)
		}
		if rows := cells(t, database(t, n), `SELECT name FROM meetings`); fmt.Sprint(rows) != "[Weekly]" {
			t.Errorf("the audit has %q", rows)
		}
	})
}
