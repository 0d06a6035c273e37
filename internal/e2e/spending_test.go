package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// speak says something until it is refused, and reports how often it was not.
func speak(t *testing.T, p *client.Participant, text string) (said int, refusal *fault.Error) {
	t.Helper()
	for i := range 5000 {
		err := p.Conn().Call(ctx(t), "chat", map[string]any{"client_id": fmt.Sprint("c", i), "text": text}, nil)
		switch {
		case fault.CodeOf(err) == fault.RateLimited:
			return said, asFault(t, err)
		case err != nil:
			t.Fatal(err)
		}
		said++
	}
	t.Fatal("never refused")
	return 0, nil
}

func TestReconnectingRenewsNothing(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, limited...)
	m := meeting(t, n, nil)
	began := time.Now()
	said := 0
	for range 40 {
		p := joinFrom(t, n, office, as(m, "x"), nil)
		more, refusal := speak(t, p, "again")
		if refusal.RetryAfterMS <= 0 {
			t.Error("a refusal does not say for how long")
		}
		said += more
		_ = p.Conn().Call(ctx(t), "leave", map[string]any{}, nil) // the seat
		p.Conn().Kill()
		<-p.Conn().Done()
	}
	// Two of them may be open at a time.
	if most := 2*30 + 2*5*time.Since(began).Seconds() + 5; float64(said) > most {
		t.Errorf("%d messages in %v of 40 connections, want the %.0f of two", said, time.Since(began), most)
	}
	if more, _ := speak(t, joinFrom(t, n, elsewhere, as(m, "y"), nil), "first"); more < 30 {
		t.Errorf("another address says %d", more)
	}
}

func asFault(t *testing.T, err error) *fault.Error {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	return f
}

// Many addresses in one meeting say no more than it is to be told; other meetings are told theirs.
func TestMeetingIsToldSoManyMessagesAtMost(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, append(limited, "SIGNALD_MAX_PEERS=40")...)
	m, other := meeting(t, n, nil), meeting(t, n, nil)
	heard := newInbox()
	joinFrom(t, n, "198.51.100.99", as(m, "ear"), heard)
	began := time.Now()
	var said atomic.Int64
	var full atomic.Int64
	var all sync.WaitGroup
	for i := range 30 {
		p := joinFrom(t, n, fmt.Sprint("198.51.100.", i), as(m, fmt.Sprint("u", i)), nil)
		all.Go(func() {
			n, refusal := speak(t, p, "all at once")
			said.Add(int64(n))
			if strings.Contains(refusal.Message, "in this meeting") {
				full.Add(1)
			}
		})
	}
	all.Wait()
	if most := 500 + 20*time.Since(began).Seconds() + 1; float64(said.Load()) > most || full.Load() == 0 {
		t.Errorf("%d messages were told in %v, want %.0f at most; %d were told why", said.Load(), time.Since(began), most, full.Load())
	}
	heard.await(t, "everything that was taken", func() bool { return int64(len(heard.chats)) == said.Load() })
	if more, _ := speak(t, joinFrom(t, n, "198.51.100.0", as(other, "v"), nil), "elsewhere"); more < 1 {
		t.Errorf("another meeting is told %d", more)
	}
}

// What an address says at one node counts at the others.
func TestNodesKeepOneSum(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2, append(limited, "SIGNALD_MAX_PEERS=40")...)
	m := meeting(t, nodes[0], nil)
	began := time.Now()
	said := func(node *testnode.Node, user string) int {
		n, _ := speak(t, joinFrom(t, node, office, as(m, user), nil), "x")
		return n
	}
	total := 0
	for i := range 10 { // the address's part of a meeting is 300, a connection's 30
		total += said(nodes[0], fmt.Sprint("a", i))
	}
	if total < 290 {
		t.Fatalf("the address says %d at one node", total)
	}
	time.Sleep(3 * time.Second) // sums are told once a second
	more := 0
	for i := range 5 {
		more += said(nodes[1], fmt.Sprint("b", i))
	}
	if most := 10*time.Since(began).Seconds() + 30; float64(more) > most { // 10 a second come back
		t.Errorf("the address says %d more at the other node, %.0f at most", more, most)
	}
	if n, _ := speak(t, joinFrom(t, nodes[1], elsewhere, as(m, "c"), nil), "x"); n < 30 {
		t.Errorf("another address says %d", n)
	}
}

// slow is a participant that reads nothing until it is told to.
type slow struct {
	conn    *websocket.Conn
	peer    string
	signals atomic.Int64
}

func slowReader(t *testing.T, n *testnode.Node, m client.Meeting, version int) *slow {
	t.Helper()
	s := &slow{conn: dialFrom(t, n, "198.51.100.10")}
	join := fmt.Sprintf(`421["join",{"v":%d,"meeting_id":%q,"user_id":"victim"}]`, version, m.MeetingID)
	if err := s.conn.WriteMessage(websocket.TextMessage, []byte(join)); err != nil {
		t.Fatal(err)
	}
	for {
		_, b, err := s.conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if after, ok := strings.CutPrefix(string(b), "431"); ok {
			var ack []protocol.Joined
			if err := json.Unmarshal([]byte(after), &ack); err != nil || !ack[0].OK {
				t.Fatalf("%s: %v", b, err)
			}
			s.peer = ack[0].PeerID
			return s
		}
	}
}

