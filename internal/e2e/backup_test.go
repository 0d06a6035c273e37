package e2e

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
)

// backup does to a node's database what docs/OPERATIONS.md says, and names what it was
// restored to.
func backup(t *testing.T, n *testnode.Node) (restored string) {
	t.Helper()
	from, file := n.Env("SIGNALD_DATABASE_URL"), filepath.Join(t.TempDir(), "backup")
	if path, ok := strings.CutPrefix(from, "sqlite:"); ok {
		tool(t, "sqlite3", path, ".backup '"+file+"'")
		return "sqlite:" + file
	}
	to := testpg.URL(t)
	tool(t, "pg_dump", "--format=custom", "--file="+file, from)
	tool(t, "pg_restore", "--dbname="+to, "--no-owner", "--exit-on-error", file)
	return to
}

// The server runs meanwhile, and nobody in its meetings notices.
func TestBackupOfARunningServerIsAWholeOne(t *testing.T) {
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		o := gather(t, []*testnode.Node{n})
		before := o.meeting
		began := time.Now()
		restored := "SIGNALD_DATABASE_URL=" + backup(t, n)
		t.Logf("backup and restoring took %s", time.Since(began))
		after := meeting(t, n, nil)

		r := testnode.Start(t, restored, "SIGNALD_GRACE=1s")
		var info struct{ Name string }
		path := "/api/v1/meetings/"
		if err := client.Request(ctx(t), http.MethodGet, r.URL, path+before.MeetingID, "", nil, &info); err != nil {
			t.Errorf("the meeting from before: %v", err)
		}
		wantCode(t, client.Request(ctx(t), http.MethodGet, r.URL, path+after.MeetingID, "", nil, &info), fault.MeetingNotFound)
		j := as(before, "host")
		j.HostKey = before.HostKey
		p := join(t, r, j, nil)
		sees(t, p, map[string]string{}) // who was in then is not here
		if got := testnode.Run(t, "audit", "verify", "--database-url="+strings.TrimPrefix(restored, "SIGNALD_DATABASE_URL=")); got.Code != 0 {
			t.Errorf("audit verify: %d %s", got.Code, got.Output)
		}
		o.talk(t)
		o.fine(t)
	})
}

// Owners and grants come back too: the audit stays what the server can add to, and no more.
func TestBackupWithTheRolesOfDeployComesBackWithThem(t *testing.T) {
	t.Parallel()
	withRoles := func() (super string, login func(role string) string) {
		super = testpg.New(t).URL // roles belong to a whole server
		psql(t, "-v", "owner_password=pw", "-v", "server_password=pw", "-v", "auditor_password=pw", "-f", "../../deploy/postgres/roles.sql", super)
		return super, func(role string) string {
			u, err := url.Parse(super)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(role, "pw")
			return u.String()
		}
	}
	_, from := withRoles()
	if got := testnode.Run(t, "migrate", "--database-url="+from("signald_owner")); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	psql(t, "-f", "../../deploy/postgres/grants.sql", from("signald_owner"))
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+from("signald"))
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	file := filepath.Join(t.TempDir(), "backup")
	tool(t, "pg_dump", "--format=custom", "--file="+file, from("signald_owner"))

	super, to := withRoles()
	tool(t, "pg_restore", "--dbname="+super, "--exit-on-error", file)
	r := testnode.Start(t, "SIGNALD_DATABASE_URL="+to("signald"))
	b := join(t, r, protocol.Join{MeetingID: m.MeetingID, UserID: "a", ResumeToken: a.Joined().ResumeToken}, nil)
	if a.PeerID() != b.PeerID() {
		t.Error("not back as who it was")
	}
	meeting(t, r, nil)
	if got := testnode.Run(t, "audit", "verify", "--database-url="+to("signald_auditor")); got.Code != 0 || !strings.HasPrefix(got.Output, "2 rows") {
		t.Errorf("%+v", got)
	}
	conn, err := pgx.Connect(ctx(t), to("signald"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx(t)) }()
	if _, err := conn.Exec(ctx(t), `DELETE FROM meetings`); err == nil || !strings.Contains(err.Error(), "42501") { // insufficient_privilege
		t.Errorf("the server deletes from the audit: %v", err)
	}
	psql(t, "-f", "../../deploy/postgres/grants.sql", to("signald_owner")) // and the next upgrade finds what it needs
}
