package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/testsqlite"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// childEnv makes the test binary be signald.
const childEnv = "SIGNALD_TEST_BE_SIGNALD"

func TestMain(m *testing.M) {
	child := os.Getenv(childEnv) != ""
	for _, v := range os.Environ() { // the settings of whoever runs the tests
		if name, _, _ := strings.Cut(v, "="); !child && strings.HasPrefix(name, "SIGNALD_") && !strings.HasPrefix(name, "SIGNALD_TEST_") {
			_ = os.Unsetenv(name)
		}
	}
	if child {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// output is what a command writes; it may be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command runs signald to its end.
func command(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err output
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

// server under test, in this process.
type running struct {
	url    string
	log    *output
	stop   context.CancelFunc // as SIGTERM does
	exited chan int
}

// serveArgs are flags of a server on loopback, with a database of its own.
func serveArgs(t testing.TB, more ...string) []string {
	t.Helper()
	return slices.Concat([]string{
		"serve", "--listen=127.0.0.1:0", "--database-url=" + testsqlite.URL(t), "--log-level=debug",
	}, more)
}

// start runs a server until the test ends.
func start(t testing.TB, args []string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{log: &output{}, stop: stop, exited: make(chan int, 1)}
	in, out := io.Pipe()
	go func() { // ends with the server
		code := run(ctx, args, out, r.log)
		_ = out.Close()
		r.exited <- code
	}()
	r.url = address(t, in, r.log)
	t.Cleanup(func() {
		stop()
		select {
		case <-r.exited:
		case <-time.After(patience):
			t.Error("the server does not end")
		}
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

// code waits for the end.
func (r *running) code(t testing.TB) int {
	t.Helper()
	select {
	case code := <-r.exited:
		r.exited <- code // for the clean-up
		return code
	case <-time.After(patience):
		t.Fatal("the server does not end")
		return -1
	}
}

// address reads what a server prints once it is ready.
func address(t testing.TB, stdout io.Reader, log *output) string {
	t.Helper()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), " is ready: open ")
	if !found {
		t.Fatalf("not ready: %q, %v\n%s", line, err, log)
	}
	return strings.TrimSuffix(url, "/")
}

// spawn runs a server as a process, killed with the test.
func spawn(t testing.TB, args []string) (process *exec.Cmd, url string, log *output) {
	t.Helper()
	log = &output{}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, address(t, stdout, log), log
}

func TestErrorsOfUsageNameTheManualOfTheCommand(t *testing.T) {
	for _, c := range []struct{ args, manual string }{
		{"", "signald --help"},
		{"bogus", "signald --help"},
		{"serve --bogus", "signald serve --help"},
		{"token", "signald token --help"},
		{"audit", "signald audit --help"},
		{"audit bogus", "signald audit --help"},
		{"audit prune", "signald audit prune --help"},
	} {
		code, _, stderr := command(t, strings.Fields(c.args)...)
		if code != 2 || !strings.HasSuffix(stderr, "Try '"+c.manual+"'.\n") {
			t.Errorf("%q: %d %s", c.args, code, stderr)
		}
	}
}

func TestHelpIsTheManual(t *testing.T) {
	code, out, _ := command(t, "serve", "--help")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, s := range settings(t) {
		if !strings.Contains(out, "$"+s.env) || s.help == "" {
			t.Errorf("%s is not in the manual", s.env)
		}
		if s.standard != "" && !strings.HasPrefix(s.standard, "https://") && !strings.Contains(strings.ReplaceAll(out, `"`, ""), "--"+s.flag+"="+s.standard) {
			t.Errorf("%s: the manual does not tell the default, %s", s.env, s.standard)
		}
	}
	if code, out, _ := command(t, "--version"); code != 0 || out != "signald dev\n" {
		t.Errorf("--version: %d %q", code, out)
	}
	if code, _, err := command(t); code != 2 || !strings.Contains(err, "serve") {
		t.Errorf("no command: %d %s", code, err)
	}
	if code, _, err := command(t, "serve", "--no-such-flag"); code != 2 || !strings.Contains(err, "no-such-flag") {
		t.Errorf("unknown flag: %d %s", code, err)
	}
}
