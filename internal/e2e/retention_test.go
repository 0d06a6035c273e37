package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// asPast is who was there before, by the seat it had.
func asPast(m client.Meeting, user string, past *client.Participant) protocol.Join {
	j := as(m, user)
	j.PastToken = past.Joined().ResumeToken
	return j
}

// reads is what a participant is told that asks for all after a delivery.
func reads(t *testing.T, p *client.Participant, after int64) []string {
	t.Helper()
	page, err := p.Missed(ctx(t), after)
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(page.Messages)
}

func leaveAll(t *testing.T, all ...*client.Participant) {
	t.Helper()
	for _, p := range all {
		if err := p.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhoReturnsWithinTheRetentionGetsWhatWasMissedInOrderOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		last := n[len(n)-1]
		m := meeting(t, n[0], map[string]any{"retention_s": 3600})
		host := joinFrom(t, n[0], "198.51.100.1", asHost(m), newInbox())
		if got := host.Joined().Meeting.Retention; got != 3600 {
			t.Errorf("told of %d seconds", got)
		}
		box := newInbox()
		a, removed := join(t, last, as(m, "a"), box), joinFrom(t, last, "198.51.100.2", as(m, "removed"), newInbox())
		sees(t, host, map[string]string{"a": "online", "removed": "online"})
		say(t, host, "heard")
		box.hears(t, "heard")
		cursor := box.heard()[0].DeliveryID
		own := say(t, a, "own")
		say(t, host, "last to a", a.PeerID())
		box.hears(t, "heard", "last to a")
		leaveAll(t, a)
		moderate(t, host, protocol.Moderate{Action: protocol.ActionKick, PeerID: removed.PeerID()})
		b := join(t, last, as(m, "b"), nil)
		sees(t, host, map[string]string{"b": "online"})
		sees(t, b, map[string]string{"host": "online"})
		say(t, host, "two")
		say(t, host, "to b", b.PeerID())
		say(t, b, "three")
		leaveAll(t, b, host)
		for _, node := range n {
			if code := node.Stop(ctx(t)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			node.Start()
		}

		box = newInbox()
		back := join(t, n[0], asPast(m, "a", a), box)
		if got := back.Joined().PastPeerIDs; !slices.Equal(got, []string{a.PeerID()}) {
			t.Errorf("past seats %q", got)
		}
		if got, want := reads(t, back, cursor), []string{"last to a", "two", "three"}; !slices.Equal(got, want) {
			t.Errorf("after %d: %q, want %q", cursor, got, want)
		}
		page, err := back.MissedPage(ctx(t), protocol.ChatSync{Own: true, Limit: 4})
		if got, want := textsOf(page.Messages), []string{"heard", "own", "last to a", "two"}; err != nil || !slices.Equal(got, want) || !page.More {
			t.Errorf("from the beginning: %q, %v", got, err)
		}
		again := join(t, last, asPast(m, "removed-again", removed), nil)
		fresh := join(t, last, as(m, "new"), nil)
		for _, p := range []*client.Participant{again, fresh} {
			if got := reads(t, p, 0); len(got) > 0 || p.Joined().PastPeerIDs != nil {
				t.Errorf("past seats %q, read %q", p.Joined().PastPeerIDs, got)
			}
		}
		say(t, fresh, "now")
		box.hears(t, "now")
		now := box.heard()[0].DeliveryID
		if got := reads(t, back, now); len(got) > 0 {
			t.Errorf("told again: %q", got)
		}

		// And once more: by the token of the seat that it has now it is who it was at first.
		leaveAll(t, back)
		third := join(t, last, asPast(m, "a", back), nil)
		if got, want := reads(t, third, cursor), []string{"last to a", "two", "three", "now"}; !slices.Equal(got, want) {
			t.Errorf("another time: %q, want %q", got, want)
		}
		wantCode(t, fresh.Revoke(ctx(t), own.MessageID), fault.Forbidden)
		if err := third.Revoke(ctx(t), own.MessageID); err != nil {
			t.Errorf("what it said itself: %v", err)
		}
	}, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32")
}

func TestEveryWayOfLeavingIsReadOnAfter(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		last := n[len(n)-1]
		m := meeting(t, n[0], map[string]any{"retention_s": 3600})
		host := join(t, n[0], asHost(m), newInbox())
		left, lost, closed, reloaded := join(t, last, as(m, "left"), nil), join(t, last, as(m, "lost"), nil), join(t, last, as(m, "closed"), nil), join(t, last, as(m, "reloaded"), nil)
		sees(t, host, map[string]string{"left": "online", "lost": "online", "closed": "online", "reloaded": "online"})
		leaveAll(t, left)
		lost.Conn().Kill()
		body := map[string]any{"peer_id": closed.PeerID(), "resume_token": closed.Joined().ResumeToken}
		if err := client.Request(ctx(t), http.MethodPost, n[0].URL, "/api/v1/leave", "", body, nil); err != nil {
			t.Fatal(err)
		}
		beacon(t, n[0], reloaded)
		sees(t, host, map[string]string{})
		say(t, host, "later")
		for _, p := range []*client.Participant{left, lost, closed, reloaded} {
			back := join(t, n[0], asPast(m, "back", p), nil)
			if got := reads(t, back, p.Joined().Rev); !slices.Equal(got, []string{"later"}) {
				t.Errorf("%s was told %q", p.Joined().Message, got)
			}
		}
	}, "SIGNALD_GRACE=200ms")
}