// read reads on, and answers pings, until the connection ends.
func (s *slow) read() {
	go func() {
		for {
			_, b, err := s.conn.ReadMessage()
			switch {
			case err != nil:
				return
			case string(b) == "2":
				_ = s.conn.WriteMessage(websocket.TextMessage, []byte("3")) // the next read tells if it failed
			case strings.HasPrefix(string(b), `42["signal"`):
				s.signals.Add(1)
			}
		}
	}()
}

// One guest sends another as much as it is let. The receiver, behind a line that takes nothing for a while, stays; the
// sender is told; a third one's signals arrive.
func TestNobodyIsCutByWhatOthersSend(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, append(limited, "SIGNALD_PING_INTERVAL=25s", "SIGNALD_PING_TIMEOUT=20s")...)
	m := meeting(t, n, nil)
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("protocol ", version), func(t *testing.T) {
			victim := slowReader(t, n, m, version)
			evil, honest := joinFrom(t, n, office, as(m, "evil"), nil), joinFrom(t, n, elsewhere, as(m, "honest"), nil)
			candidate := map[string]any{"candidate": strings.Repeat("x", 1990), "sdpMid": "0"}
			signal := func(p *client.Participant, candidates int) error {
				list := make([]any, candidates)
				for i := range list {
					list[i] = candidate
				}
				return p.Conn().Call(ctx(t), "signal", map[string]any{"to": victim.peer, "kind": "candidates", "neg": "n", "list": list}, nil)
			}
			refused := 0
			for range 199 {
				switch err := signal(evil, 31); fault.CodeOf(err) {
				case fault.RateLimited:
					refused++
				case "":
					if err != nil {
						t.Fatal(err)
					}
				default:
					t.Fatal(err)
				}
			}
			if refused < 100 {
				t.Errorf("%d of 199 were refused", refused)
			}
			if err := signal(honest, 1); err != nil {
				t.Errorf("somebody else's signal: %v", err)
			}
			victim.read()
			eventually(t, "the receiver has what was taken, and stays", 20*time.Second, func() bool {
				return victim.signals.Load() == int64(199-refused+1)
			})
			if err := signal(honest, 1); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			_ = victim.conn.Close()
			evil.Conn().Kill()
			honest.Conn().Kill()
		})
	}
}

// An office of 200 people behind one address, in forty meetings, and a conference of a hundred of them in one: all join,
// say something, reload, lose their network together, and come back. Nobody is refused anything.
func TestOfficeNoticesNoLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ people, meetings int }{"forty meetings": {200, 40}, "one meeting": {100, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := testnode.Start(t, append(limited, "SIGNALD_MAX_SOCKETS_PER_IP=1000", "SIGNALD_MAX_PEERS=100", "SIGNALD_GRACE=15s", "SIGNALD_LOG_LEVEL=info")...)
			meetings := make([]client.Meeting, c.meetings)
			for i := range meetings {
				m := map[string]any{}
				resp, body := do(t, http.DefaultClient, "POST", n.URL+"/api/v1/meetings", `{}`, "X-Forwarded-For", office)
				if err := json.Unmarshal([]byte(body), &m); err != nil || resp.StatusCode != http.StatusCreated {
					t.Fatalf("creating meeting %d: %s %s", i, resp.Status, body)
				}
				meetings[i] = client.Meeting{MeetingID: m["meeting_id"].(string)}
			}
			people := make([]*client.Participant, c.people)
			tokens := make([]string, c.people)
			everybody := func(what string, act func(i int) error) {
				t.Helper()
				var all sync.WaitGroup
				for i := range people {
					all.Go(func() {
						err := act(i)
						for try := 0; fault.CodeOf(err) == fault.Unavailable && try < 20; try++ { // a busy machine: clients ask again
							time.Sleep(200 * time.Millisecond)
							err = act(i)
						}
						if err != nil {
							t.Errorf("%s, person %d: %v", what, i, err)
						}
					})
				}
				all.Wait()
				if t.Failed() {
					t.FailNow()
				}
			}
			enter := func(i int) error {
				j := as(meetings[i%c.meetings], fmt.Sprint("person ", i))
				j.ResumeToken = tokens[i]
				p, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, at(office))
				if err == nil {
					people[i], tokens[i] = p, p.Joined().ResumeToken
				}
				return err
			}
			say := func(i int) error {
				_, err := people[i].Chat(ctx(t), protocol.Chat{ClientID: fmt.Sprint("c", i), Text: "Good morning, everybody"})
				return err
			}
			introduce := func(i int) error { // an offer to some of the others: to each is more than two cores have time for
				const some = 20
				sent := 0
				_, others := people[i].Roster()
				for peer := range others {
					if sent++; sent > some {
						break
					}
					if _, err := people[i].Signal(ctx(t), peer, "offer", "n", strings.Repeat("v=0 ", 1000)); err != nil {
						return err
					}
				}
				return nil
			}
			everybody("joining", enter)
			everybody("saying something", say)
			everybody("introducing themselves", introduce)
			for _, p := range people {
				p.Conn().Kill()
			}
			everybody("coming back after a reload", enter)
			for _, p := range people {
				p.Conn().Kill()
			}
			db := database(t, n)
			eventually(t, "all seats are lost", 60*time.Second, func() bool {
				var seats int
				if err := db.QueryRow("SELECT count(*) FROM participants").Scan(&seats); err != nil {
					t.Fatal(err)
				}
				return seats == 0
			})
			clear(tokens)
			everybody("coming back after the grace", enter)
			everybody("saying something again", say)
			for _, p := range people {
				p.Conn().Kill()
			}
		})
	}
}
