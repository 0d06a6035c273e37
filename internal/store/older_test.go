package store_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"signald/internal/store"
	"signald/migrations"
)

// oldTime is when the rows of older schemas were written.
var oldTime = time.Date(2026, 11, 21, 8, 30, 0, 123456000, time.UTC)

// oldRows are the rows of each table as the schema of that version had them, and are not to be changed
// with the code. Between {} stands what the databases write differently.
var oldRows = []struct {
	since int64
	table string
	sql   string
}{
	{1, "meetings", `INSERT INTO meetings (seq, meeting_id, name, name_fold, creator_ip, country, city, city_fold, lat, lon, geo_source, user_agent,
		created_at, prev_hash, hash) VALUES (1, 'k', 'Weekly', 'weekly', {ip}, 'CN', 'Jinan', 'jinan', 36.5, 117, 'dbip', 'curl', {then}, {zero}, {hash})`},
	{1, "meetings_head", `UPDATE meetings_head SET seq = 1, hash = {hash}`},
	{1, "meeting_state", `INSERT INTO meeting_state (meeting_id, title, rev, policy, password_hash, host_key_hash, created_at) VALUES ('k', 'Weekly', 7,
		'{"camera":true,"speak":true,"rename":true,"chat":true,"locked":false,"lobby":false,"max_peers":8}', NULL, {secret}, {then})`},
	{1, "participants", `INSERT INTO participants (peer_id, meeting_id, user_id, name, role, protocol, sdp, candidate, sdp_json, candidate_json, media, state,
		node_id, conn_id, resume_hash, fingerprint, joined_at, away_since, ip) VALUES ('p_a', 'k', 'a', '王宇', 'guest', 2, {secret}, {empty}, {false}, {false},
		'{"audio":true,"video":false,"screen":false,"hand":null}', 'away', 'n_1', 'c', {secret}, 'sha-256 1A', {then}, {then}, {ip})`},
	{1, "nodes", `INSERT INTO nodes VALUES ('n_1', {then}, {then})`},

	{2, "audit_events", `INSERT INTO audit_events VALUES (1, 'kick', 'k', 'host', 'guest', {ip}, 'curl', {then}, {zero}, {event})`},
	{2, "audit_events_head", `UPDATE audit_events_head SET seq = 1, hash = {event}`},
	{2, "audit_anchors", `INSERT INTO audit_anchors VALUES ('meetings', 0, {zero}, {then})`},
	{2, "admin_sessions", `INSERT INTO admin_sessions VALUES ({secret}, {zero}, {later})`},

	{3, "webhook_events", `INSERT INTO webhook_events (id, kind, meeting_id, meeting_name, peer_id, user_id, name, role, reason, at, due_at, attempts)
		VALUES ('evt_1', 'meeting.created', 'k', 'Weekly', '', '', '', '', '', {then}, {then}, 1)`},

	{4, "bans", `INSERT INTO bans (meeting_id, peer_id, kind, user_id, name, network, at, until) VALUES ('k', 'p_b', 'banned', 'b', 'B', '192.0.2.1', {then}, {later})`},
	{4, "waiting", `INSERT INTO waiting (ticket_id, meeting_id, ticket_hash, user_id, name, memo, country, network, state, since, node_id, conn_id)
		VALUES ('w', 'k', {secret}, 'c', 'C', 'memo', 'CN', '192.0.2.1', 'waiting', {then}, 'n_1', 'c')`},
	{4, "admissions", `INSERT INTO admissions VALUES ('k', {secret}, {later})`},
	{4, "attendance", `INSERT INTO attendance (peer_id, meeting_id, user_id, name, role, joined_at) VALUES ('p_a', 'k', 'a', 'A', 'guest', {then})`},

	{5, "messages", `INSERT INTO messages VALUES ('k', 6, 6, 'm', 'c', 'p_a', 'A', '', 'hello', NULL, {then}, {false})`},

	{7, "chat_readers", `INSERT INTO chat_readers (peer_id, meeting_id, reader, joined_rev, token_hash, {left}) VALUES ('p_c', 'k', 'p_c', 5, {secret}, {later})`},

	{15, "cluster_secret", `UPDATE cluster_secret SET secret = {secret}`},
}

// The hashes of those rows, as the program of the time wrote them.
const (
	oldMeetingHash = "0c4298c207dcd76246c594cb741421f6e95d237ecf5d7c76c84f8a246e1e8ded"
	oldEventHash   = "d83e7e1686f8278c2245477860830afe2a49d8584f305e4d08ee78cdde3701d4"
)

func oldWords(sqlite bool, version int64) *strings.Replacer {
	later := oldTime.AddDate(100, 0, 0)
	bytes := func(h string) string { return `'\x` + h + `'` }
	at := func(t time.Time) string { return "'" + t.Format(time.RFC3339Nano) + "'" }
	ip, no := "'192.0.2.7'", "false"
	if sqlite {
		bytes = func(h string) string { return "x'" + h + "'" }
		at = func(t time.Time) string { return fmt.Sprint(t.UnixMicro()) }
		ip, no = "x'04c0000207'", "0"
	}
	left := "until"
	if version >= 13 {
		left = "left_at"
	}
	return strings.NewReplacer(
		"{left}", left,
		"{then}", at(oldTime), "{later}", at(later), "{ip}", ip, "{false}", no, "{empty}", bytes(""),
		"{zero}", bytes(strings.Repeat("00", 32)), "{secret}", bytes(hex.EncodeToString([]byte("secret"))),
		"{hash}", bytes(oldMeetingHash), "{event}", bytes(oldEventHash),
	)
}

