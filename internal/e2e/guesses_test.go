package e2e

import (
	"net/http"
	"testing"
	"time"

	"signald/internal/testnode"
)

// TestFailedGuessesCountAtEveryNode: at keys, and at the admin's token. Who goes from node to node gets no
// more of them, and who comes from elsewhere is not held up.
func TestFailedGuessesCountAtEveryNode(t *testing.T) {
	n := clusterOf(t, 2, "SIGNALD_RATE_LIMITS=on", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32")
	for _, node := range n {
		node.Start()
	}
	m := meeting(t, n[0], nil)
	for what, c := range map[string]struct {
		path, wrong string
		token       string
		burst       int
	}{
		"keys":   {"meetings/" + m.MeetingID, "meetings/wrong", "", 20},
		"logins": {"admin/session", "admin/session", testnode.AdminToken, 10},
	} {
		t.Run(what, func(t *testing.T) {
			ask := func(node *testnode.Node, path, token, address string) int {
				header := []string{"X-Forwarded-For", address}
				if token != "" {
					header = append(header, "Authorization", "Bearer "+token)
				}
				resp, _ := do(t, http.DefaultClient, "GET", node.URL+"/api/v1/"+path, "", header...)
				return resp.StatusCode
			}
			guess := func() int {
				token := c.token
				if token != "" {
					token = "wrong"
				}
				return ask(n[0], c.wrong, token, "203.0.113.5")
			}
			for i := range c.burst {
				if code := guess(); code == http.StatusTooManyRequests {
					t.Fatalf("refused after %d", i)
				}
			}
			// What is right costs nothing, and is refused where nothing is left. A token may have come
			// back meanwhile: it is used up again.
			eventually(t, "the other node refuses", 30*time.Second, func() bool {
				guess()
				return ask(n[1], c.path, c.token, "203.0.113.5") == http.StatusTooManyRequests
			})
			if code := ask(n[1], c.path, c.token, "203.0.113.6"); code != http.StatusOK {
				t.Errorf("from another address: %d", code)
			}
		})
	}
}
