package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// limited are settings of a node that believes what tests say of their addresses.
var limited = []string{"SIGNALD_RATE_LIMITS=on", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32"}

const office, elsewhere = "203.0.113.5", "203.0.113.6"

// status is that of a request from an address.
func status(t *testing.T, n *testnode.Node, address, method, path, body, token string) int {
	t.Helper()
	header := []string{"X-Forwarded-For", address}
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	resp, _ := do(t, http.DefaultClient, method, n.URL+"/api/v1/"+path, body, header...)
	return resp.StatusCode
}

// TestFailedGuessesCountAtEveryNode: at keys, and at the admin's token. A guesser that goes from node to node
// gets no more of them, and clients from elsewhere are not held up.
func TestFailedGuessesCountAtEveryNode(t *testing.T) {
	n := cluster(t, 2, limited...)
	meeting(t, n[0], map[string]any{"meeting_id": "short"})
	for what, c := range map[string]struct {
		path, right, wrong string
		token              string
		burst              int
	}{
		"keys":   {right: "meetings/short", wrong: "meetings/wrong", burst: 20},
		"logins": {right: "admin/audit", wrong: "admin/audit", token: testnode.AdminToken, burst: 10},
	} {
		t.Run(what, func(t *testing.T) {
			wrongToken := ""
			if c.token != "" {
				wrongToken = "wrong"
			}
			guess := func(node *testnode.Node) int { return status(t, node, office, "GET", c.wrong, "", wrongToken) }
			for i := range c.burst {
				if code := guess(n[0]); code == http.StatusTooManyRequests {
					t.Fatalf("refused after %d", i)
				}
			}
			eventually(t, "the other node refuses", 60*time.Second, func() bool {
				var refused atomic.Int64
				var all sync.WaitGroup
				for range 8 { // one may wait for its turn
					all.Go(func() {
						if guess(n[1]) == http.StatusTooManyRequests {
							refused.Add(1)
						}
					})
				}
				all.Wait()
				return refused.Load() >= 5
			})
			if code := status(t, n[1], elsewhere, "GET", c.right, "", c.token); code != http.StatusOK {
				t.Errorf("from another address: %d", code)
			}
		})
	}
}

// guesser guesses wrong secrets from an address: 20 at once, then one each second until the test ends.
func guesser(t *testing.T, guess func(i int)) {
	for i := range 20 {
		guess(i)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 20; ; i++ {
			select {
			case <-time.After(time.Second):
				all.Go(func() { guess(i) })
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); all.Wait() })
}

// TestGuesserRefusesNobodyOfItsAddress: what 128 or 100 random bits prove is answered at once, a password or a
// short key of other people after a short wait.
func TestGuesserRefusesNobodyOfItsAddress(t *testing.T) {
	// A password is compared when those that the guesser has sent before it have been, which takes as long as the machine has no core
	// for it.
	const atOnce, shortly = 5 * time.Second, 30 * time.Second
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		guarded := meeting(t, n[0], map[string]any{"password": "right", "policy": map[string]any{"max_peers": 8}})
		neighbours := meeting(t, n[0], map[string]any{"password": "right"})
		short := meeting(t, n[0], map[string]any{"meeting_id": "short", "policy": map[string]any{"max_peers": 8}})
		lobby := meeting(t, n[0], map[string]any{"meeting_id": "lobby", "policy": map[string]any{"lobby": true}})
		last := n[len(n)-1]
		anna := joinFrom(t, n[0], office, as(m, "anna"), newInbox())
		bert := joinFrom(t, n[0], office, as(short, "bert"), newInbox())
		waits := as(lobby, "waits")
		waits.Attempt = "an-attempt-of-at-least-22-characters"
		wantCode(t, tryFrom(t, n[0], office, waits), fault.Waiting)

		guesser(t, func(i int) {
			j := as(guarded, fmt.Sprint("guesser ", i))
			j.Password = "wrong"
			_ = tryQuietly(n[0], office, j)
			_ = tryQuietly(n[0], office, protocol.Join{MeetingID: fmt.Sprint("none", i), UserID: "u", ResumeToken: "rt_none", HostKey: "hk_none"})
			_ = tryQuietly(n[0], office, protocol.Join{MeetingID: m.MeetingID, UserID: "u", HostKey: "hk_none"})
			_ = tryQuietly(n[0], office, protocol.Join{MeetingID: m.MeetingID, UserID: "u", ResumeToken: fmt.Sprint("rt_none", i)})
		})
		in := func(what string, within time.Duration, j protocol.Join) {
			t.Helper()
			if took := eventually(t, what, within, func() bool {
				err := tryFrom(t, last, office, j)
				if code := fault.CodeOf(err); err != nil && code != fault.RateLimited && code != fault.Unavailable {
					t.Fatalf("%s: %v", what, err)
				}
				return err == nil
			}); took > within {
				t.Errorf("%s took %s", what, took)
			}
		}
		with := func(j protocol.Join, change func(*protocol.Join)) protocol.Join { change(&j); return j }
		in("a key of 100 bits", atOnce, as(m, "carla"))
		in("a return", atOnce, with(as(m, "anna"), func(j *protocol.Join) { j.ResumeToken = anna.Joined().ResumeToken }))
		in("a return under a short key", atOnce, with(as(short, "bert"), func(j *protocol.Join) { j.ResumeToken = bert.Joined().ResumeToken }))
		in("a host key", atOnce, asHost(m))
		in("a host key of a short key's meeting", atOnce, asHost(short))
		in("a password of another meeting", shortly, with(as(neighbours, "dora"), func(j *protocol.Join) { j.Password = "right" }))
		in("the password", shortly, with(as(guarded, "emil"), func(j *protocol.Join) { j.Password = "right" }))
		in("a short key", shortly, as(short, "fred"))
		if code := status(t, last, office, "GET", "meetings/"+m.MeetingID, "", ""); code != http.StatusOK {
			t.Errorf("reading a meeting: %d", code)
		}
		if code := status(t, last, office, "GET", "meetings/short/attendees", "", short.HostKey); code != http.StatusOK {
			t.Errorf("the attendance: %d", code)
		}
		if code := status(t, last, office, "GET", "admin/audit", "", testnode.AdminToken); code != http.StatusOK {
			t.Errorf("the admin: %d", code)
		}
		if err := tryFrom(t, last, office, waits); fault.CodeOf(err) != fault.Waiting {
			t.Errorf("asking again in the lobby: %v", err)
		}
	}, limited...)
}

