package e2e

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the tests look into the databases themselves
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

type liveMeetings struct {
	Items []struct {
		MeetingID    string         `json:"meeting_id"`
		Participants int            `json:"participants"`
		Nodes        map[string]int `json:"nodes"`
	} `json:"items"`
}

func asAdmin(t *testing.T, n *testnode.Node, method, path string, into any) error {
	t.Helper()
	return client.Request(ctx(t), method, n.URL, "/api/v1/admin/"+path, testnode.AdminToken, nil, into)
}

func TestAdminEndsAMeetingOnEveryNode(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		last := n[len(n)-1]
		m, other := meeting(t, n[0], nil), meeting(t, n[0], nil)
		boxes := []*inbox{newInbox(), newInbox()}
		a := join(t, n[0], as(m, "a"), boxes[0])
		b := join(t, last, as(m, "b"), boxes[1])
		stays := join(t, last, as(other, "c"), nil)
		sees(t, a, map[string]string{"b": "online"})
		var live liveMeetings
		if err := asAdmin(t, last, http.MethodGet, "meetings", &live); err != nil || len(live.Items) != 2 || live.Items[0].MeetingID != m.MeetingID ||
			live.Items[0].Participants != 2 || len(live.Items[0].Nodes) != len(n) {
			t.Errorf("%+v, %v", live, err)
		}

		if err := asAdmin(t, last, http.MethodPost, "meetings/"+m.MeetingID+"/end", nil); err != nil {
			t.Fatal(err)
		}
		for _, box := range boxes {
			box.await(t, "the end", func() bool { return len(box.closed) > 0 })
			if c := box.closed[0]; c.Code != "meeting_ended" || c.Rejoin || c.MeetingID != m.MeetingID {
				t.Errorf("%+v", c)
			}
		}
		for _, node := range n {
			for _, j := range []protocol.Join{as(m, "late"), {MeetingID: m.MeetingID, UserID: "a", ResumeToken: a.Joined().ResumeToken}} {
				_, err := client.Join(ctx(t), node.URL, j, client.Handlers{}, client.Options{})
				wantCode(t, err, fault.MeetingEnded)
			}
		}
		_ = b
		if err := stays.Conn().Call(ctx(t), "heartbeat", map[string]any{}, nil); err != nil {
			t.Errorf("another meeting: %v", err)
		}
		if err := asAdmin(t, n[0], http.MethodGet, "meetings", &live); err != nil || len(live.Items) != 1 {
			t.Errorf("%+v, %v", live, err)
		}
	})
}

