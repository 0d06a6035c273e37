package main

import (
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/testpg"
)

// auditing is a running server with three meetings, and the flag of its database.
func auditing(t *testing.T, test func(t *testing.T, database string, keys []string)) {
	for name, database := range map[string]string{
		"SQLite":     "sqlite:" + filepath.Join(t.TempDir(), "audit.db"),
		"PostgreSQL": testpg.URL(t),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, serveArgs(t, "--database-url="+database))
			var keys []string
			for range 3 {
				keys = append([]string{create(t, r.url)}, keys...)
			}
			test(t, database, keys)
			create(t, r.url) // undisturbed
		})
	}
}

func TestAuditIsReadBesideTheRunningServer(t *testing.T) {
	auditing(t, func(t *testing.T, database string, keys []string) {
		database = "--database-url=" + database
		code, out, stderr := command(t, "audit", "verify", database)
		if code != 0 || !strings.HasPrefix(out, "3 rows, and every one fits.\n") || !strings.Contains(stderr, "verified 3 of 3 rows\n") {
			t.Errorf("verify: %d %s %s", code, out, stderr)
		}

		code, out, stderr = command(t, "audit", "list", database, "--limit=2")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if code != 0 || stderr != "" || len(lines) != 3 || !strings.HasPrefix(lines[0], "CREATED ") || !strings.HasSuffix(lines[1], keys[0]) ||
			!strings.HasSuffix(lines[2], keys[1]) {
			t.Errorf("list: %d %s %s", code, out, stderr)
		}

		code, out, _ = command(t, "audit", "export", database)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if code != 0 || err != nil || len(rows) != 4 || rows[1][1] != keys[0] || rows[3][1] != keys[2] {
			t.Errorf("csv: %d %v %s", code, err, out)
		}

		code, out, _ = command(t, "audit", "export", database, "--format=json", "--ip=127.0.0.0/8", "--q="+keys[1], "--from=2000-01-01", "--to=2999-01-01T00:00:00Z")
		var list struct {
			Items []struct {
				Key string `json:"meeting_id"`
				IP  string `json:"creator_ip"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list.Items) != 1 || list.Items[0].Key != keys[1] || list.Items[0].IP != "127.0.0.1" {
			t.Errorf("json: %d %v %s", code, err, out)
		}
		code, out, _ = command(t, "audit", "export", database, "--format=json", "--country=cn", "--city=x")
		if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list.Items) != 0 {
			t.Errorf("nothing as json: %d %v %s", code, err, out)
		}

		code, out, _ = command(t, "audit", "export", database, "--format=ndjson", "--limit=2")
		if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(lines) != 2 || !strings.Contains(lines[1], keys[1]) {
			t.Errorf("ndjson: %d %s", code, out)
		}
	})
}

func TestAuditIsComparedWithANotedHead(t *testing.T) {
	auditing(t, func(t *testing.T, database string, _ []string) {
		flag := "--database-url=" + database
		_, out, _ := command(t, "audit", "verify", flag)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		noted := lines[len(lines)-1]
		if seq, hash, _ := strings.Cut(noted, ":"); seq != "3" || len(hash) != 64 {
			t.Fatalf("%s", out)
		}
		if code, out, stderr := command(t, "audit", "verify", flag, "--expect="+noted); code != 0 || !strings.Contains(out, "As noted at "+noted+".") {
			t.Errorf("%d %s %s", code, out, stderr)
		}
		other := noted[:len(noted)-1] + map[bool]string{true: "1", false: "0"}[noted[len(noted)-1] == '0']
		for expect, want := range map[string]struct {
			code int
			says string
		}{
			other:                          {1, "row 3 is not the one that was noted"},
			"4" + noted[1:]:                {1, "row 4 is missing"},
			"events:1" + noted[1:]:         {1, "row 1 is missing"},
			noted + "," + other:            {1, "row 3 is not the one that was noted"},
			"3":                            {2, "--expect is a head as this command prints it"},
			"0:" + strings.Repeat("0", 64): {0, ""},
		} {
			if code, _, stderr := command(t, "audit", "verify", flag, "--expect="+expect); code != want.code || !strings.Contains(stderr, want.says) {
				t.Errorf("%s: %d %s", expect, code, stderr)
			}
		}
	})
}

func TestAuditVerifyNamesTheRowThatDoesNotFit(t *testing.T) {
	auditing(t, func(t *testing.T, database string, keys []string) {
		driver, dsn, setup := "pgx", database, `SET session_replication_role = replica`
		if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
			driver, dsn, setup = "sqlite", file+"?_pragma=busy_timeout(20000)", `DROP TRIGGER meetings_no_update`
		}
		db, err := sql.Open(driver, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		db.SetMaxOpenConns(1)
		for _, statement := range []string{setup, `UPDATE meetings SET name = 'forged' WHERE seq = 2`} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		code, out, stderr := command(t, "audit", "verify", "--database-url="+database)
		if code != 1 || out != "" || !strings.Contains(stderr, "row 2 does not fit") || !strings.Contains(stderr, keys[1]) {
			t.Errorf("%d %s %s", code, out, stderr)
		}
	})
}

func TestAuditSaysWhatIsWrong(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no.db")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"verify", "--database-url=sqlite:" + missing}, 1, "no such file"},
		{[]string{"verify", "--database-url=sqlite::memory:"}, 1, "in memory"},
		{[]string{"verify", "--database-url=mysql://u:s3cret@h/d"}, 1, "begin with sqlite: or postgres://"},
		{[]string{"list", "--database-url=postgres://u:s3cret@127.0.0.1:1/x"}, 1, "open the database"},
		{[]string{"list", "--ip=somewhere"}, 2, "--ip is an address, or a network"},
		{[]string{"list", "--limit=many"}, 2, "--limit is a number from 1"},
		{[]string{"export", "--format=xml"}, 2, "--format must be one of"},
		{[]string{"delete"}, 2, "unexpected argument delete"},
	} {
		code, out, stderr := command(t, append([]string{"audit"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "s3cret") {
			t.Errorf("%v: %d %q %s", c.args, code, out, stderr)
		}
	}
}

func TestAuditCutsLongNames(t *testing.T) {
	database := "sqlite:" + filepath.Join(t.TempDir(), "audit.db")
	r := start(t, serveArgs(t, "--database-url="+database))
	resp, err := plain.Post(r.url+"/api/v1/meetings", "application/json", strings.NewReader(`{"meeting_id":"k","name":"`+strings.Repeat("长", 60)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	_, out, _ := command(t, "audit", "list", "--database-url="+database)
	if !strings.Contains(out, strings.Repeat("长", 39)+"…  k\n") {
		t.Errorf("%s", out)
	}
}

func TestPruneWantsARetentionAndTheDatabase(t *testing.T) {
	auditing(t, func(t *testing.T, database string, keys []string) {
		if strings.HasPrefix(database, "sqlite:") { // the running server's alone
			if code, _, stderr := command(t, "audit", "prune", "--database-url="+database, "--audit-retention=24h"); code != 1 || !strings.Contains(stderr, "in use") {
				t.Errorf("%d %s", code, stderr)
			}
			return
		}
		code, out, stderr := command(t, "audit", "prune", "--database-url="+database, "--audit-retention=24h")
		if code != 0 || out != "0 rows deleted.\n" {
			t.Errorf("nothing is old: %d %s %s", code, out, stderr)
		}
		if code, _, stderr := command(t, "audit", "prune", "--database-url="+database, "--audit-retention=1h"); code != 2 || !strings.Contains(stderr, "at least 24h") {
			t.Errorf("%d %s", code, stderr)
		}
		if code, _, stderr := command(t, "audit", "prune", "--database-url="+database); code != 2 || !strings.Contains(stderr, "audit-retention") {
			t.Errorf("%d %s", code, stderr)
		}
	})
}

func TestPruneMakesNoDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mistyped.db")
	code, out, stderr := command(t, "audit", "prune", "--database-url=sqlite:"+file, "--audit-retention=24h")
	if code != 1 || out != "" || !strings.Contains(stderr, "mistyped.db") {
		t.Errorf("%d %s %s", code, out, stderr)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	if code, out, _ = command(t, "audit", "prune", "--database-url="+testpg.URL(t), "--audit-retention=24h"); code != 1 || out != "" {
		t.Errorf("an empty PostgreSQL: %d %s", code, out)
	}
}

func TestServerDeletesOldRowsByItself(t *testing.T) {
	for name, database := range map[string]string{
		"SQLite":     "sqlite:" + filepath.Join(t.TempDir(), "audit.db"),
		"PostgreSQL": testpg.URL(t),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.Context(), database, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			for _, age := range []time.Duration{50 * time.Hour, 49 * time.Hour, time.Hour} {
				if _, err := s.CreateMeeting(t.Context(), store.NewMeeting{ID: age.String(), CreatedAt: time.Now().Add(-age)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.AddAuditEvent(t.Context(), store.NewAuditEvent{Kind: store.EventKick, MeetingID: "k", Actor: "host"}), s.Close()); err != nil {
				t.Fatal(err)
			}
			r := start(t, serveArgs(t, "--database-url="+database, "--audit-retention=48h"))
			until := time.Now().Add(patience)
			out := ""
			for !strings.HasPrefix(out, "1 rows, ") && time.Now().Before(until) {
				_, out, _ = command(t, "audit", "verify", "--database-url="+database)
			}
			if !strings.HasPrefix(out, "1 rows, and every one fits.\nThey begin after row 2: ") || !strings.Contains(out, "\n1 events, and every one fits.\n") {
				t.Errorf("%s", out)
			}
			deleted := "1:" + strings.Repeat("0", 64)
			if code, _, stderr := command(t, "audit", "verify", "--database-url="+database, "--expect="+deleted); code != 1 || !strings.Contains(stderr, "cannot be compared") {
				t.Errorf("%d %s", code, stderr)
			}
			create(t, r.url)
			if code, out, _ := command(t, "audit", "export", "--database-url="+database, "--format=ndjson"); code != 0 || strings.Count(out, "\n") != 2 {
				t.Errorf("%d %s", code, out)
			}
			code, out, _ := command(t, "audit", "events", "--database-url="+database, "--kind=kick", "--from=2000-01-01")
			if code != 0 || !strings.HasPrefix(out, `{"kind":"kick","meeting_id":"k","actor":"host",`) || strings.Count(out, "\n") != 1 {
				t.Errorf("%d %s", code, out)
			}
			if code, _, stderr := command(t, "audit", "events", "--database-url="+database, "--kind=party"); code != 2 || !strings.Contains(stderr, "--kind is kick") {
				t.Errorf("%d %s", code, stderr)
			}
		})
	}
}
