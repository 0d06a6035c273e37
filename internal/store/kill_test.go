package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/store"
)

const killVariable = "STORE_TEST_WRITE_UNTIL_KILLED"

// TestKillLosesNothingAcknowledged starts itself anew; the copy creates meetings, joins them and says so until it
// is killed. It is killed while it works, several times.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	if path := os.Getenv(killVariable); path != "" {
		writeUntilKilled(path)
	}
	path := filepath.Join(t.TempDir(), "signald.db")
	acknowledged := map[string]bool{}
	for round := range 3 {
		again := osexec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), killVariable+"="+path)
		again.Stderr = os.Stderr
		out, err := again.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // what it said before it died has all been read
			}
			acknowledged[strings.TrimSpace(line)] = true
			if n == 100+37*round {
				if err := again.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = again.Wait()

		s := open(t, "sqlite:"+path) // at once: the kernel has released the lock
		for id := range acknowledged {
			_, st, participants, err := s.Meeting(context.Background(), id)
			if err != nil || participants != 1 || st.Rev != 1 {
				t.Errorf("%s: %d participants at rev %d, %v", id, participants, st.Rev, err)
			}
		}
		if bad, err := s.VerifyAudit(context.Background(), nil); err != nil || bad != nil {
			t.Errorf("verify: %v, %v", bad, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < 300 {
		t.Errorf("only %d writes", len(acknowledged))
	}
}

func writeUntilKilled(path string) {
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, zerolog.Nop())
	for n := 0; err == nil; n++ {
		id := fmt.Sprint(os.Getpid(), "-", n)
		if _, err = s.CreateMeeting(ctx, store.NewMeeting{ID: id}); err != nil {
			break
		}
		err = s.InMeeting(ctx, id, func(ctx context.Context, tx *store.Tx) error {
			tx.NextRev()
			return tx.Insert(ctx, store.Participant{PeerID: id})
		})
		if err == nil {
			fmt.Println(id)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
