package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/faultproxy"
	"signald/internal/testnode"
)

// through is a link to a node that goes wrong as the test wants it, and the node's address by it.
func through(t *testing.T, n *testnode.Node) (p *faultproxy.Proxy, url string) {
	t.Helper()
	p, err := faultproxy.New(strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, "http://" + p.Addr()
}

// Signals that were written to a connection on a dead link reach their receiver on its next one, at
// whatever node, once and in order.
func TestSignalsIntoADeadLinkArriveOnTheNextOne(t *testing.T) {
	for _, moves := range []bool{false, true} {
		t.Run(map[bool]string{false: "same node", true: "other node"}[moves], func(t *testing.T) {
			onEach(t, func(t *testing.T, n []*testnode.Node) {
				m := meeting(t, n[0], nil)
				a := join(t, n[0], as(m, "a"), nil)
				link, url := through(t, n[0])
				b, err := client.Join(ctx(t), url, as(m, "b"), client.Handlers{}, client.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(b.Conn().Kill)
				sees(t, a, map[string]string{"b": "online"})
				signal := func(i int) {
					if _, err := a.Signal(ctx(t), b.PeerID(), "offer", fmt.Sprint(i), "v=0"); err != nil {
						t.Fatal(err)
					}
				}
				link.Dead(faultproxy.ToClient, faultproxy.ToServer)
				for i := range 5 {
					signal(i) // acknowledged: written to a connection that looks alive
				}
				at := n[0]
				if moves {
					at = n[len(n)-1]
				}
				box := newInbox()
				j := as(m, "b")
				j.ResumeToken = b.Joined().ResumeToken
				back := join(t, at, j, box)
				for i := 5; i < 8; i++ {
					signal(i)
				}
				box.await(t, "the signals", func() bool { return len(box.signals) >= 8 })
				for i, s := range box.signals {
					if s.Neg != fmt.Sprint(i) || i > 0 && s.Seq <= box.signals[i-1].Seq {
						t.Errorf("signal %d is %+v", i, s)
					}
				}
				if len(box.signals) != 8 || back.PeerID() != b.PeerID() {
					t.Errorf("%d signals", len(box.signals))
				}
			})
		})
	}
}

// What the client has confirmed is not sent again.
func TestSignalsThatArrivedAreNotSentAgain(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_PING_INTERVAL=200ms")
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	first := newInbox()
	b := join(t, n, as(m, "b"), first)
	for i := range 3 {
		if _, err := a.Signal(ctx(t), b.PeerID(), "offer", fmt.Sprint(i), "v=0"); err != nil {
			t.Fatal(err)
		}
	}
	first.await(t, "the signals", func() bool { return len(first.signals) == 3 })
	time.Sleep(time.Second) // some heartbeats
	second := newInbox()
	j := as(m, "b")
	j.ResumeToken = b.Joined().ResumeToken
	join(t, n, j, second)
	if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "new", "v=0"); err != nil {
		t.Fatal(err)
	}
	second.await(t, "the new one", func() bool { return len(second.signals) > 0 })
	if s := second.signals[0]; s.Neg != "new" {
		t.Errorf("%s was sent again", s.Neg)
	}
}

// Each event whose answer is lost on the way is asked again on the next connection, and is done once.
func TestEveryAnswerMayBeLost(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		host := as(m, "host")
		host.HostKey = m.HostKey
		watch := newInbox()
		a := join(t, n[len(n)-1], as(m, "a"), watch)
		link, url := through(t, n[0])
		dial := func(token, attempt string) *client.Participant {
			t.Helper()
			j := host
			j.ResumeToken, j.Attempt = token, attempt
			p, err := client.Join(ctx(t), url, j, client.Handlers{}, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Conn().Kill)
			return p
		}
		h := dial("", "0123456789abcdefghijkl")
		me := h.PeerID()
		sees(t, a, map[string]string{"host": "online"})
		for event, payload := range map[string]map[string]any{
			"chat":          {"client_id": "c-1", "text": "once"},
			"control":       {"request_id": "r-1", "camera": false},
			"moderate":      {"request_id": "r-2", "action": "mute", "peer_id": a.PeerID()},
			"rename":        {"name": "Host"},
			"media_state":   {"hand": true},
			"update_signal": {"SDP": "x"},
			"chat_sync":     {"after_delivery_id": 0},
			"sync":          {},
			"heartbeat":     {},
			"mesh_report":   {"pairs": []any{}},
		} {
			lost := link.Drop(faultproxy.ToClient, "43") // an ack, of whatever id
			answered := make(chan error, 1)
			conn := h.Conn()
			go func() { answered <- conn.Call(ctx(t), event, payload, nil) }()
			<-lost
			link.Reset()
			if err := <-answered; err == nil {
				t.Errorf("the answer to %s was not lost", event)
			}
			h = dial(h.Joined().ResumeToken, "")
			if h.PeerID() != me {
				t.Fatalf("after %s it is somebody else", event)
			}
			if err := h.Conn().Call(ctx(t), event, payload, nil); err != nil {
				t.Errorf("%s asked again: %v", event, err)
			}
		}
		watch.await(t, "the chat", func() bool { return len(watch.chats) > 0 })
		if len(watch.chats) != 1 {
			t.Errorf("the message was told %d times", len(watch.chats))
		}
		if _, peers := a.Roster(); len(peers) != 1 {
			t.Errorf("%d others", len(peers))
		}
	})
}

func TestProxyRefusesAsTold(t *testing.T) {
	n := testnode.Start(t)
	link, url := through(t, n)
	link.Refuse(func(i int) string {
		return map[int]string{1: "reset", 2: faultproxy.Answer(503, "text/html", "<html>Please sign in</html>")}[i]
	})
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if _, err := plain.Get(url + "/healthz"); err == nil {
		t.Error("the first connection passes")
	}
	for _, want := range []int{503, 200} {
		if resp, _ := do(t, plain, "GET", url+"/healthz", ""); resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
}
