package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
)

// say sends a message to everyone, or to one, and must succeed.
func say(t *testing.T, p *client.Participant, text string, to ...string) protocol.ChatDone {
	t.Helper()
	c := protocol.Chat{ClientID: text, Text: text}
	if len(to) > 0 {
		c.To = to[0]
	}
	done, err := p.Chat(ctx(t), c)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return done
}

// hears waits until these texts have come, in this order, and nothing else.
func (b *inbox) hears(t *testing.T, texts ...string) {
	t.Helper()
	b.await(t, fmt.Sprintf("%q", texts), func() bool { return len(b.chats) >= len(texts) })
	if got := textsOf(b.heard()); !slices.Equal(got, texts) {
		t.Fatalf("heard %q, want %q", got, texts)
	}
}

func (b *inbox) heard() []protocol.ChatOut {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.chats)
}

func textsOf(list []protocol.ChatOut) []string {
	texts := []string{}
	for _, c := range list {
		texts = append(texts, c.Text)
	}
	return texts
}

func TestChatReachesAllOthersAndIsStamped(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		boxes := []*inbox{newInbox(), newInbox(), newInbox(), newInbox()}
		a := join(t, n[0], as(m, "a"), boxes[0])
		join(t, n[len(n)-1], as(m, "b"), boxes[1])
		join(t, n[0], as(m, "c"), boxes[2])
		elsewhere := join(t, n[0], as(meeting(t, n[0], nil), "x"), boxes[3])
		sees(t, a, map[string]string{"b": "online", "c": "online"})

		// Who it is from and when is the server's to say, whatever the client says.
		before := time.Now().Add(-time.Minute).UnixMilli()
		var done protocol.ChatDone
		err := a.Conn().Call(ctx(t), "chat", map[string]any{
			"client_id": "1", "text": "特殊消息1{\"a\":1}", "from": "p_forged", "name": "x", "at": 1, "message_id": "m_1", "delivery_id": 7,
			"meta": json.RawMessage(`{"n": 1.50}`),
		}, &done)
		if err != nil {
			t.Fatal(err)
		}
		for _, box := range boxes[1:3] {
			box.hears(t, "特殊消息1{\"a\":1}")
			got := box.heard()[0]
			want := protocol.ChatOut{
				MeetingID: m.MeetingID, MessageID: done.MessageID, DeliveryID: done.DeliveryID, ClientID: "1", From: a.PeerID(), Name: "a",
				Text: got.Text, Meta: got.Meta, At: done.At,
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || got.At < before || got.MessageID == "m_1" || string(got.Meta) != `{"n":1.50}` {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		say(t, a, "again")
		boxes[1].hears(t, boxes[1].heard()[0].Text, "again")
		if own, other := boxes[0].heard(), boxes[3].heard(); len(own) != 0 || len(other) != 0 {
			t.Errorf("the sender heard %v, another meeting %v", own, other)
		}
		if page, err := elsewhere.Missed(ctx(t), 0); err != nil || len(page.Messages) != 0 {
			t.Errorf("another meeting was told %v, %v", page, err)
		}
		_, err = elsewhere.Chat(ctx(t), protocol.Chat{ClientID: "1", Text: "x", To: a.PeerID()})
		wantCode(t, err, fault.NotInMeeting)
		wantCode(t, elsewhere.Conn().Call(ctx(t), "chat", map[string]any{"meeting_id": m.MeetingID, "client_id": "1", "text": "x"}, nil), fault.NotJoined)
	})
}

func TestPrivateChatIsForOne(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		boxes := []*inbox{newInbox(), newInbox()}
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[0], as(m, "b"), boxes[0])
		c := join(t, n[len(n)-1], as(m, "c"), boxes[1])
		sees(t, a, map[string]string{"b": "online", "c": "online"})
		say(t, a, "to c", c.PeerID())
		if err := a.Typing(ctx(t), c.PeerID()); err != nil {
			t.Fatal(err)
		}
		if err := a.Typing(ctx(t), ""); err != nil {
			t.Fatal(err)
		}
		say(t, a, "to all")
		boxes[1].hears(t, "to c", "to all")
		boxes[0].hears(t, "to all")
		boxes[1].await(t, "typing", func() bool { return len(boxes[1].typing) == 2 })
		boxes[0].await(t, "typing", func() bool { return len(boxes[0].typing) == 1 })
		if boxes[1].heard()[0].To != c.PeerID() || boxes[1].typing[0] != (protocol.TypingOut{MeetingID: m.MeetingID, From: a.PeerID(), To: c.PeerID()}) {
			t.Errorf("got %+v and %+v", boxes[1].heard()[0], boxes[1].typing[0])
		}
		page, err := b.Missed(ctx(t), 0)
		if err != nil || !slices.Equal(textsOf(page.Messages), []string{"to all"}) {
			t.Errorf("b may read %v, %v", textsOf(page.Messages), err)
		}
		_, err = a.Chat(ctx(t), protocol.Chat{ClientID: "2", Text: "x", To: a.PeerID()})
		wantCode(t, err, fault.InvalidPayload)
	})
}