// TestDatabaseOfEveryOlderSchemaIsBroughtUpToDate: with rows in each of its tables, of a meeting that people
// are in.
func TestDatabaseOfEveryOlderSchemaIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.FS, "sqlite/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for version := int64(1); version < int64(len(files)); version++ {
		for _, db := range databases {
			t.Run(fmt.Sprint(version, db.name), func(t *testing.T) {
				t.Parallel()
				url := db.url(t)
				migrateTo(t, url, version)
				writeOld(t, url, version)
				upToDate(t, open(t, url), version)
			})
		}
	}
}

// writeOld writes the rows of a version, and sees that no table is left out.
func writeOld(t *testing.T, url string, version int64) {
	t.Helper()
	side, words := raw(t, url), oldWords(isSQLite(url), version)
	list := `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	if isSQLite(url) {
		list = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
	}
	empty := map[string]bool{}
	for _, table := range column(t, side, list) {
		empty[table] = true
	}
	delete(empty, "goose_db_version")
	for _, r := range oldRows {
		if r.since <= version {
			exec(t, side, words.Replace(r.sql))
			delete(empty, r.table)
		}
	}
	if len(empty) > 0 {
		t.Errorf("no rows of version %d for %v", version, empty)
	}
}

func column(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// upToDate sees that everything is there, and goes on.
func upToDate(t *testing.T, s *store.Store, version int64) {
	t.Helper()
	ctx := context.Background()
	check := func(since int64, what string, ok bool, err error) {
		t.Helper()
		if version >= since && (err != nil || !ok) {
			t.Errorf("%s: as it was: %v, %v", what, ok, err)
		}
	}
	m, st, n, err := s.Meeting(ctx, "k")
	check(1, "the meeting", m.Name == "Weekly" && m.CreatorIP.String() == "192.0.2.7" && m.CreatedAt.Equal(oldTime) && *m.Lat == 36.5, err)
	check(1, "its state", st.Rev == 7 && st.Title == "Weekly" && st.Policy == store.Policy{Camera: true, Speak: true, Rename: true, Chat: true, MaxPeers: 8} &&
		string(st.HostKeyHash) == "secret" && n == 1, err)
	p, err := s.ParticipantByResume(ctx, []byte("secret"))
	check(1, "who was in it", p.PeerID == "p_a" && p.Name == "王宇" && p.State == store.Away && p.Media.Audio && string(p.SDP) == "secret" &&
		p.JoinedAt.Equal(oldTime) && p.IP.String() == "192.0.2.7", err)
	nodes, err := s.Nodes(ctx)
	check(1, "its node", nodes["n_1"].Equal(oldTime), err)
	_, expires, err := s.AdminSession(ctx, []byte("secret"))
	check(2, "the admin's session", expires.Year() == oldTime.Year()+100, err)
	pending, _, err := s.PendingEvents(ctx)
	check(3, "what webhooks wait", pending == 1, err)
	bans, err := s.Bans(ctx, "k")
	check(4, "the ban", len(bans) == 1 && bans[0].UserID == "b" && bans[0].Network == "192.0.2.1" && bans[0].At.Equal(oldTime), err)
	st, _, err = s.Snapshot(ctx, "k")
	check(4, "the lobby", len(st.Waiting) == 1 && st.Waiting[0].Memo == "memo" && string(st.Waiting[0].TicketHash) == "secret", err)
	list, err := s.Attendance(ctx, "k")
	check(4, "the attendance", len(list) == 1 && list[0].Name == "A" && list[0].LeftAt == nil, err)
	said, err := s.Messages(ctx, "k", "p_a", 0, 10, true)
	check(5, "what was said", len(said) == 1 && said[0].Text == "hello" && said[0].Rev == 6 && said[0].At.Equal(oldTime), err)
	bothChainsFit(t, s)

	err = s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { // as the code of today has it
		admitted, err := tx.IsAdmitted(ctx, []byte("secret"))
		check(4, "the admission", admitted, err)
		if err := tx.Ban(store.Ban{PeerID: "p_d", Kind: store.Kicked, Person: store.Person{UserID: "d"}, At: oldTime, Until: oldTime}); err != nil {
			return err
		}
		if err := tx.Say(&store.Message{ID: "m2", ClientID: "c2", From: "p_a", Text: "again"}); err != nil {
			return err
		}
		if err := tx.Insert(ctx, store.Participant{PeerID: "p_d", UserID: "d", Name: "d", State: store.Online}); err != nil {
			return err
		}
		return tx.Delete(ctx, "p_a", "leave")
	})
	if err != nil {
		t.Errorf("the meeting goes on: %v", err)
	}
	if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: "after"}); err != nil {
		t.Error(err)
	}
	if err := s.AddAuditEvent(ctx, store.NewAuditEvent{Kind: store.EventEnd}); err != nil {
		t.Error(err)
	}
	bothChainsFit(t, s)
}

func bothChainsFit(t *testing.T, s *store.Store) {
	t.Helper()
	if bad, err := s.VerifyAudit(t.Context(), nil); err != nil || bad != nil {
		t.Errorf("the audit: %+v, %v", bad, err)
	}
	if bad, err := s.VerifyAuditEvents(t.Context(), nil); err != nil || bad != nil {
		t.Errorf("its events: %+v, %v", bad, err)
	}
}
