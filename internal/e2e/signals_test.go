package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// SIGHUP has files of the settings read again: what is good in them counts at once, what is not leaves what was. Nobody is disconnected.
func TestHangupReadsFilesAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, level := filepath.Join(dir, "keys"), filepath.Join(dir, "level")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := func(id, secret string) string {
		return id + ":HS256:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(secret, 32)))
	}
	signed := func(id, secret string) string {
		t.Helper()
		k, err := identity.ParseKeys([]string{line(id, secret)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := k.Sign("", identity.Identity{Sub: "u-1", Meeting: identity.Any}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write(keys, line("old", "a"))
	write(level, "warn\n")
	n := testnode.Start(t, "SIGNALD_TOKEN_KEYS=@"+keys, "SIGNALD_LOG_LEVEL_FILE="+level)
	m := meeting(t, n, nil)
	stays := join(t, n, with(m, signed("old", "a")), nil)
	if strings.Contains(n.Log(), `"joined"`) {
		t.Error("the file's level does not count")
	}
	hangup := func(said string) {
		t.Helper()
		before := strings.Count(n.Log(), said)
		n.Signal(syscall.SIGHUP)
		eventually(t, said, 10*time.Second, func() bool { return strings.Count(n.Log(), said) > before })
	}
	write(keys, line("new", "b"))
	write(level, "info")
	hangup("files of the settings read again")
	_, err := tryJoin(t, n, with(m, signed("old", "a")))
	wantCode(t, err, fault.Unauthorized)
	eventually(t, "the log says why", 5*time.Second, func() bool {
		return strings.Contains(n.Log(), "join token refused") && strings.Contains(n.Log(), "unknown key")
	})
	join(t, n, with(m, signed("new", "b")), nil)

	write(keys, "rubbish")
	write(level, "loud")
	hangup(`"setting":"SIGNALD_TOKEN_KEYS"`)
	if !strings.Contains(n.Log(), `"setting":"SIGNALD_LOG_LEVEL_FILE"`) {
		t.Error("nothing is said of the level")
	}
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
		n.Signal(s)
	}
	eventually(t, "signals without a meaning are ignored", 5*time.Second, func() bool {
		return strings.Count(n.Log(), "a signal without a meaning was ignored") == 2
	})
	join(t, n, with(m, signed("new", "b")), nil)
	if _, err := stays.Chat(ctx(t), protocol.Chat{ClientID: "c", Text: "still here"}); err != nil {
		t.Errorf("who was in: %v", err)
	}
}