// 5 senders on all nodes at once: whatever way the messages take, everyone is told
// them in one order, and each sender's in the order that it sent them.
func TestChatHasOneOrderForAll(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		const senders, each = 5, 100
		m := meeting(t, n[0], nil)
		var boxes []*inbox
		for i := range 3 {
			boxes = append(boxes, newInbox())
			join(t, n[i%len(n)], as(m, fmt.Sprint("listener ", i)), boxes[i])
		}
		var sending sync.WaitGroup
		for s := range senders {
			p := join(t, n[s%len(n)], as(m, fmt.Sprint("sender ", s)), nil)
			sending.Go(func() {
				for i := range each {
					c := protocol.Chat{ClientID: fmt.Sprint(i), Text: fmt.Sprint(s, " ", i)}
					_, err := p.Chat(ctx(t), c)
					for fault.CodeOf(err) == fault.Unavailable { // a busy machine; said again it is the same message
						_, err = p.Chat(ctx(t), c)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		sending.Wait()
		for _, box := range boxes {
			box.await(t, "all messages", func() bool { return len(box.chats) == senders*each })
			if !slices.Equal(textsOf(box.heard()), textsOf(boxes[0].heard())) {
				t.Error("two were told in different orders")
			}
		}
		next := map[string]int{}
		last := int64(0)
		for _, c := range boxes[0].heard() {
			s, i, _ := strings.Cut(c.Text, " ")
			if i != fmt.Sprint(next[s]) || c.DeliveryID <= last {
				t.Fatalf("%q as delivery %d after %d, want %d of sender %s", c.Text, c.DeliveryID, last, next[s], s)
			}
			next[s], last = next[s]+1, c.DeliveryID
		}
	})
}

func TestChatSaidTwiceIsToldOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		box := newInbox()
		a := join(t, n[0], as(m, "a"), nil)
		join(t, n[len(n)-1], as(m, "b"), box)
		first := say(t, a, "once")
		if again := say(t, a, "once"); again != first {
			t.Errorf("told %+v, then %+v", first, again)
		}
		a.Conn().Kill() // the ack may get lost, so it says so again when it is back
		j := as(m, "a")
		j.ResumeToken = a.Joined().ResumeToken
		a = join(t, n[0], j, nil)
		if again := say(t, a, "once"); again != first {
			t.Errorf("told %+v, then %+v", first, again)
		}
		say(t, a, "end")
		box.hears(t, "once", "end")
	})
}

func TestWhoWasAwayGetsWhatWasSaidInOrderOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		box := newInbox()
		b := join(t, n[0], as(m, "b"), box)
		sees(t, a, map[string]string{"b": "online"})
		say(t, a, "before")
		box.hears(t, "before")
		cursor := box.heard()[0].DeliveryID
		b.Conn().Kill()
		sees(t, a, map[string]string{"b": "away"})
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint("all ", i), fmt.Sprint("private ", i))
			say(t, a, fmt.Sprint("all ", i))
			say(t, a, fmt.Sprint("private ", i), b.PeerID())
		}
		j := as(m, "b")
		j.ResumeToken = b.Joined().ResumeToken
		box = newInbox()
		b = join(t, n[len(n)-1], j, box)
		say(t, a, "after")
		page, err := b.Missed(ctx(t), cursor)
		if err != nil {
			t.Fatal(err)
		}
		box.await(t, "the last", func() bool { return len(box.chats) > 0 && box.chats[len(box.chats)-1].Text == "after" })
		got := textsOf(page.Messages)
		for _, c := range box.heard() { // what was told while we asked comes twice, and is known by its number
			if c.DeliveryID > page.Last {
				got = append(got, c.Text)
			}
		}
		if want = append(want, "after"); !slices.Equal(got, want) {
			t.Errorf("%d messages, want %d: %q", len(got), len(want), got)
		}
	})
}

