package e2e

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testotlp"
	"signald/internal/testproc"
)

func TestJoinAndWhatTheOtherNodeHearsAreOneTrace(t *testing.T) {
	t.Parallel()
	c := testotlp.New(t)
	n := cluster(t, 2, "SIGNALD_OTLP_ENDPOINT="+c.URL)
	m := meeting(t, n[0], nil)
	a := join(t, n[0], as(m, "a"), nil)
	join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})

	heard := c.Await(t, "what the first node heard", func(s testotlp.Span) bool { return s.Name == "receive changes" })
	is := func(name, parent string) testotlp.Span {
		return c.Await(t, name, func(s testotlp.Span) bool {
			return s.Trace == heard.Trace && s.Name == name && (s.ID == parent || s.Parent == parent)
		})
	}
	published := is("publish changes", heard.Parent)
	joined := is("join", published.Parent)
	stored := is("in_meeting", joined.ID)
	if heard.Kind != "consumer" || published.Kind != "producer" || joined.Kind != "server" || joined.Parent != "" || stored.Kind != "client" {
		t.Errorf("%+v\n%+v\n%+v\n%+v", heard, published, joined, stored)
	}
	if stored.Attributes["db.system.name"] != "postgresql" || stored.Attributes["db.operation.name"] != "in_meeting" {
		t.Errorf("%+v", stored)
	}
	const id = "service.instance.id"
	if here, there := joined.Resource[id], heard.Resource[id]; here == "" || here == there || published.Resource[id] != here || heard.Attributes["signald.from_node"] != here {
		t.Errorf("%q published, %q heard of it", here, there)
	}
}

// A node that is older, or is not asked for traces, understands who is.
func TestNodesWithAndWithoutTracesUnderstandEachOther(t *testing.T) {
	t.Parallel()
	c := testotlp.New(t)
	n := clusterOf(t, 2)
	n[0] = testnode.New(t, "SIGNALD_DATABASE_URL="+n[1].Env("SIGNALD_DATABASE_URL"), "SIGNALD_REDIS_URL="+n[1].Env("SIGNALD_REDIS_URL"), "SIGNALD_OTLP_ENDPOINT="+c.URL)
	start(n...)
	m := meeting(t, n[0], nil)
	a, b := join(t, n[0], as(m, "a"), nil), join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	d := join(t, n[0], as(m, "d"), nil)
	sees(t, b, map[string]string{"a": "online", "d": "online"})
	sees(t, d, map[string]string{"a": "online", "b": "online"})
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

// create makes a meeting for an application that is in the middle of a trace.
func create(t *testing.T, n *testnode.Node) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx(t), http.MethodPost, n.URL+"/api/v1/meetings", bytes.NewBufferString("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
}

func TestCreationGoesOnWithTheTraceOfItsCaller(t *testing.T) {
	t.Parallel()
	c := testotlp.New(t)
	n := testnode.Start(t, "SIGNALD_OTLP_ENDPOINT="+c.URL)
	create(t, n)
	request := c.Await(t, "the request", func(s testotlp.Span) bool { return s.Name == "POST /api/v1/meetings" })
	call := c.Await(t, "the store's call", func(s testotlp.Span) bool { return s.Name == "create_meeting" })
	if request.Trace != callersTrace || request.Parent != callersSpan || call.Trace != callersTrace || call.Parent != request.ID {
		t.Errorf("%+v\n%+v", request, call)
	}
	if request.Attributes["http.response.status_code"] != "201" || call.Attributes["db.system.name"] != "sqlite" {
		t.Errorf("%+v\n%+v", request, call)
	}
	if !strings.Contains(n.Log(), `"trace_id":"`+callersTrace+`"`) {
		t.Errorf("the log does not name the trace: %s", n.Log())
	}
}

// What the library would take from the environment is no setting of ours, and switches nothing on.
func TestNothingIsSentUnlessTracesAreSwitchedOn(t *testing.T) {
	t.Parallel()
	c := testotlp.New(t)
	n := testnode.Start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+c.URL+"/v1/traces", "OTEL_TRACES_EXPORTER=otlp")
	create(t, n)
	join(t, n, as(meeting(t, n, nil), "a"), nil)
	if code := n.Stop(ctx(t)); code != 0 || c.Raw() != "" {
		t.Errorf("exit code %d; sent: %+v", code, c.Spans())
	}
	if strings.Contains(n.Log(), "trace_id") {
		t.Error("the log names traces")
	}
}