// TestNothingButTheAuditStaysOfAMeeting looks through every table, and through Redis: when the last has left,
// or when the retention is over that the meeting was created with.
func TestNothingButTheAuditStaysOfAMeeting(t *testing.T) {
	t.Parallel()
	for name, retention := range map[string]int{"AtOnce": 0, "AfterItsRetention": 1} {
		t.Run("SQLite"+name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "signald.db")
			n := testnode.New(t, "SIGNALD_DATABASE_URL=sqlite:"+file, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_GRACE=100ms")
			n.Start()
			secret := runAndEmpty(t, []*testnode.Node{n}, "sqlite", "file:"+file+"?mode=ro", nil, retention)
			n.Stop(ctx(t))
			b, err := os.ReadFile(file) // free pages, too
			if err != nil || !contains(string(b), "Name-of-it") {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			for _, s := range secret {
				if contains(string(b), s) {
					t.Errorf("the file has %s", s)
				}
			}
		})
		t.Run("PostgreSQLAndRedis"+name, func(t *testing.T) {
			t.Parallel()
			url := testpg.URL(t)
			options, err := redis.ParseURL(testredis.New(t).URL)
			if err != nil {
				t.Fatal(err)
			}
			cache := redis.NewClient(options)
			t.Cleanup(func() { _ = cache.Close() })
			n := clusterOf(t, 2, "SIGNALD_DATABASE_URL="+url, "SIGNALD_REDIS_URL=redis://"+options.Addr, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_GRACE=100ms")
			for _, node := range n {
				node.Start()
			}
			runAndEmpty(t, n, "pgx", url, cache, retention)
		})
	}
}

func runAndEmpty(t *testing.T, n []*testnode.Node, driver, dsn string, cache *redis.Client, retention int) (secret []string) {
	t.Helper()
	last := n[len(n)-1]
	const creator, visitor = "203.0.113.99", "198.51.100.98"
	_, body := do(t, http.DefaultClient, "POST", n[0].URL+"/api/v1/meetings",
		fmt.Sprintf(`{"meeting_id":"the-key-of-it","name":"Name-of-it","password":"password-of-it","retention_s":%d}`, retention), "X-Forwarded-For", creator)
	if !strings.Contains(body, "the-key-of-it") {
		t.Fatal(body)
	}
	_, hostKey, _ := strings.Cut(body, `"host_key":"`)
	hostKey, _, _ = strings.Cut(hostKey, `"`)
	as := func(user string) protocol.Join {
		return protocol.Join{
			MeetingID: "the-key-of-it", UserID: user, Name: user + "-name", Password: "password-of-it", Fingerprint: user + "-fingerprint",
			Memo: user + "-memo", SDP: []byte(`"` + user + `-sdp"`), Candidate: []byte(`"` + user + `-candidate"`),
		}
	}
	from := client.Options{Header: http.Header{"X-Forwarded-For": {visitor}}}
	enter := func(node *testnode.Node, j protocol.Join) *client.Participant {
		p, err := client.Join(ctx(t), node.URL, j, client.Handlers{}, from)
		for limit := ctx(t); fault.CodeOf(err) == fault.Unavailable && limit.Err() == nil; { // a busy machine
			p, err = client.Join(ctx(t), node.URL, j, client.Handlers{}, from)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Conn().Kill)
		return p
	}
	host := as("user-a")
	host.HostKey = hostKey
	a, b, c := enter(n[0], host), enter(last, as("user-b")), enter(last, as("user-c"))
	sees(t, a, map[string]string{"user-b": "online", "user-c": "online"})
	if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "neg-of-it", "signal-of-it"); err != nil {
		t.Fatal(err)
	}
	if err := a.Conn().Call(ctx(t), "chat", map[string]any{"client_id": "client-of-it", "text": "chat-of-it"}, nil); err != nil {
		t.Fatal(err)
	}
	secret = []string{
		"chat-of-it", "client-of-it", "user-", visitor, hostKey, "password-of-it", "-sdp", "-candidate", "-fingerprint", "-memo", "signal-of-it", "neg-of-it",
		a.PeerID(), b.PeerID(), c.PeerID(), a.Joined().ResumeToken, b.Joined().ResumeToken, c.Joined().ResumeToken,
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	found := everything(t, db, cache)
	if !contains(found["participants"], "user-a") || !contains(found["participants"], "-sdp") { // the search sees what is there
		t.Fatalf("%q", found["participants"])
	}

	c.Conn().Kill() // one is lost, the others leave
	sees(t, a, map[string]string{"user-b": "online"})
	for _, p := range []*client.Participant{b, a} {
		if err := p.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	remains := func() (list []string) {
		found = everything(t, db, cache)
		for place, text := range found {
			for _, s := range append(secret, creator) {
				if contains(text, s) && (s != creator || place != "meetings") {
					list = append(list, fmt.Sprintf("%s has %s: %q", place, s, text))
				}
			}
			if place != "meetings" && place != "meeting_state" && contains(text, "the-key-of-it") {
				list = append(list, fmt.Sprintf("%s has the key: %q", place, text))
			}
		}
		return list
	}
	left := remains()
	limit := 10 * time.Second // what the batch at leaving had no time for is deleted by the node's next ones
	if retention > 0 {
		limit = time.Minute
	}
	for deadline := time.Now().Add(limit); len(left) > 0 && time.Now().Before(deadline); left = remains() {
		time.Sleep(100 * time.Millisecond)
	}
	for _, what := range left {
		t.Error(what)
	}
	if !contains(found["meetings"], creator) || !contains(found["meetings"], "the-key-of-it") {
		t.Errorf("the audit: %q", found["meetings"])
	}
	if text := found["participants"]; text != "" {
		t.Errorf("participants: %q", text)
	}
	return secret
}

// contains looks for s as text and as bytes written in hex; an address of SQLite is bytes.
func contains(text, s string) bool {
	if s == "203.0.113.99" && strings.Contains(text, "\x04\xcb\x00\x71\x63") || s == "198.51.100.98" && strings.Contains(text, "\x04\xc6\x33\x64\x62") {
		return true
	}
	return strings.Contains(text, s) || strings.Contains(text, hex.EncodeToString([]byte(s)))
}

// everything is what each table holds, and Redis.
func everything(t *testing.T, db *sql.DB, cache *redis.Client) map[string]string {
	t.Helper()
	list := `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	if cache == nil {
		list = `SELECT name FROM sqlite_master WHERE type = 'table'`
	}
	found := map[string]string{}
	for _, row := range cells(t, db, list) {
		found[row] = strings.Join(cells(t, db, `SELECT * FROM "`+row+`"`), "\n")
	}
	if len(found) < 8 {
		t.Fatalf("only %d tables", len(found))
	}
	if cache == nil {
		return found
	}
	for keys := cache.Scan(context.Background(), 0, "*", 1000).Iterator(); keys.Next(context.Background()); {
		value, err := cache.Dump(context.Background(), keys.Val()).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // as its documentation compares it
			t.Fatal(err)
		}
		found["redis "+keys.Val()] = keys.Val() + " " + value
	}
	return found
}

// cells are a query's rows, each as one text.
func cells(t *testing.T, db *sql.DB, query string) (rows []string) {
	t.Helper()
	result, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = result.Close() }()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for result.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := result.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, v := range values {
			switch v := (*v.(*any)).(type) {
			case []byte:
				cells = append(cells, string(v))
			default:
				cells = append(cells, fmt.Sprint(v))
			}
		}
		rows = append(rows, strings.Join(cells, " "))
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
