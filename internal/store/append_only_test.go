package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"

	"signald/internal/store"
)

func TestDatabaseRefusesToChangeTheAudit(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: "k", Name: "before"}); err != nil {
				t.Fatal(err)
			}
			if err := s.AddAuditEvent(context.Background(), store.NewAuditEvent{Kind: "before"}); err != nil {
				t.Fatal(err)
			}
			side := raw(t, url)
			statements := []string{
				`UPDATE meetings SET name = 'after'`, `DELETE FROM meetings`, `UPDATE audit_events SET kind = 'after'`, `DELETE FROM audit_events`,
			}
			hash := `zeroblob(32), 0`
			if !isSQLite(url) {
				statements = append(statements, `TRUNCATE meetings CASCADE`, `TRUNCATE audit_events`, `TRUNCATE audit_anchors`)
				hash = `'', now()`
			}
			// An anchor is as permanent, lets go nothing after it, and nothing of the other chain.
			exec(t, side, `INSERT INTO audit_anchors VALUES ('meetings', 0, `+hash+`)`, `INSERT INTO audit_anchors VALUES ('audit_events', 0, `+hash+`)`)
			statements = append(statements, `UPDATE audit_anchors SET seq = 1`, `DELETE FROM audit_anchors`)
			for _, statement := range statements {
				_, err := side.Exec(statement)
				var pg *pgconn.PgError
				var lite *sqlitedriver.Error
				switch {
				case errors.As(err, &pg) && pg.Code == "23001":
				case errors.As(err, &lite) && lite.Code() == sqlitecode.SQLITE_CONSTRAINT_TRIGGER:
				default:
					t.Errorf("%s: %v", statement, err)
				}
			}
			m, _, _, err := s.Meeting(context.Background(), "k")
			if err != nil || m.Name != "before" {
				t.Errorf("afterwards: %q, %v", m.Name, err)
			}
			events, _, err := s.AuditEvents(context.Background(), store.AuditEventQuery{})
			if err != nil || len(events) != 1 || events[0].Kind != "before" {
				t.Errorf("afterwards: %+v, %v", events, err)
			}
		})
	}
}

func TestVerifyNamesTheChangedRow(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			ctx := context.Background()
			const rows = 503 // more than one batch
			city, lat := "Jinan", 36.5
			for i := 1; i <= rows; i++ {
				_, err := s.CreateMeeting(ctx, store.NewMeeting{
					ID: fmt.Sprint("k", i), Name: "name", CreatorIP: netip.MustParseAddr("192.0.2.1"), Country: &city,
					Region: &city, City: &city, Lat: &lat, Lon: &lat, GeoSource: "g", UserAgent: "u",
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			side := raw(t, url)
			address, second, flipped := `'192.0.2.2'`, `created_at + interval '1 microsecond'`, `set_byte(hash, 5, get_byte(hash, 5) # 1)`
			if isSQLite(url) {
				exec(t, side, `DROP TRIGGER meetings_no_update`, `DROP TRIGGER meetings_no_delete`, `PRAGMA foreign_keys = 0`)
				address, second, flipped = `x'04c0000202'`, `created_at + 1`, `zeroblob(32)`
			} else {
				exec(t, side, `ALTER TABLE meetings DISABLE TRIGGER USER`, `SET session_replication_role = replica`)
			}

			check := func(what string, wantSeq int64, wantID string) {
				t.Helper()
				bad, err := s.VerifyAudit(ctx, nil)
				switch {
				case err != nil:
					t.Fatalf("%s: %v", what, err)
				case wantSeq == 0 && bad != nil:
					t.Errorf("%s: row %d is called bad", what, bad.Seq)
				case wantSeq != 0 && (bad == nil || bad.Seq != wantSeq || bad.ID != wantID):
					t.Errorf("%s: %+v is called bad, want row %d", what, bad, wantSeq)
				}
			}
			check("untouched", 0, "")
			for column, value := range map[string]string{
				"name": `'namf'`, "name_fold": `'namf'`, "creator_ip": address, "country": `NULL`, "region": `'jinan'`, "city": `'JInan'`,
				"city_fold": `'x'`, "lat": `36.500000000000007`, "lon": `NULL`, "geo_source": `'G'`, "user_agent": `''`,
				"created_at": second, "prev_hash": flipped, "hash": flipped,
			} {
				exec(t, side, `CREATE TABLE kept AS SELECT `+column+` AS v FROM meetings WHERE seq = 377`)
				exec(t, side, `UPDATE meetings SET `+column+` = `+value+` WHERE seq = 377`)
				check(column, 377, "k377")
				exec(t, side, `UPDATE meetings SET `+column+` = (SELECT v FROM kept) WHERE seq = 377`, `DROP TABLE kept`)
			}
			check("all put back", 0, "")
			exec(t, side, `UPDATE meetings_head SET hash = `+flipped)
			check("head changed", rows, fmt.Sprint("k", rows))
			exec(t, side, `UPDATE meetings_head SET hash = (SELECT hash FROM meetings ORDER BY seq DESC LIMIT 1)`)
			exec(t, side, `DELETE FROM meetings WHERE seq = 503`)
			check("last row gone", 503, "")
			exec(t, side, `DELETE FROM meetings WHERE seq = 250`)
			check("row gone in between", 251, "k251")
		})
	}
}

