package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// phoned is a connection of somebody whom a token names, in no meeting.
type phoned struct {
	*client.Conn
	said chan said
}

func phone(t *testing.T, n *testnode.Node, sub string) *phoned {
	t.Helper()
	p := &phoned{said: make(chan said, 64)}
	auth := map[string]any{"token": token(t, identity.Identity{Sub: sub, Name: "name of " + sub}, time.Minute)}
	c, err := client.Dial(ctx(t), n.URL, client.Options{Auth: auth, OnEvent: func(event string, args []json.RawMessage) {
		p.said <- said{event, args}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.Conn = c
	t.Cleanup(c.Kill)
	return p
}

// hears waits for an event of this name.
func hears[T any](t *testing.T, p *phoned, event string) (payload T) {
	t.Helper()
	c := ctx(t)
	for {
		select {
		case s := <-p.said:
			if s.event != event {
				continue
			}
			if err := json.Unmarshal(s.args[0], &payload); err != nil {
				t.Fatal(err)
			}
			return payload
		case <-c.Done():
			t.Fatalf("no %s came", event)
		}
	}
}

func (p *phoned) join(t *testing.T, m client.Meeting) {
	t.Helper()
	if err := p.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "x", "v": 2}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestPeopleRingEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := phone(t, n[0], "ada")
		b1, b2 := phone(t, n[0], "bob"), phone(t, n[len(n)-1], "bob")
		for _, p := range []*phoned{a, b1, b2} {
			if w := hears[protocol.Welcome](t, p, "welcome"); w.Sub == "" {
				t.Error("it is not told that it can be rung")
			}
		}
		invite := func(sub string) (done protocol.InviteDone, err error) {
			err = a.Call(ctx(t), "invite", map[string]any{"to_sub": sub}, &done)
			return done, err
		}
		_, err := invite("bob")
		wantCode(t, err, fault.NotJoined)
		a.join(t, m)
		_, err = invite("nobody")
		wantCode(t, err, fault.PeerGone)
		_, err = invite("ada")
		wantCode(t, err, fault.InvalidPayload)

		// Rejected on one device; the other hears of it.
		call, err := invite("bob")
		if err != nil {
			t.Fatal(err)
		}
		rung := hears[protocol.InviteOut](t, b1, "invite")
		want := protocol.InviteOut{CallID: call.CallID, MeetingID: m.MeetingID, From: protocol.Caller{Sub: "ada", Name: "name of ada"}, ExpiresInMS: 60000}
		if other := hears[protocol.InviteOut](t, b2, "invite"); rung != want || other != want {
			t.Errorf("rang as %+v and %+v", rung, other)
		}
		if err := b2.Call(ctx(t), "invite_answer", map[string]any{"call_id": call.CallID, "answer": "reject"}, nil); err != nil {
			t.Fatal(err)
		}
		if got := hears[protocol.InviteState](t, a, "invite_update"); got.CallID != call.CallID || got.State != "rejected" {
			t.Errorf("the caller was told %+v", got)
		}
		if got := hears[protocol.InviteState](t, b1, "invite_handled"); got.CallID != call.CallID || got.State != "rejected" {
			t.Errorf("the other device was told %+v", got)
		}

		// Cancelled.
		if call, err = invite("bob"); err != nil {
			t.Fatal(err)
		}
		hears[protocol.InviteOut](t, b2, "invite")
		if err := a.Call(ctx(t), "invite_cancel", map[string]any{"call_id": call.CallID}, nil); err != nil {
			t.Fatal(err)
		}
		if got := hears[protocol.InviteState](t, b2, "invite_handled"); got.State != "cancelled" {
			t.Errorf("told %+v", got)
		}

		// Accepted: the callee joins, and is busy from then on.
		if call, err = invite("bob"); err != nil {
			t.Fatal(err)
		}
		rung = hears[protocol.InviteOut](t, b2, "invite")
		if err := b2.Call(ctx(t), "invite_answer", map[string]any{"call_id": rung.CallID, "answer": "accept"}, nil); err != nil {
			t.Fatal(err)
		}
		for {
			if got := hears[protocol.InviteState](t, a, "invite_update"); got.CallID == call.CallID {
				if got.State != "accepted" {
					t.Errorf("told %+v", got)
				}
				break
			}
		}
		b2.join(t, client.Meeting{MeetingID: rung.MeetingID})
		if call, err = invite("bob"); err != nil {
			t.Fatal(err)
		}
		if got := hears[protocol.InviteState](t, a, "invite_update"); got.CallID != call.CallID || got.State != "busy" {
			t.Errorf("told %+v", got)
		}

		stranger := join(t, n[0], as(m, "bob"), nil)
		wantCode(t, stranger.Conn().Call(ctx(t), "invite", map[string]any{"to_sub": "bob"}, nil), fault.Unauthorized)
	}, tokenKeys)
}
