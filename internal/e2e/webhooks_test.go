package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"signald/internal/testnode"
)

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// hook is a webhook as it came.
type hook struct {
	ID, Traceparent string

	Type string `json:"type"`
	Data struct {
		MeetingID string `json:"meeting_id"`
		UserID    string `json:"user_id"`
		PeerID    string `json:"peer_id"`
		Reason    string `json:"reason"`
	} `json:"data"`
}

func (h hook) String() string {
	return strings.TrimSpace(strings.Join([]string{h.Type, h.Data.UserID, h.Data.Reason}, " "))
}

// receiver is the operator's own server, that checks every signature. It keeps its address when it is down.
type receiver struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	secret  string
	server  *http.Server
	all     []hook
	changed chan struct{}
	hold    chan struct{} // answers wait until it is closed
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, addr: loopback(t), secret: webhookSecret, changed: make(chan struct{})}
	t.Cleanup(r.down)
	return r
}

// env are the settings of nodes that tell this receiver.
func (r *receiver) env() []string {
	return []string{"SIGNALD_WEBHOOK_URL=http://" + r.addr + "/secret-hook-path", "SIGNALD_WEBHOOK_SECRET=" + webhookSecret}
}

func (r *receiver) up() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = &http.Server{Handler: r}
	go func() { _ = r.server.Serve(l) }() // ends with down
}

func (r *receiver) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		_ = r.server.Close()
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // killed
	}
	r.mu.Lock()
	wh, err := standardwebhooks.NewWebhook(r.secret)
	r.mu.Unlock()
	if err == nil {
		err = wh.Verify(body, req.Header)
	}
	h := hook{ID: req.Header.Get("Webhook-Id"), Traceparent: req.Header.Get("Traceparent")}
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	if err != nil {
		r.t.Errorf("%s: %v", body, err)
	}
	r.mu.Lock()
	r.all = append(r.all, h)
	close(r.changed)
	r.changed = make(chan struct{})
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// silence keeps answers back from now on; the function ends it.
func (r *receiver) silence() (goOn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := make(chan struct{})
	r.hold = hold
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hold = nil
		close(hold)
	}
}

// onceLocked are the events that came for a meeting, each once, in the order of their first coming.
func (r *receiver) onceLocked(meetingID string) (events []string) {
	seen := map[string]bool{}
	for _, h := range r.all {
		if h.Data.MeetingID == meetingID && !seen[h.ID] {
			seen[h.ID] = true
			events = append(events, h.String())
		}
	}
	return events
}

// tells waits until exactly these events have come for the meeting.
func (r *receiver) tells(meetingID string, want ...string) {
	r.t.Helper()
	deadline := time.After(90 * time.Second) // a lease and some backoff, on a loaded machine
	for {
		r.mu.Lock()
		got, changed := r.onceLocked(meetingID), r.changed
		r.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// nothingWaits waits until the node's database holds no event.
func nothingWaits(t *testing.T, n *testnode.Node) {
	t.Helper()
	db, c := database(t, n), ctx(t)
	for {
		var left int
		if err := db.QueryRowContext(c, `SELECT count(*) FROM webhook_events`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.Done():
			t.Fatalf("%d events stay", left)
		}
	}
}

// told runs the test with a receiver and a node, and with a receiver and two nodes.
func told(t *testing.T, test func(t *testing.T, r *receiver, n []*testnode.Node)) {
	t.Helper()
	t.Parallel()
	for count, name := range []string{1: "OneNode", 2: "TwoNodes"} {
		if name == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t)
			env := append(r.env(), "SIGNALD_GRACE=2s")
			if count == 1 {
				test(t, r, []*testnode.Node{testnode.New(t, env...)})
			} else {
				test(t, r, clusterOf(t, count, env...))
			}
		})
	}
}

func start(n ...*testnode.Node) {
	for _, node := range n {
		node.Start()
	}
}

func TestWebhooksTellOfAMeetingInOrder(t *testing.T) {
	told(t, func(t *testing.T, r *receiver, n []*testnode.Node) {
		r.up()
		start(n...)
		m := meeting(t, n[0], nil)
		a, b := join(t, n[0], as(m, "a"), nil), join(t, n[len(n)-1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		j := as(m, "b") // coming back is no news
		j.ResumeToken = b.Joined().ResumeToken
		b = join(t, n[0], j, nil)
		c := join(t, n[len(n)-1], as(m, "c"), nil)
		sees(t, a, map[string]string{"b": "online", "c": "online"})
		c.Conn().Kill() // nor is going away
		sees(t, a, map[string]string{"b": "online"})
		if err := b.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := a.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		r.tells(m.MeetingID, "meeting.created", "meeting.started", "participant.joined a", "participant.joined b", "participant.joined c",
			"participant.left c timeout", "participant.left b leave", "participant.left a leave", "meeting.ended")
		ended := meeting(t, n[0], nil)
		join(t, n[len(n)-1], as(ended, "d"), nil)
		if err := asAdmin(t, n[0], http.MethodPost, "meetings/"+ended.MeetingID+"/end", nil); err != nil {
			t.Fatal(err)
		}
		r.tells(ended.MeetingID, "meeting.created", "meeting.started", "participant.joined d", "participant.left d ended", "meeting.ended")
		for _, node := range n {
			nothingWaits(t, node)
		}
	})
}

func TestWebhooksOutliveTheReceiverAndTheServer(t *testing.T) {
	told(t, func(t *testing.T, r *receiver, n []*testnode.Node) {
		start(n...)
		m := meeting(t, n[0], nil)
		join(t, n[len(n)-1], as(m, "a"), nil)
		for _, node := range n {
			node.Kill()
		}
		start(n...)
		r.up()
		r.tells(m.MeetingID, "meeting.created", "meeting.started", "participant.joined a", "participant.left a timeout", "meeting.ended")
		r.down()
		again := meeting(t, n[0], nil)
		r.up()
		r.tells(again.MeetingID, "meeting.created")
		nothingWaits(t, n[0])
	})
}

// What was told, but not noted, is told again, by another node too, and under the same id.
func TestWebhookOnItsWayWhenTheServerIsKilledComesAgain(t *testing.T) {
	told(t, func(t *testing.T, r *receiver, n []*testnode.Node) {
		r.up()
		n[0].Start()
		goOn := r.silence()
		m := meeting(t, n[0], nil)
		r.tells(m.MeetingID, "meeting.created")
		n[0].Kill()
		goOn()
		heir := n[len(n)-1]
		heir.Start()
		r.tells(m.MeetingID, "meeting.created")
		nothingWaits(t, heir)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.all) != 2 || r.all[0].ID != r.all[1].ID {
			t.Errorf("told %+v", r.all)
		}
	})
}

func TestWithoutTheSettingNothingIsKeptForWebhooks(t *testing.T) {
	r := newReceiver(t)
	path := t.TempDir() + "/signald.db"
	before := testnode.Start(t, append(r.env(), "SIGNALD_DATABASE_URL=sqlite:"+path)...)
	m := meeting(t, before, nil)
	before.Kill()
	n := testnode.Start(t, "SIGNALD_DATABASE_URL=sqlite:"+path)
	nothingWaits(t, n)
	join(t, n, as(m, "a"), nil)
	nothingWaits(t, n)
}