// TestRowsPutInPlaceOfDeletedOnesAreNoticed: what an anchor lets go must not come back as something else.
func TestRowsPutInPlaceOfDeletedOnesAreNoticed(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			ctx := context.Background()
			for i := range 5 {
				if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: fmt.Sprint("k", i), CreatedAt: time.Unix(int64(i), 0)}); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := s.PruneAudit(ctx, time.Unix(3, 0)); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			side := raw(t, url)
			exec(t, side, `INSERT INTO meetings SELECT 3, 'forged', name, name_fold, creator_ip, country, region, city, city_fold, lat, lon,
				geo_source, user_agent, created_at, prev_hash, hash FROM meetings WHERE seq = 4`)
			bad, err := s.VerifyAudit(ctx, nil)
			if err != nil || bad == nil || bad.ID != "forged" {
				t.Errorf("%+v, %v", bad, err)
			}
			exec(t, side, `DELETE FROM meetings WHERE seq = 3`)
			if bad, err := s.VerifyAudit(ctx, nil); err != nil || bad != nil {
				t.Errorf("%+v, %v", bad, err)
			}
		})
	}
}

// TestMigrationKeepsTheChain: a database of the first schema, with a meeting that people are in.
func TestMigrationKeepsTheChain(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			migrateTo(t, url, 1)
			side := raw(t, url)
			n := store.Meeting{ID: "k", Name: "before", CreatedAt: time.Unix(1, 0).UTC(), Seq: 1, PrevHash: make([]byte, 32)}
			hash := store.ChainHash(n.PrevHash, n)
			at, blank := any(n.CreatedAt), `''`
			if isSQLite(url) {
				at, blank = n.CreatedAt.UnixMicro(), `x''`
			}
			for _, st := range []struct {
				text string
				args []any
			}{
				{`INSERT INTO meetings (seq, meeting_id, name, name_fold, geo_source, user_agent, created_at, prev_hash, hash)
					VALUES (1, 'k', 'before', 'before', '', '', $1, $2, $3)`, []any{at, n.PrevHash, hash}},
				{`UPDATE meetings_head SET seq = 1, hash = $1`, []any{hash}},
				{`INSERT INTO meeting_state (meeting_id, title, rev, policy, created_at) VALUES ('k', 'before', 7, '{}', $1)`, []any{at}},
				{`INSERT INTO participants (peer_id, meeting_id, user_id, name, role, protocol, sdp, candidate, sdp_json, candidate_json, media, state,
					node_id, conn_id, fingerprint, joined_at) VALUES ('p', 'k', 'u', 'n', 'guest', 2, ` + blank + `, ` + blank + `, $2, $2, '{}', 'online', 'n_1', 'c', '', $1)`,
					[]any{at, false}},
			} {
				if _, err := side.Exec(st.text, st.args...); err != nil {
					t.Fatalf("%s: %v", st.text, err)
				}
			}
			migrateTo(t, url, 2)
			migrateTo(t, url, 1) // back, and up again
			s := open(t, url)
			if bad, err := s.VerifyAudit(context.Background(), nil); err != nil || bad != nil {
				t.Errorf("%+v, %v", bad, err)
			}
			st, everyone, err := s.Snapshot(context.Background(), "k")
			if err != nil || st.Rev != 7 || st.Title != "before" || len(everyone) != 1 || everyone[0].PeerID != "p" {
				t.Errorf("%+v, %+v, %v", st, everyone, err)
			}
			if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: "after"}); err != nil {
				t.Fatal(err)
			}
			if bad, err := s.VerifyAudit(context.Background(), nil); err != nil || bad != nil {
				t.Errorf("%+v, %v", bad, err)
			}
		})
	}
}
