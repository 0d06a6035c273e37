package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// beacon says over HTTP that the page is going and may return.
func beacon(t *testing.T, n *testnode.Node, p *client.Participant) {
	t.Helper()
	if err := sendBeacon(t, n, p); err != nil {
		t.Fatal(err)
	}
}

func sendBeacon(t *testing.T, n *testnode.Node, p *client.Participant) error {
	body := map[string]any{"peer_id": p.PeerID(), "resume_token": p.Joined().ResumeToken, "may_return": true}
	return client.Request(ctx(t), http.MethodPost, n.URL, "/api/v1/leave", "", body, nil)
}

// parts says the same on the connection.
func parts(t *testing.T, p *client.Participant) {
	t.Helper()
	if err := p.Conn().Call(ctx(t), protocol.EventLeave, map[string]any{"may_return": true}, nil); err != nil {
		t.Fatal(err)
	}
}

// fresh is the join of the page that is loaded next.
func fresh(m client.Meeting, p *client.Participant) protocol.Join {
	j := as(m, "not looked at")
	j.ResumeToken, j.Fresh, j.Fingerprint = p.Joined().ResumeToken, true, "sha-256 02"
	return j
}

func TestReloadResumesAsTheSamePerson(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here, there := n[0], n[len(n)-1]
		for how, part := range map[string]func(*testing.T, *client.Participant){
			"beacon":     func(t *testing.T, p *client.Participant) { beacon(t, there, p) }, // whatever node it comes to
			"connection": parts,
			"both": func(t *testing.T, p *client.Participant) { // as our page does
				parts(t, p)
				wantCode(t, sendBeacon(t, there, p), fault.NotJoined)
			},
		} {
			t.Run(how, func(t *testing.T) { reloads(t, here, there, part) })
		}
	})
}

// reloads is a host's page that says by part that it goes, and is loaded again at the other node.
func reloads(t *testing.T, here, there *testnode.Node, part func(*testing.T, *client.Participant)) {
	m := meeting(t, here, nil)
	watch := []*client.Participant{join(t, here, as(m, "here"), nil), join(t, there, as(m, "there"), nil)}
	host := as(m, "host")
	host.HostKey, host.Fingerprint = m.HostKey, "sha-256 01"
	first := join(t, here, host, nil)
	for _, w := range watch {
		hasPeer(t, w, first.PeerID(), "sha-256 01")
	}

	part(t, first)
	sees(t, watch[0], map[string]string{"there": "online"})
	sees(t, watch[1], map[string]string{"here": "online"})
	first.Conn().Kill()
	_, err := watch[1].Signal(ctx(t), first.PeerID(), "offer", "to the old page", "v=0")
	wantCode(t, err, fault.PeerGone)

	box := newInbox()
	second := join(t, there, fresh(m, first), box)
	if second.PeerID() != first.PeerID() || second.Joined().Role != "host" || !second.Joined().Resumed || len(second.Joined().Peers) != 2 {
		t.Errorf("came back as %+v", second.Joined())
	}
	for _, w := range watch {
		hasPeer(t, w, first.PeerID(), "sha-256 02")
		if _, err := w.Signal(ctx(t), first.PeerID(), "offer", "to the new page", "v=0"); err != nil {
			t.Error(err)
		}
	}
	box.await(t, "the signals", func() bool { return len(box.signals) == 2 })
	if slices.ContainsFunc(box.signals, func(s client.Signal) bool { return s.Neg != "to the new page" }) {
		t.Errorf("%+v", box.signals)
	}
	awaitNoRow(t, there, previousTokens)
	_, err = client.Join(ctx(t), here.URL, fresh(m, first), client.Handlers{}, client.Options{})
	wantCode(t, err, fault.ResumeExpired)
}

// The reload is faster than the beacon, or nothing was said at all.
func TestFreshPageTakesItsLivingSeat(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here, there := n[0], n[len(n)-1]
		m := meeting(t, here, map[string]any{"policy": map[string]any{"max_peers": 3}})
		watch := []*client.Participant{join(t, here, as(m, "here"), nil), join(t, there, as(m, "there"), nil)}
		old := newInbox()
		first := join(t, here, as(m, "page"), old)
		for _, w := range watch {
			hasPeer(t, w, first.PeerID(), "")
		}
		box := newInbox()
		second := join(t, there, fresh(m, first), box)
		if second.PeerID() != first.PeerID() {
			t.Error("somebody else came back")
		}
		old.await(t, "the old page is told", func() bool { return len(old.closed) == 1 && old.closed[0].Code == "replaced" })
		for _, w := range watch {
			hasPeer(t, w, first.PeerID(), "sha-256 02")
		}

		second.Conn().Kill()
		sees(t, watch[0], map[string]string{"there": "online", "page": "away"})
		sees(t, watch[1], map[string]string{"here": "online", "page": "away"})
		for _, w := range watch { // which is kept for the page that is gone
			if queued, err := w.Signal(ctx(t), first.PeerID(), "offer", "to the old page", "v=0"); err != nil || !queued {
				t.Errorf("queued %v, %v", queued, err)
			}
		}
		last := newInbox()
		third := join(t, here, fresh(m, second), last)
		for _, w := range watch {
			sees(t, w, map[string]string{"page": "online", other(w, watch): "online"})
			if _, err := w.Signal(ctx(t), third.PeerID(), "offer", "to the new page", "v=0"); err != nil {
				t.Error(err)
			}
		}
		last.await(t, "the signals", func() bool { return len(last.signals) >= 2 })
		for _, s := range last.signals {
			if s.Neg != "to the new page" {
				t.Errorf("%+v", s)
			}
		}
	})
}

func other(w *client.Participant, watch []*client.Participant) string {
	if w == watch[0] {
		return "there"
	}
	return "here"
}

// A server that is killed with a page on its way back knows it when it is up again, and keeps
// none that does not come.
func TestReloadOutlivesAKilledServer(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		here := n[len(n)-1]
		m := meeting(t, here, nil)
		back, gone := join(t, here, as(m, "back"), nil), join(t, here, as(m, "gone"), nil)
		beacon(t, here, back)
		beacon(t, here, gone)
		here.Kill()
		here.Start()
		again := join(t, here, fresh(m, back), nil)
		if again.PeerID() != back.PeerID() {
			t.Error("somebody else came back")
		}
		sees(t, again, map[string]string{})
		db := database(t, here)
		eventually(t, "who did not return is forgotten", 30*time.Second, func() bool {
			var n int
			return db.QueryRowContext(ctx(t), `SELECT count(*) FROM participants`).Scan(&n) == nil && n == 1
		})
	}, "SIGNALD_GRACE=5s")
}

// hasPeer waits until p sees this peer with this certificate.
func hasPeer(t *testing.T, p *client.Participant, peerID, fingerprint string) {
	t.Helper()
	err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
		peer, ok := peers[peerID]
		return ok && peer.Fingerprint == fingerprint
	})
	if err != nil {
		t.Fatalf("%s with %q: %v", peerID, fingerprint, err)
	}
}
