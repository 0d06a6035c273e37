package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/testnode"
)

// resident is how much memory a node takes, in MB, now or at most.
func resident(t *testing.T, n *testnode.Node, field string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(b), field+":")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kB >> 10
}

// dialFrom opens a connection from an address whose kernel takes little for it, and connects.
func dialFrom(t *testing.T, n *testnode.Node, ip string) *websocket.Conn {
	t.Helper()
	small := websocket.Dialer{NetDialContext: (&net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}).DialContext}
	conn, _, err := small.Dial("ws"+strings.TrimPrefix(n.URL, "http")+"/socket.io/?EIO=4&transport=websocket",
		http.Header{"X-Forwarded-For": {ip}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// roundTrips measures heartbeats of one honest client until stop.
func roundTrips(t *testing.T, conn *websocket.Conn, stop <-chan struct{}) (p99 time.Duration) {
	t.Helper()
	var took []time.Duration
	for {
		began := time.Now()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(`421["heartbeat",{}]`)); err != nil {
			t.Error(err)
			return 0
		}
		for answer := ""; !strings.HasPrefix(answer, "431["); {
			_, b, err := conn.ReadMessage()
			if err != nil {
				t.Errorf("the honest client: %v", err)
				return 0
			}
			if answer = string(b); answer == "2" {
				_ = conn.WriteMessage(websocket.TextMessage, []byte("3"))
			}
		}
		took = append(took, time.Since(began))
		select {
		case <-stop:
			slices.Sort(took)
			return took[len(took)*99/100]
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// 80 clients of 20 addresses ask within their limits for 300 MB and read none of it.
func TestClientsThatDoNotReadTakeBoundedMemory(t *testing.T) {
	const clients, budget = 80, 64
	n := testnode.Start(t, "SIGNALD_RATE_LIMITS=on", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_MAX_PEERS=100",
		"SIGNALD_PING_INTERVAL=60s", "SIGNALD_PING_TIMEOUT=30s", // which the hostile do not answer
		fmt.Sprint("SIGNALD_MAX_QUEUED=", budget))
	honest := dialFrom(t, n, "198.51.100.1")
	_, body := do(t, http.DefaultClient, "POST", n.URL+"/api/v1/meetings", `{"policy":{"max_peers":100}}`)
	var m struct {
		ID string `json:"meeting_id"`
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.ID == "" {
		t.Fatalf("no meeting: %s", body)
	}
	var hostile []*websocket.Conn
	for i := range clients {
		conn := dialFrom(t, n, fmt.Sprint("203.0.113.", i/4))
		hostile = append(hostile, conn)
		saysRaw(t, conn, fmt.Sprintf(`420["join",{"v":2,"meeting_id":%q,"user_id":%q,"fingerprint":%q}]`,
			m.ID, strings.Repeat("王", 62)+strconv.Itoa(i+10), strings.Repeat("f", 128)))
		hearsRaw(t, conn, "430[")
	}
	calm := make(chan struct{})
	time.AfterFunc(time.Second, func() { close(calm) })
	before, p99 := resident(t, n, "VmRSS"), roundTrips(t, honest, calm)

	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 100 { // 50 kB each, of which four megabytes may wait for one
			for _, conn := range hostile {
				_ = conn.WriteMessage(websocket.TextMessage, []byte(`421["sync",{}]`)) // it may be cut
			}
			time.Sleep(20 * time.Millisecond) // their limit
		}
	}()
	during := roundTrips(t, honest, over)
	most := resident(t, n, "VmHWM")
	t.Logf("%d MB before, %d MB at most; p99 of the honest client %s, then %s", before, most, p99, during)
	if grown := most - before; grown > budget*3/2 {
		t.Errorf("it grew by %d MB, want at most half more than the budget of %d", grown, budget)
	}
	eventually(t, "somebody is cut: else this has tested nothing", 20*time.Second, func() bool {
		return strings.Contains(n.Log(), `"slow_consumer"`)
	})
}

func saysRaw(t *testing.T, conn *websocket.Conn, packet string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
		t.Fatal(err)
	}
}

func hearsRaw(t *testing.T, conn *websocket.Conn, prefix string) {
	t.Helper()
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v", prefix, err)
		}
		if strings.HasPrefix(string(b), prefix) {
			return
		}
	}
}
