package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
)

// deployed is a database as deploy/postgres sets it up. The nodes of cluster have copies, so whatever is
// tested with several nodes is tested with the rights that the server has in production.
var deployed = testpg.Template{Prepare: func(t testing.TB, super string) {
	psql(t, "-v", "owner_password=pw", "-v", "server_password=pw", "-v", "auditor_password=pw", "-f", "../../deploy/postgres/roles.sql", super)
	owner := asRole(t, super, "signald_owner")
	migrate := testnode.Run(t, "migrate", "--database-url="+owner)
	if migrate.Code != 0 {
		t.Fatalf("%+v", migrate)
	}
	for range 2 { // again does no harm
		psql(t, "-f", "../../deploy/postgres/grants.sql", owner)
	}
}}

// asRole is the database's URL for one of the roles of deploy/postgres.
func asRole(t testing.TB, database, role string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "pw")
	return u.String()
}

// roles is such a database: login is the URL for one of its roles.
func roles(t *testing.T) func(role string) string {
	t.Helper()
	database := deployed.URL(t)
	return func(role string) string { return asRole(t, database, role) }
}

// Each table has exactly these rights: the server reads and writes everything, but for the audit, which it
// can only add to and the auditor reads. A table of a later migration fails here until grants.sql names it.
func TestEveryTableOfTheSchemaIsGranted(t *testing.T) {
	t.Parallel()
	auditOnly := map[string]string{
		"meetings": "INSERT,SELECT", "audit_events": "INSERT,SELECT",
		"meetings_head": "SELECT,UPDATE", "audit_events_head": "SELECT,UPDATE",
		"audit_anchors": "SELECT", "goose_db_version": "SELECT",
	}
	login := roles(t)
	conn, err := pgx.Connect(ctx(t), login("signald_owner"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx(t)) }()
	const rights = `coalesce((SELECT string_agg(DISTINCT a.privilege_type, ',') FROM aclexplode(c.relacl) a WHERE a.grantee = %s), '')`
	rows, err := conn.Query(ctx(t), fmt.Sprintf(`SELECT c.relname, c.relkind::text, `+rights+`, `+rights+`, `+rights+`
		FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
			AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')`, // but identity columns' own
		`'signald'::regrole`, `'signald_auditor'::regrole`, `0`))
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	var name, kind, server, auditor, public string
	if _, err := pgx.ForEachRow(rows, []any{&name, &kind, &server, &auditor, &public}, func() error {
		if public != "" {
			t.Errorf("%s: everybody has %q", name, public)
		}
		if kind == "S" { // what a serial column is counted by; goose's own is the owner's alone
			if name != "goose_db_version_id_seq" {
				t.Errorf("sequence %s: grants.sql has to say who may use it, or the column is an identity", name)
			}
			return nil
		}
		tables++
		wantServer, wantAuditor := "DELETE,INSERT,SELECT,UPDATE", ""
		if only, isAudit := auditOnly[name]; isAudit {
			wantServer, wantAuditor = only, "SELECT"
			delete(auditOnly, name)
		}
		if name == "cluster_secret" { // nobody else need know it
			wantServer = "SELECT"
		}
		if server != wantServer || auditor != wantAuditor {
			t.Errorf("table %s: the server has %q, want %q; the auditor has %q, want %q", name, server, wantServer, auditor, wantAuditor)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if tables < 15 || len(auditOnly) > 0 {
		t.Errorf("%d tables; not found: %v", tables, auditOnly)
	}
}

// grants.sql names tables that there are, each once for a role.
func TestGrantsNameTablesOnce(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../deploy/postgres/grants.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"signald", "signald_auditor"} {
		var all []string
		for _, m := range regexp.MustCompile(`GRANT [A-Z, ]+ ON ([a-z_, ]+) TO `+role+`;`).FindAllStringSubmatch(string(b), -1) {
			all = append(all, strings.Split(m[1], ", ")...)
		}
		slices.Sort(all)
		if len(all) < 6 || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("%s: %v", role, all)
		}
	}
}

// What happens to participants without their doing, and where rows are deleted, under the roles
// of deploy/postgres: a right that is missing shows there, in the background.
func TestNobodyStaysUnderTheRolesOfDeploy(t *testing.T) {
	t.Parallel()
	login := roles(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+login("signald"), "SIGNALD_GRACE=1s", "SIGNALD_AUDIT_EVENTS=actions,logins")
	for name, options := range map[string]map[string]any{
		"plain":            nil,
		"keeps its chat":   {"retention_s": 1},
		"keeps attendance": {"attendance": true, "retention_s": 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := meeting(t, n, options)
			host := as(m, "host")
			host.HostKey = m.HostKey
			a, b, c := join(t, n, host, nil), join(t, n, as(m, "b"), nil), join(t, n, as(m, "c"), nil)
			sees(t, a, map[string]string{"b": "online", "c": "online"})
			for _, p := range []*client.Participant{a, b, c} {
				if err := p.Conn().Call(ctx(t), "chat", map[string]any{"client_id": "1", "text": "hello"}, nil); err != nil {
					t.Error(err)
				}
			}
			b.Conn().Kill()
			sees(t, a, map[string]string{"c": "online"}) // b was away, and is out
			if err := c.Leave(ctx(t)); err != nil {
				t.Error(err)
			}
			past := as(m, "c")
			past.PastToken = c.Joined().ResumeToken
			c = join(t, n, past, nil)
			a.Conn().Kill()
			back := host
			back.ResumeToken = a.Joined().ResumeToken
			a = join(t, n, back, nil)
			if !a.Joined().Resumed {
				t.Error("the host did not resume")
			}
			moderate(t, a, protocol.Moderate{Action: "kick", PeerID: c.PeerID()})
			moderate(t, a, protocol.Moderate{Action: "unban", PeerID: c.PeerID()})
			control(t, a, map[string]any{"lobby": true})
			knock := func(user string) *client.Waiter {
				_, w, err := client.Knock(ctx(t), n.URL, as(m, user), client.Handlers{}, client.Options{})
				if err != nil || w == nil {
					t.Fatalf("%v, %v", w, err)
				}
				return w
			}
			admitted := knock("admitted")
			moderate(t, a, protocol.Moderate{Action: "admit"})
			in, err := admitted.Enter(ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			knock("gone").Conn().Kill() // without a word
			moderate(t, a, protocol.Moderate{Action: "ban", PeerID: in.PeerID()})
			moderate(t, a, protocol.Moderate{Action: "unban", PeerID: in.PeerID()})
			control(t, a, map[string]any{"password": "p"})
			if err := client.Attendees(ctx(t), n.URL, m.MeetingID, m.HostKey, &struct{}{}); err != nil {
				t.Error(err)
			}
			if err := a.Leave(ctx(t)); err != nil {
				t.Error(err)
			}
		})
	}
	resp, answer := do(t, http.DefaultClient, "POST", n.URL+"/api/v1/admin/login", `{"token":"`+testnode.AdminToken+`"}`)
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) == 0 {
		t.Fatalf("%d: %s", resp.StatusCode, answer)
	}
	session := resp.Cookies()[0]
	for _, ask := range []string{"GET session", "GET audit", "GET audit/chain", "GET events", "GET meetings", "POST logout"} {
		method, path, _ := strings.Cut(ask, " ")
		if resp, answer := do(t, http.DefaultClient, method, n.URL+"/api/v1/admin/"+path, "", "Cookie", session.Name+"="+session.Value); resp.StatusCode/100 != 2 {
			t.Errorf("%s: %d: %s", ask, resp.StatusCode, answer)
		}
	}

	conn, err := pgx.Connect(ctx(t), login("signald_owner"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx(t)) }()
	for _, table := range []string{"participants", "messages", "chat_readers", "attendance", "bans", "waiting", "admin_sessions"} {
		eventually(t, table+" is empty", 90*time.Second, func() bool {
			var left int
			if err := conn.QueryRow(ctx(t), `SELECT count(*) FROM `+table).Scan(&left); err != nil {
				t.Fatal(err)
			}
			return left == 0
		})
	}
	for line := range strings.Lines(n.Log()) {
		if strings.Contains(line, "denied") || strings.Contains(line, "task fails") || strings.Contains(line, `"level":"error"`) {
			t.Errorf("in the log: %s", line)
		}
	}
}
