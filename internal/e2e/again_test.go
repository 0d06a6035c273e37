package e2e

import (
	"net/http"
	"testing"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/testnode"
)

// previousTokens are those that are good beside the ones in the answers.
const previousTokens = `SELECT peer_id FROM participants WHERE previous_hash IS NOT NULL`

// A client whose answers get lost asks again, at whatever node, and is one person.
func TestJoinWhoseAnswerIsLostMakesOnePerson(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		j := as(m, "b")
		j.Attempt = "0123456789abcdefghijkl"
		var peer string
		for i := range 4 { // each time the connection is gone before the client has confirmed the answer
			b, err := client.Join(ctx(t), n[i%len(n)].URL, j, client.Handlers{}, client.Options{NoPong: true})
			if err != nil {
				t.Fatal(err)
			}
			if peer == "" {
				peer = b.PeerID()
			}
			if b.PeerID() != peer {
				t.Fatalf("asked again it is %s, was %s", b.PeerID(), peer)
			}
			b.Conn().Kill()
		}
		b := join(t, n[len(n)-1], j, nil)
		if _, peers := a.Roster(); len(peers) != 1 || b.PeerID() != peer {
			t.Errorf("it is %s, was %s; the other sees %d", b.PeerID(), peer, len(peers))
		}
		sees(t, a, map[string]string{"b": "online"})
		awaitNoRow(t, n[0], previousTokens)
		j.ResumeToken = b.Joined().ResumeToken
		j.Attempt = ""
		for i := range 3 { // likewise when it comes back
			back, err := client.Join(ctx(t), n[i%len(n)].URL, j, client.Handlers{}, client.Options{NoPong: true})
			if err != nil || back.PeerID() != peer {
				t.Fatalf("come back %d times: %v", i+1, err)
			}
			back.Conn().Kill()
		}
	})
}

func TestCreationAskedAgainMakesOneMeeting(t *testing.T) {
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		create := func(key, body string) (int, string) {
			resp, answer := do(t, http.DefaultClient, "POST", n.URL+"/api/v1/meetings", body, "Idempotency-Key", key)
			return resp.StatusCode, answer
		}
		const key = "0123456789abcdefghijkl"
		for _, body := range []string{`{}`, `{"meeting_id":"mine","name":"Weekly"}`} {
			status, first := create(key, body)
			if status != http.StatusCreated {
				t.Fatalf("%d %s", status, first)
			}
			if status, again := create(key, body); status != http.StatusCreated || again != first {
				t.Errorf("asked again: %d %s, was %s", status, again, first)
			}
		}
		if status, answer := create(key+"x", `{"meeting_id":"mine"}`); status != http.StatusConflict {
			t.Errorf("another creator's: %d %s", status, answer)
		}
		for _, bad := range []string{"short", "with a space 0123456789", "ümlaut0123456789abcdefgh"} {
			if status, answer := create(bad, `{}`); status != http.StatusBadRequest {
				t.Errorf("%q: %d %s", bad, status, answer)
			}
		}
		if rows := cells(t, database(t, n), `SELECT meeting_id FROM meetings`); len(rows) != 2 {
			t.Errorf("%d rows in the audit", len(rows))
		}
	})
}

func TestGuessedAttemptIsNoSeat(t *testing.T) {
	n := testnode.Start(t)
	m := meeting(t, n, nil)
	j := as(m, "b")
	j.Attempt = "too short"
	_, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, client.Options{})
	wantCode(t, err, fault.InvalidPayload)
}
