// Package testnode runs signald itself for tests: real processes, killed and
// started again.
package testnode

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signald/internal/testproc"
	"signald/internal/testsqlite"
)

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "signald-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "signald")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race", "-gcflags=modernc.org/...=-race=false") // as scripts/test.sh
	}
	out, err := exec.Command("go", append(args, "signald/cmd/signald")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build signald: %w\n%s", err, out)
	}
	return path, nil
})

// Node is one signald.
type Node struct {
	URL string

	t    testing.TB
	addr string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// Start starts a node on a free port of loopback, with SQLite in a folder of its
// own unless env, as NAME=value, says otherwise, and waits until it is ready. It
// is stopped with the test; its log is shown if the test failed.
func Start(t testing.TB, env ...string) *Node {
	t.Helper()
	n := New(t, env...)
	n.Start()
	return n
}

// New prepares a node without starting it.
func New(t testing.TB, env ...string) *Node {
	t.Helper()
	addr := freeAddr(t)
	n := &Node{t: t, addr: addr, URL: "http://" + addr}
	n.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"SIGNALD_LISTEN=" + addr, "SIGNALD_TLS=off",
		"SIGNALD_DATABASE_URL=" + testsqlite.URL(t),
		"SIGNALD_MAX_SOCKETS_PER_IP=0", "SIGNALD_RATE_LIMITS=off", "SIGNALD_LOG_LEVEL=debug",
		"SIGNALD_ADMIN_TOKEN=test-admin-token-0123456789",
	}, env...)
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", n.URL, n.Log())
		}
	})
	return n
}

// AdminToken is what the nodes are started with.
const AdminToken = "test-admin-token-0123456789"

// Start starts the node, again after Kill or Stop, on the same port and data, and
// waits until it is ready.
func (n *Node) Start() {
	n.t.Helper()
	n.Launch()
	n.AwaitReady()
}

// Launch starts the node and waits for nothing.
func (n *Node) Launch() {
	n.t.Helper()
	path, err := binary()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(path, "serve")
	n.cmd.Env = n.env
	n.cmd.Stdout, n.cmd.Stderr = n, n
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.done = done
	go func() { // ends with the process
		_ = n.cmd.Wait() // Code tells
		close(done)
	}()
}

// AwaitReady waits until the node says that it is ready.
func (n *Node) AwaitReady() {
	n.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		resp, err := http.Get(n.URL + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-n.done:
			n.t.Fatalf("signald ended:\n%s", n.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	n.t.Fatalf("signald is not ready:\n%s", n.Log())
}

// Kill ends the process as kill -9 does.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended
	<-n.done
}

// Stop asks the process to stop, and returns its exit code.
func (n *Node) Stop(ctx context.Context) int {
	n.t.Helper()
	n.Signal(syscall.SIGTERM)
	return n.Wait(ctx)
}

// Wait waits for the process to end, and returns its exit code.
func (n *Node) Wait(ctx context.Context) int {
	n.t.Helper()
	select {
	case <-n.done:
	case <-ctx.Done():
		n.t.Fatalf("signald does not stop:\n%s", n.Log())
	}
	return n.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the process.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// Env is a variable that the process was started with.
func (n *Node) Env(name string) (value string) {
	for _, v := range n.env { // the last one counts
		if v, found := strings.CutPrefix(v, name+"="); found {
			value = v
		}
	}
	return value
}

// Set changes variables for the next start.
func (n *Node) Set(env ...string) { n.env = append(n.env, env...) }

// PID is the process's id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (n *Node) Running() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Write collects the log.
func (n *Node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(b)
}

// Log is what the node has said so far.
func (n *Node) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Clone(n.log.String())
}

func freeAddr(t testing.TB) string {
	t.Helper()
	port, err := testproc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
