package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

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
			side := raw(t, url)
			statements := []string{`UPDATE meetings SET name = 'after'`, `DELETE FROM meetings`}
			if !isSQLite(url) {
				statements = append(statements, `TRUNCATE meetings CASCADE`)
			}
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