// Also not by a connection that had just gone, and might have returned.
func TestWhoWasRemovedReadsNothingLater(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"retention_s": 3600})
		host := joinFrom(t, n[0], "198.51.100.1", asHost(m), newInbox())
		var seats []*client.Participant
		for range 3 {
			seats = append(seats, joinFrom(t, n[len(n)-1], "198.51.100.2", as(m, "x"), newInbox()))
		}
		hasPeers(t, host, 3)
		leaveAll(t, seats[0])
		beacon(t, n[0], seats[1])
		hasPeers(t, host, 1)
		moderate(t, host, protocol.Moderate{Action: protocol.ActionKick, PeerID: seats[2].PeerID()})
		say(t, host, "later")
		for _, gone := range []bool{false, true} {
			if gone {
				awaitNoRow(t, n[0], `SELECT peer_id FROM participants WHERE state = 'returning'`)
			}
			for i, p := range seats[1:] {
				back := join(t, n[0], asPast(m, "somebody else", p), nil)
				if got := reads(t, back, 0); len(got) > 0 || back.Joined().PastPeerIDs != nil {
					t.Errorf("seat %d, given up %v, was told %q", i, gone, got)
				}
				leaveAll(t, back)
			}
		}
	}, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_GRACE=2s")
}

func hasPeers(t *testing.T, p *client.Participant, count int) {
	t.Helper()
	if err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == count }); err != nil {
		t.Fatalf("want %d: %v", count, err)
	}
}

func TestAfterTheRetentionNothingOfTheChatIsThere(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"retention_s": 1})
		a := join(t, n[0], as(m, "a"), nil)
		say(t, a, "soon forgotten")
		leaveAll(t, a)
		emptied(t, n[0])
		back := join(t, n[0], asPast(m, "a", a), nil)
		if got := reads(t, back, 0); len(got) > 0 || back.Joined().PastPeerIDs != nil {
			t.Errorf("past seats %q, read %q", back.Joined().PastPeerIDs, got)
		}
	})
}

func TestEndedMeetingKeepsNoMessage(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"retention_s": 3600})
		host, a := join(t, n[0], asHost(m), nil), join(t, n[len(n)-1], as(m, "a"), nil)
		sees(t, host, map[string]string{"a": "online"})
		say(t, a, "gone")
		moderate(t, host, protocol.Moderate{Action: protocol.ActionEnd})
		emptied(t, n[0])
	})
}

// emptied waits until no table has anything of a chat.
func emptied(t *testing.T, n *testnode.Node) {
	t.Helper()
	awaitNoRow(t, n, `SELECT message_id FROM messages UNION ALL SELECT peer_id FROM chat_readers`)
}

func awaitNoRow(t *testing.T, n *testnode.Node, query string) {
	t.Helper()
	db := database(t, n)
	deadline := time.Now().Add(60 * time.Second)
	for {
		rows := cells(t, db, query)
		if len(rows) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", rows)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
