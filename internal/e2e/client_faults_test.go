package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// clientOrder names the variable that makes the test's own program a client, to be
// stopped and killed by its test.
const clientOrder = "SIGNALD_E2E_CLIENT"

// order is what such a client is to do: join, and come back whenever it has lost
// its connection.
type order struct {
	URL  string
	Join protocol.Join
}

// beClient carries an order out. It says each peer id that it is given, in a line.
func beClient(b string) {
	var o order
	if err := json.Unmarshal([]byte(b), &o); err != nil {
		panic(err)
	}
	for {
		c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		p, err := client.Join(c, o.URL, o.Join, client.Handlers{}, client.Options{})
		cancel()
		if err != nil {
			fmt.Println(err)
			return
		}
		o.Join.ResumeToken = p.Joined().ResumeToken
		fmt.Println(p.PeerID())
		<-p.Conn().Done()
	}
}

// stranger is a client in a process of its own.
type stranger struct {
	process *os.Process
	lines   *bufio.Scanner
}

func startStranger(t *testing.T, n *testnode.Node, j protocol.Join) *stranger {
	t.Helper()
	b, err := json.Marshal(order{n.URL, j})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), clientOrder+"="+string(b))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead
		_ = cmd.Wait()
	})
	return &stranger{cmd.Process, bufio.NewScanner(out)}
}

// says is its next line.
func (s *stranger) says(t *testing.T) string {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatalf("the client has ended: %v", s.lines.Err())
	}
	return s.lines.Text()
}

func (s *stranger) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// As a tab that the browser has put to sleep: the connection is there, and nobody answers.
func TestFrozenClientIsAwayUntilItGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		watch := join(t, n[0], as(m, "w"), nil)
		s := startStranger(t, n[len(n)-1], as(m, "sleeper"))
		id := s.says(t)
		sees(t, watch, map[string]string{"sleeper": "online"})
		began := time.Now()
		s.signal(t, syscall.SIGSTOP)
		sees(t, watch, map[string]string{"sleeper": "away"})
		away := time.Since(began)
		if away < 400*time.Millisecond {
			t.Errorf("away after %s, with pings of 500 ms + 500 ms", away)
		}
		if queued, err := watch.Signal(ctx(t), id, "offer", "1", "v=0"); err != nil || !queued {
			t.Errorf("a signal for the sleeper: queued %v, %v", queued, err)
		}
		began = time.Now()
		s.signal(t, syscall.SIGCONT)
		sees(t, watch, map[string]string{"sleeper": "online"})
		t.Logf("with pings of 500 ms + 500 ms: away after %s, back after %s", away, time.Since(began))
		if again := s.says(t); again != id {
			t.Errorf("it was %s, is %s", id, again)
		}
	}, "SIGNALD_PING_INTERVAL=500ms", "SIGNALD_PING_TIMEOUT=500ms", "SIGNALD_GRACE=1m")
}

// The kernel of a dead client closes its connection; that of a dead computer does not.
func TestKilledClientIsAwayAtOnceThenOut(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		watch := join(t, n[0], as(m, "w"), nil)
		s := startStranger(t, n[len(n)-1], as(m, "victim"))
		s.says(t)
		sees(t, watch, map[string]string{"victim": "online"})
		began := time.Now()
		s.signal(t, syscall.SIGKILL)
		sees(t, watch, map[string]string{"victim": "away"})
		away := time.Since(began)
		sees(t, watch, map[string]string{})
		t.Logf("away after %s, out after %s with a grace of 1 s", away, time.Since(began))
	}, "SIGNALD_GRACE=1s")
}

// A page that is closed says so over HTTP, beside a connection that is still open.
func TestClosedPageIsOutAtOnceForAll(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		watch := join(t, n[0], as(m, "w"), nil)
		page := join(t, n[len(n)-1], as(m, "page"), nil)
		sees(t, watch, map[string]string{"page": "online"})
		began := time.Now()
		body := map[string]any{"peer_id": page.PeerID(), "resume_token": page.Joined().ResumeToken}
		if err := client.Request(ctx(t), http.MethodPost, n[0].URL, "/api/v1/leave", "", body, nil); err != nil {
			t.Fatal(err)
		}
		err := watch.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
			if p, there := peers[page.PeerID()]; there && p.State == "away" {
				t.Error("away, though it has left")
			}
			return len(peers) == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("out after %s", time.Since(began))
	})
}