func TestChatSyncComesInPages(t *testing.T) {
	n := testnode.Start(t)
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	b := join(t, n, as(m, "b"), nil)
	cursor := b.Joined().Rev
	for i := range 7 {
		say(t, a, fmt.Sprint(i))
	}
	say(t, b, "own")
	var sizes []int
	for more := true; more; {
		page, err := b.MissedPage(ctx(t), protocol.ChatSync{After: cursor, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		sizes, cursor, more = append(sizes, len(page.Messages)), page.Last, page.More
	}
	if !slices.Equal(sizes, []int{3, 3, 1}) {
		t.Errorf("pages of %v", sizes)
	}
	if page, err := b.MissedPage(ctx(t), protocol.ChatSync{Own: true}); err != nil || len(page.Messages) != 8 {
		t.Errorf("%v, %v", textsOf(page.Messages), err)
	}
	late := join(t, n, as(m, "late"), nil)
	if page, err := late.Missed(ctx(t), 0); err != nil || len(page.Messages) != 0 {
		t.Errorf("a newcomer may read %v, %v", textsOf(page.Messages), err)
	}
}

func TestRevokedMessageIsGoneForAll(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		host := as(m, "host")
		host.HostKey = m.HostKey
		box := newInbox()
		h := join(t, n[0], host, nil)
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), box)
		sees(t, a, map[string]string{"host": "online", "b": "online"})
		mine, other, private := say(t, a, "mine"), say(t, a, "the host's to revoke"), say(t, a, "private", b.PeerID())
		box.hears(t, "mine", "the host's to revoke", "private")
		wantCode(t, b.Revoke(ctx(t), mine.MessageID), fault.Forbidden)
		wantCode(t, a.Revoke(ctx(t), "m_unknown"), fault.NotFound)
		wantCode(t, h.Revoke(ctx(t), private.MessageID), fault.NotFound) // it does not know of it
		for _, r := range []error{a.Revoke(ctx(t), mine.MessageID), h.Revoke(ctx(t), other.MessageID), a.Revoke(ctx(t), mine.MessageID)} {
			if r != nil {
				t.Error(r)
			}
		}
		box.await(t, "both updates", func() bool { return len(box.updates) >= 2 })
		if u := box.updates; u[0].MessageID != mine.MessageID || u[1].MessageID != other.MessageID || !u[0].Revoked || u[1].DeliveryID <= u[0].DeliveryID {
			t.Errorf("updates %+v", u)
		}
		page, err := b.Missed(ctx(t), private.DeliveryID)
		if err != nil || len(page.Messages) != 0 || len(page.Updates) != 2 {
			t.Errorf("missed %+v, %v", page, err)
		}
		page, err = b.Missed(ctx(t), 0)
		if err != nil || !slices.Equal(textsOf(page.Messages), []string{"", "", "private"}) || !page.Messages[0].Revoked || page.Messages[2].Revoked {
			t.Errorf("from the beginning: %+v, %v", page, err)
		}
	})
}

func TestOldMessageCannotBeRevoked(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_CHAT_REVOKE=0s")
	a := join(t, n, as(meeting(t, n, nil), "a"), nil)
	wantCode(t, a.Revoke(ctx(t), say(t, a, "x").MessageID), fault.TooLate)
}

func TestChatOffIsForTheHostAlone(t *testing.T) {
	n := testnode.Start(t)
	m := meeting(t, n, map[string]any{"policy": map[string]any{"chat": false}})
	host := as(m, "host")
	host.HostKey = m.HostKey
	box := newInbox()
	h := join(t, n, host, nil)
	a := join(t, n, as(m, "a"), box)
	_, err := a.Chat(ctx(t), protocol.Chat{ClientID: "1", Text: "x"})
	wantCode(t, err, fault.Forbidden)
	say(t, h, "quiet, please")
	box.hears(t, "quiet, please")
}

