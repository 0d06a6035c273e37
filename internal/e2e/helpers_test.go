// Package e2e tests signald as its users meet it: real processes, real sockets.
package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return c
}

func meeting(t *testing.T, n *testnode.Node, body map[string]any) client.Meeting {
	t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	m, err := client.CreateMeeting(ctx(t), n.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// database is a node's, to be looked into.
func database(t *testing.T, n *testnode.Node) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", n.Env("SIGNALD_DATABASE_URL")
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?mode=ro"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// inbox keeps what a participant was told.
type inbox struct {
	mu      sync.Mutex
	changed chan struct{}
	signals []client.Signal
	closed  []protocol.Closed
	chats   []protocol.ChatOut
	updates []protocol.ChatUpdate
	typing  []protocol.TypingOut
	states  []protocol.RoomState
	done    []protocol.Moderated
	lobbies []protocol.Lobby
	advice  []protocol.MeshAdvice
	tables  []protocol.MeshMatrix
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

func (b *inbox) handlers() client.Handlers {
	return client.Handlers{
		Signal: func(s client.Signal) { b.add(func() { b.signals = append(b.signals, s) }) },
		Chat:   func(c protocol.ChatOut) { b.add(func() { b.chats = append(b.chats, c) }) },
		Update: func(c protocol.ChatUpdate) { b.add(func() { b.updates = append(b.updates, c) }) },
		Typing: func(c protocol.TypingOut) { b.add(func() { b.typing = append(b.typing, c) }) },
		Closed: func(c protocol.Closed) { b.add(func() { b.closed = append(b.closed, c) }) },

		State:     func(s protocol.RoomState) { b.add(func() { b.states = append(b.states, s) }) },
		Moderated: func(m protocol.Moderated) { b.add(func() { b.done = append(b.done, m) }) },
		Lobby:     func(l protocol.Lobby) { b.add(func() { b.lobbies = append(b.lobbies, l) }) },

		Advice: func(a protocol.MeshAdvice) { b.add(func() { b.advice = append(b.advice, a) }) },
		Matrix: func(m protocol.MeshMatrix) { b.add(func() { b.tables = append(b.tables, m) }) },
	}
}

func (b *inbox) add(f func()) {
	b.mu.Lock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
}

// await waits until ok, which may read the inbox's fields, is true.
func (b *inbox) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	c := ctx(t)
	for {
		b.mu.Lock()
		fine, changed := ok(), b.changed
		b.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-changed:
		case <-c.Done():
			t.Fatalf("%s did not happen", what)
		}
	}
}

func join(t *testing.T, n *testnode.Node, j protocol.Join, b *inbox) *client.Participant {
	t.Helper()
	if b == nil {
		b = newInbox()
	}
	p, err := client.Join(ctx(t), n.URL, j, b.handlers(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Conn().Kill)
	return p
}

func as(m client.Meeting, user string) protocol.Join {
	return protocol.Join{MeetingID: m.MeetingID, UserID: user}
}

// sees waits until p's roster has exactly these states by user, "online" or "away".
func sees(t *testing.T, p *client.Participant, want map[string]string) {
	t.Helper()
	err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
		if len(peers) != len(want) {
			return false
		}
		for _, peer := range peers {
			if want[peer.UserID] != peer.State {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("want %v: %v", want, err)
	}
}

func wantCode(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// essay is a client of protocol 1: it emits and listens, and knows no acks.
type essay struct {
	*client.Conn
	t      *testing.T
	events chan said
}

type said struct {
	event string
	args  []json.RawMessage
}

func newEssay(t *testing.T, n *testnode.Node) *essay {
	t.Helper()
	e := &essay{t: t, events: make(chan said, 1024)}
	c, err := client.Dial(ctx(t), n.URL, client.Options{OnEvent: func(event string, args []json.RawMessage) {
		e.events <- said{event, args}
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.Conn = c
	t.Cleanup(c.Kill)
	return e
}

// next waits for an event of this name, skipping others.
func (e *essay) next(event string) []json.RawMessage {
	e.t.Helper()
	c := ctx(e.t)
	for {
		select {
		case s := <-e.events:
			if s.event == event {
				return s.args
			}
		case <-c.Done():
			e.t.Fatalf("no %s came", event)
		}
	}
}

// mapOf waits until update_participants has exactly these keys, in this order.
func (e *essay) mapOf(keys ...string) map[string]protocol.Blobs {
	e.t.Helper()
	for {
		raw := e.next(protocol.EventUpdateParticipants)[0]
		if equal(orderedKeys(e.t, raw), keys) {
			var m map[string]protocol.Blobs
			if err := json.Unmarshal(raw, &m); err != nil {
				e.t.Fatal(err)
			}
			return m
		}
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// orderedKeys are the keys of a JSON object as they stand.
func orderedKeys(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	dec := json.NewDecoder(bytesReader(raw))
	var keys []string
	depth, isKey := 0, false
	for {
		token, err := dec.Token()
		if err != nil {
			return keys
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
				isKey = depth == 1
			} else {
				depth--
				isKey = depth == 1
			}
		case string:
			if depth == 1 && isKey {
				keys = append(keys, v)
				isKey = false
			} else if depth == 1 {
				isKey = true
			}
		default:
			if depth == 1 {
				isKey = true
			}
		}
	}
}