// tryQuietly joins and leaves the connection, whatever comes of it.
func tryQuietly(n *testnode.Node, addr string, j protocol.Join) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	p, err := client.Join(ctx, n.URL, j, client.Handlers{}, at(addr))
	if err == nil {
		p.Conn().Kill()
	}
	return err
}

// tryAgain does as clients do where there was no core for a join in time.
func tryAgain(n *testnode.Node, addr string, j protocol.Join) error {
	for range 20 {
		if err := tryQuietly(n, addr, j); fault.CodeOf(err) != fault.Unavailable {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
	return tryQuietly(n, addr, j)
}

// TestOfficeReturnsAfterTheGrace: 40 people of one address come back at once, each with a token that has
// expired, and then anew.
func TestOfficeReturnsAfterTheGrace(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		const people, room = 40, 8
		var meetings []client.Meeting
		for i := range people / room {
			body := map[string]any{"password": "right"}
			if i%2 == 1 {
				body["meeting_id"] = fmt.Sprint("room ", i)
			}
			meetings = append(meetings, meeting(t, n[0], body))
		}
		joins := make([]protocol.Join, people)
		for i := range joins {
			joins[i] = as(meetings[i/room], fmt.Sprint("u", i))
			joins[i].Password = "right"
		}
		var all sync.WaitGroup
		for i := range joins {
			all.Go(func() {
				if err := tryAgain(n[i%len(n)], office, joins[i]); err != nil {
					t.Errorf("%s: %v", joins[i].UserID, err)
				}
				expired := joins[i]
				expired.ResumeToken = fmt.Sprint("rt_of-a-seat-that-is-gone", i)
				if err := tryAgain(n[i%len(n)], office, expired); fault.CodeOf(err) != fault.ResumeExpired {
					t.Errorf("%s with an expired token: %v", joins[i].UserID, err)
				}
				joins[i].UserID += " anew"
				if err := tryAgain(n[i%len(n)], office, joins[i]); err != nil {
					t.Errorf("%s: %v", joins[i].UserID, err)
				}
			})
		}
		all.Wait()
	}, append(limited, "SIGNALD_MAX_PEERS=20", "SIGNALD_MAX_SOCKETS_PER_IP=200")...)
}
