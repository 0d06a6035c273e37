package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
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
