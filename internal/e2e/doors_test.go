package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

func TestPagesOfAllowedOriginsMaySendHeadersOfTheirOwn(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_ALLOWED_ORIGINS=https://app.example.org")
	for _, path := range []string{"/socket.io/?EIO=4&transport=polling", "/api/v1/meetings", "/api/v1/ice", "/api/v1/leave"} {
		for _, wanted := range []string{"authorization", "content-type", "x-client-id", "idempotency-key,traceparent"} {
			resp, _ := do(t, http.DefaultClient, "OPTIONS", n.URL+path, "",
				"Origin", "https://app.example.org", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", wanted)
			if h := resp.Header; resp.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Headers") != wanted || h.Get("Access-Control-Allow-Origin") != "https://app.example.org" {
				t.Errorf("%s with %s: %d %v", path, wanted, resp.StatusCode, h)
			}
		}
		resp, _ := do(t, http.DefaultClient, "OPTIONS", n.URL+path, "",
			"Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		if resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.Header.Get("Access-Control-Allow-Headers") != "" {
			t.Errorf("%s: a foreign origin gets %v", path, resp.Header)
		}
	}
}

// A client that sends bytes in an event is told so, and stays.
func TestBinaryEventsAreAnsweredAndTheConnectionStays(t *testing.T) {
	n := testnode.Start(t)
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(n.URL, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	say := func(kind int, text string) {
		if err := conn.WriteMessage(kind, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(prefix string) string {
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				t.Fatalf("waiting for %s: %v", prefix, err)
			}
			if strings.HasPrefix(string(b), prefix) {
				return string(b)
			}
		}
	}
	say(websocket.TextMessage, "40")
	expect("40")
	for i, event := range []string{
		`["chat",{"client_id":"1","text":{"_placeholder":true,"num":0}}]`,
		`["heartbeat",{"_placeholder":true,"num":0}]`,
		`["join",{"_placeholder":true,"num":0}]`,
	} {
		id := fmt.Sprint(10 + i)
		say(websocket.TextMessage, "451-"+id+event)
		say(websocket.BinaryMessage, "\x01\x02")
		if ack := expect("43" + id); !strings.Contains(ack, "invalid_payload") {
			t.Errorf("%s: %s", event, ack)
		}
	}
	say(websocket.TextMessage, `429["heartbeat",{}]`)
	if ack := expect("439"); !strings.Contains(ack, `"ok":true`) {
		t.Errorf("afterwards: %s", ack)
	}
}

// The seat's owner comes back though others of the address have all its connections.
func TestReturnIsNeverOneTooMany(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_MAX_SOCKETS_PER_IP=3")
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	b := join(t, n, as(m, "b"), nil)
	a.Conn().Kill()
	sees(t, b, map[string]string{"a": "away"})
	for range 2 {
		join(t, n, as(m, "others"), nil)
	}
	if _, err := client.Join(ctx(t), n.URL, as(m, "c"), client.Handlers{}, client.Options{}); err == nil {
		t.Error("a fourth connection is let in")
	}
	j := as(m, "a")
	if _, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, client.Options{Auth: map[string]any{"resume_token": "rt_madeup"}}); err == nil {
		t.Error("a made-up token lets one in")
	}
	back, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, client.Options{Auth: map[string]any{"resume_token": a.Joined().ResumeToken}})
	if err != nil || back.PeerID() != a.PeerID() {
		t.Fatalf("the return: %v", err)
	}
}

func TestRosterTellsOfProtocol1(t *testing.T) {
	n := testnode.Start(t)
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	old, err := client.Dial(ctx(t), n.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Kill)
	if err := old.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "old"}, nil); err != nil {
		t.Fatal(err)
	}
	sees(t, a, map[string]string{"old": "online"})
	join(t, n, as(m, "new"), nil)
	if err := a.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
		is := map[string]int{}
		for _, p := range peers {
			is[p.UserID] = p.Protocol
		}
		return len(is) == 2 && is["old"] == 1 && is["new"] == 0
	}); err != nil {
		t.Error(err)
	}
}

// Pongs and the like reach no handler that could limit them. Its neighbours do not notice.
func TestEndlessPacketsEndTheirConnectionAlone(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_RATE_LIMITS=on")
	dial := func() *websocket.Conn {
		conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(n.URL, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for _, packet := range []string{"3", "6", `42["heartbeat",{}]`} {
		flooding, neighbour := dial(), dial()
		for _, conn := range []*websocket.Conn{flooding, neighbour} {
			if err := conn.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
				t.Fatal(err)
			}
		}
		go func() { // until it is cut
			for range 100_000 {
				if flooding.WriteMessage(websocket.TextMessage, []byte(packet)) != nil {
					return
				}
			}
		}()
		var err error
		for err == nil {
			_, _, err = flooding.ReadMessage()
		}
		if strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %v", packet, err)
		}
		if err := neighbour.WriteMessage(websocket.TextMessage, []byte(`421["heartbeat",{}]`)); err != nil {
			t.Fatal(err)
		}
		for answer := ""; !strings.HasPrefix(answer, "431["); {
			_, b, err := neighbour.ReadMessage()
			if err != nil {
				t.Fatalf("the neighbour of %s: %v", packet, err)
			}
			answer = string(b)
		}
	}
}
