package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"signald/internal/protocol"
	"signald/internal/testnode"
)

// sayAndGo sends a POST and closes the connection without waiting for the answer, as a browser
// does whose page is closed.
func sayAndGo(t *testing.T, n *testnode.Node, path, body string, header ...string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s",
		path, len(body), strings.Join(header, ""), body); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// Ten meetings, each left a hundred times.
func TestLeaveIsDoneThoughItsConnectionIsGone(t *testing.T) {
	const meetings, leaves = 10, 50 // a thousand on both stores
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		for k := range meetings {
			t.Run(fmt.Sprint("meeting ", k), func(t *testing.T) {
				t.Parallel()
				m := meeting(t, n, nil)
				a := join(t, n, as(m, "a"), nil)
				for i := range leaves {
					b := join(t, n, as(m, "b"), nil)
					sees(t, a, map[string]string{"b": "online"})
					sayAndGo(t, n, "/api/v1/leave", fmt.Sprintf(`{"peer_id":%q,"resume_token":%q}`, b.PeerID(), b.Joined().ResumeToken))
					if err := a.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == 0 }); err != nil {
						t.Fatalf("leave %d came to nothing: %v", i, err)
					}
				}
			})
		}
	})
}

// So is whatever else changes something.
func TestRequestsAreDoneThoughTheirConnectionIsGone(t *testing.T) {
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		admin := "Authorization: Bearer " + testnode.AdminToken + "\r\n"
		for i := range 20 {
			key := fmt.Sprint("key-", i)
			sayAndGo(t, n, "/api/v1/meetings", `{"meeting_id":"`+key+`"}`)
			status := func() int {
				resp, _ := do(t, http.DefaultClient, "GET", n.URL+"/api/v1/meetings/"+key, "")
				return resp.StatusCode
			}
			eventually(t, key+" is there", 10*time.Second, func() bool { return status() == http.StatusOK })
			sayAndGo(t, n, "/api/v1/admin/meetings/"+key+"/end", "", admin)
			eventually(t, key+" has ended", 10*time.Second, func() bool { return status() == http.StatusGone })
		}
	})
}
