package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"signald/internal/testnode"
	"signald/internal/testproc"
)

func psql(t testing.TB, arguments ...string) {
	t.Helper()
	tool(t, "psql", append([]string{"-X", "-q", "-v", "ON_ERROR_STOP=1"}, arguments...)...)
}

// tool runs a program that an operator would.
func tool(t testing.TB, program string, arguments ...string) {
	t.Helper()
	path, err := testproc.Find(program, "/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatalf("%v: scripts/deps.sh installs it", err)
	}
	out, err := exec.Command(path, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// TestServerWithTheGrantsOfDeployWorksAndCannotChangeTheAudit: nor can it undo what forbids it.
func TestServerWithTheGrantsOfDeployWorksAndCannotChangeTheAudit(t *testing.T) {
	t.Parallel()
	login := roles(t)

	r := newReceiver(t)
	r.up()
	n := testnode.Start(t, append(r.env(), "SIGNALD_DATABASE_URL="+login("signald"), "SIGNALD_AUDIT_EVENTS=actions,logins")...)
	over := meeting(t, n, nil)
	for path, body := range map[string]string{"login": `{"token":"` + testnode.AdminToken + `"}`, "meetings/" + over.MeetingID + "/end": ""} {
		if resp, answer := do(t, http.DefaultClient, "POST", n.URL+"/api/v1/admin/"+path, body, "Authorization", "Bearer "+testnode.AdminToken); resp.StatusCode/100 != 2 {
			t.Errorf("%s: %s", path, answer)
		}
	}
	m := meeting(t, n, nil)
	a, b := join(t, n, as(m, "a"), nil), join(t, n, as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	if err := b.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	sees(t, a, map[string]string{})
	r.tells(m.MeetingID, "meeting.created", "meeting.started", "participant.joined a", "participant.joined b", "participant.left b leave")

	for role, statements := range map[string][]string{
		"signald": {
			`UPDATE meetings SET name = 'x'`, `DELETE FROM meetings`, `TRUNCATE meetings CASCADE`, `DROP TABLE meetings CASCADE`,
			`ALTER TABLE meetings DISABLE TRIGGER ALL`, `DROP TRIGGER meetings_no_change ON meetings`, `SET session_replication_role = replica`,
			`CREATE OR REPLACE FUNCTION meetings_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'`,
			`DELETE FROM audit_events`, `UPDATE audit_events SET kind = 'x'`, `INSERT INTO audit_anchors VALUES ('meetings', 1, '', now())`,
			`DELETE FROM meetings_head`, `CREATE TABLE mine (x int)`, `SET ROLE signald_owner`,
		},
		"signald_auditor": {
			`UPDATE meetings SET name = 'x'`, `INSERT INTO meetings_head VALUES (2, 0, '')`, `SELECT * FROM participants`, `SELECT * FROM meeting_state`,
		},
	} {
		conn, err := pgx.Connect(ctx(t), login(role))
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range statements {
			_, err := conn.Exec(ctx(t), statement)
			var answer *pgconn.PgError
			if !errors.As(err, &answer) || answer.Code != "42501" { // insufficient_privilege
				t.Errorf("%s: %s: %v", role, statement, err)
			}
		}
		_ = conn.Close(ctx(t))
	}

	got := testnode.Run(t, "audit", "verify", "--database-url="+login("signald_auditor"))
	if got.Code != 0 || !strings.HasPrefix(got.Output, "2 rows") || !strings.Contains(got.Output, "1 events") {
		t.Errorf("%+v", got)
	}
}

// The server may not prune the audit: it says so once, names who may, and works on.
func TestAuditIsPrunedByTheOwnerAlone(t *testing.T) {
	t.Parallel()
	login := roles(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+login("signald"))
	for range 3 {
		meeting(t, n, nil)
	}
	if code := n.Stop(ctx(t)); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	conn, err := pgx.Connect(ctx(t), login("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx(t)) }()
	for _, statement := range []string{ // two days pass
		`ALTER TABLE meetings DISABLE TRIGGER ALL`, `UPDATE meetings SET created_at = created_at - interval '2 days'`, `ALTER TABLE meetings ENABLE TRIGGER ALL`,
	} {
		if _, err := conn.Exec(ctx(t), statement); err != nil {
			t.Fatal(err)
		}
	}
	n.Set("SIGNALD_AUDIT_RETENTION=24h")
	n.Start()
	eventually(t, "the server says that it may not", 20*time.Second, func() bool {
		return strings.Contains(n.Log(), `"task":"prune_audit"`)
	})
	m := meeting(t, n, nil)
	if err := join(t, n, as(m, "a"), nil).Leave(ctx(t)); err != nil {
		t.Error(err)
	}
	if log := n.Log(); strings.Count(log, "task fails") != 1 || !strings.Contains(log, "permission denied") || !strings.Contains(log, "run signald audit prune as its owner") {
		t.Errorf("the log:\n%s", log)
	}
	for _, role := range []string{"signald", "signald_auditor"} {
		got := testnode.Run(t, "audit", "prune", "--audit-retention=24h", "--database-url="+login(role))
		if got.Code != 1 || !strings.Contains(got.Output, "permission denied") {
			t.Errorf("%s: %+v", role, got)
		}
	}
	got := testnode.Run(t, "audit", "prune", "--audit-retention=24h", "--database-url="+login("signald_owner"))
	if got.Code != 0 || got.Output != "3 rows deleted.\n" {
		t.Errorf("%+v", got)
	}
}