func TestWebhookCarriesTheTraceOfItsAttempt(t *testing.T) {
	t.Parallel()
	c, r := testotlp.New(t), newReceiver(t)
	r.up()
	n := testnode.Start(t, append(r.env(), "SIGNALD_OTLP_ENDPOINT="+c.URL)...)
	m := meeting(t, n, nil)
	r.tells(m.MeetingID, "meeting.created")
	attempt := c.Await(t, "the attempt", func(s testotlp.Span) bool { return s.Name == "webhook meeting.created" })
	r.mu.Lock()
	defer r.mu.Unlock()
	if got, want := r.all[0].Traceparent, "00-"+attempt.Trace+"-"+attempt.ID+"-01"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if attempt.Kind != "client" || attempt.Failed || attempt.Attributes["http.response.status_code"] != "204" {
		t.Errorf("%+v", attempt)
	}
}

// joinWith joins by a password until the answer is this code, "" for a seat: under the race detector, on a
// loaded machine, the server may have no time for a hash.
func joinWith(t *testing.T, n *testnode.Node, j protocol.Join, password string, want fault.Code) (p *client.Participant) {
	t.Helper()
	j.Password = password
	if err := testproc.Until(2*time.Minute, func() (err error) {
		p, err = tryJoin(t, n, j)
		if want != "" && fault.CodeOf(err) == want {
			return nil
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// Everything a client can say is said, in wrong ways too; the last spans are those that a stop sends.
func TestTracesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	c, r := testotlp.New(t), newReceiver(t)
	r.up()
	n := cluster(t, 2, append(r.env(), "SIGNALD_OTLP_ENDPOINT="+c.URL)...)
	m := meeting(t, n[0], map[string]any{"name": "geheim-meeting", "password": "geheim-pass"})
	j := as(m, "geheim-host")
	j.HostKey, j.Name = m.HostKey, "geheim-name"
	a := join(t, n[0], j, nil)
	j = as(m, "geheim-guest")
	b := joinWith(t, n[1], j, "geheim-pass", "")
	sees(t, a, map[string]string{"geheim-guest": "online"})
	for _, err := range []error{
		a.Conn().Emit("geheim-event", map[string]any{"a": "geheim"}),
		a.Control(ctx(t), map[string]any{"locked": false}),
		a.Moderate(ctx(t), protocol.Moderate{Action: "mute", PeerID: b.PeerID()}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "1", "v=0 a=candidate:geheim-sdp"); err != nil {
		t.Fatal(err)
	}
	said, err := b.Chat(ctx(t), protocol.Chat{ClientID: "geheim-id", Text: "geheim-text"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(ctx(t), said.MessageID); err != nil {
		t.Fatal(err)
	}
	joinWith(t, n[0], as(m, "geheim-c"), "geheim-wrong", fault.BadPassword)
	j.ResumeToken = b.Joined().ResumeToken
	b = join(t, n[0], j, nil)
	askAdmin(t, n[0], http.MethodPost, "login", `{"token":"`+testnode.AdminToken+`"}`, 200)
	askAdmin(t, n[0], http.MethodGet, "audit?q=geheim", "", 200)
	if resp, err := http.Get(n[0].URL + "/m/" + m.MeetingID); err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	if err := b.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	askAdmin(t, n[0], http.MethodPost, "meetings/"+m.MeetingID+"/end", "", 204)
	for _, node := range n {
		if code := node.Stop(ctx(t)); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	names := map[string]bool{}
	for _, s := range c.Spans() {
		names[s.Name] = true
	}
	for _, want := range []string{"join", "control", "moderate", "chat", "chat_revoke", "leave", "POST /api/v1/meetings", "GET /m/{key}", "POST /api/v1/admin/meetings/{id}/end", "webhook meeting.created"} {
		if !names[want] {
			t.Errorf("no span %q in %v", want, names)
		}
	}
	raw := c.Raw()
	for _, secret := range []string{
		m.MeetingID, m.HostKey, a.Joined().ResumeToken, b.Joined().ResumeToken, j.ResumeToken, a.PeerID(), b.PeerID(), said.MessageID,
		"geheim", "a=candidate", "127.0.0.1", "::1", testnode.AdminToken, webhookSecret, "secret-hook-path",
	} {
		if strings.Contains(raw, secret) {
			t.Errorf("the spans hold %q", secret)
		}
	}
}