func TestChatIsLimitedForEachSocket(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_RATE_LIMITS=on")
	a := join(t, n, as(meeting(t, n, nil), "a"), nil)
	for i := range 200 {
		_, err := a.Chat(ctx(t), protocol.Chat{ClientID: fmt.Sprint(i), Text: "x"})
		var f *fault.Error
		if errors.As(err, &f) {
			if i < 20 || f.Code != fault.RateLimited || f.RetryAfterMS == 0 {
				t.Errorf("message %d: %v", i, err)
			}
			return
		}
	}
	t.Error("200 messages at once")
}

func TestNothingOfTheChatStaysWhenTheLastHasLeft(t *testing.T) {
	n := testnode.Start(t)
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	b := join(t, n, as(m, "b"), nil)
	done := say(t, a, "once")
	if err := a.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if page, err := b.Missed(ctx(t), 0); err != nil || len(page.Messages) != 1 {
		t.Errorf("with one left: %+v, %v", page, err)
	}
	if err := b.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	a = join(t, n, as(m, "a"), nil)
	if again := say(t, a, "once"); again.MessageID == done.MessageID || again.DeliveryID <= done.DeliveryID {
		t.Errorf("%+v after %+v", again, done)
	}
	if page, err := a.MissedPage(ctx(t), protocol.ChatSync{Own: true}); err != nil || len(page.Messages) != 1 {
		t.Errorf("found %+v, %v", page, err)
	}
}

// The server is killed while messages are being said: who was told that a message
// is stored finds it, once, and nobody is told what is not.
func TestKilledServerLosesNoMessageItHasAcknowledged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			env := []string{"SIGNALD_GRACE=1m"}
			if kind == "PostgreSQL" {
				env = append(env, "SIGNALD_DATABASE_URL="+testpg.URL(t))
			}
			n := testnode.Start(t, env...)
			m := meeting(t, n, nil)
			box := newInbox()
			a := join(t, n, as(m, "a"), nil)
			b := join(t, n, as(m, "b"), box)
			c := join(t, n, as(m, "c"), nil)
			c.Conn().Kill() // away all the time
			sees(t, a, map[string]string{"b": "online", "c": "away"})
			acked := map[string]int64{}
			halfway := make(chan struct{})
			var talking sync.WaitGroup
			talking.Go(func() {
				for i := 0; ; i++ {
					done, err := a.Chat(ctx(t), protocol.Chat{ClientID: fmt.Sprint(i), Text: fmt.Sprint(i)})
					if err != nil {
						return
					}
					if acked[fmt.Sprint(i)] = done.DeliveryID; i == 50 {
						close(halfway)
					}
				}
			})
			<-halfway
			n.Kill()
			talking.Wait()
			<-b.Conn().Done()
			n.Start()
			for _, who := range []*client.Participant{b, c} {
				j := protocol.Join{MeetingID: m.MeetingID, UserID: "x", ResumeToken: who.Joined().ResumeToken}
				back := join(t, n, j, nil)
				page, err := back.Missed(ctx(t), who.Joined().Rev)
				if err != nil {
					t.Fatal(err)
				}
				found := map[string]int64{}
				for i, msg := range page.Messages {
					if found[msg.Text] = msg.DeliveryID; msg.Text != fmt.Sprint(i) {
						t.Fatalf("message %d is %q", i, msg.Text)
					}
				}
				for text, id := range acked {
					if found[text] != id {
						t.Errorf("%q was acknowledged as %d and found as %d", text, id, found[text])
					}
				}
				for _, told := range box.chats {
					if found[told.Text] != told.DeliveryID {
						t.Errorf("%q was told and is not stored", told.Text)
					}
				}
			}
		})
	}
}

func TestMessageThatCannotBeStoredIsToldToNobody(t *testing.T) {
	onEachNumber(t, func(t *testing.T, pg *testpg.Server, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		box := newInbox()
		a := join(t, n[0], as(m, "a"), nil)
		join(t, n[len(n)-1], as(m, "b"), box)
		sees(t, a, map[string]string{"b": "online"})
		say(t, a, "before")
		box.hears(t, "before")
		pg.Stop()
		for range 3 {
			_, err := a.Chat(ctx(t), protocol.Chat{ClientID: "lost", Text: "lost"})
			wantCode(t, err, fault.Unavailable)
		}
		if told := box.heard(); len(told) != 1 {
			t.Errorf("told %+v", told)
		}
		pg.Start()
		say(t, a, "after")
		box.hears(t, "before", "after")
	})
}
