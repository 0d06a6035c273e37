// Package testpg is a private PostgreSQL for tests: in a temporary folder, on a port of its own.
package testpg

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/testproc"
)

const notInstalled = "PostgreSQL is not installed: apt-get install postgresql (or point SIGNALD_TEST_POSTGRES_URL to one)"

var (
	shared = sync.OnceValues(start) // ends with the test process

	databases atomic.Int64
)

// URL is a fresh, empty database on a server that the test process starts once, or on the one that
// SIGNALD_TEST_POSTGRES_URL names. It is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	base := os.Getenv("SIGNALD_TEST_POSTGRES_URL")
	if base == "" {
		base = ours(t)
	}
	return create(t, base, newName(), "")
}

func ours(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.url
}

func newName() string { return fmt.Sprintf("signald_test_%d_%d", os.Getpid(), databases.Add(1)) }

// create creates a database, which is dropped when the test ends, and answers its URL.
func create(t testing.TB, base, name, options string) string {
	t.Helper()
	if err := administer(base, `CREATE DATABASE `+name+options); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := administer(base, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return named(t, base, name)
}

func named(t testing.TB, base, name string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Template is a database of which tests get copies. Its server is always the one that the test process
// starts: preparing a template may create roles, which belong to a whole server.
type Template struct {
	Prepare func(t testing.TB, url string) // once in the process; nothing may stay connected

	once sync.Once
	name string // empty: preparing it has failed
}

// URL is a copy of the template. It is dropped when the test ends.
func (p *Template) URL(t testing.TB) string {
	t.Helper()
	base := ours(t)
	p.once.Do(func() {
		name := newName()
		if err := administer(base, `CREATE DATABASE `+name); err != nil {
			t.Fatalf("create a template for tests: %v", err)
		}
		p.Prepare(t, named(t, base, name))
		p.name = name
	})
	if p.name == "" {
		t.Fatal("the template for tests could not be prepared: see the test that was first")
	}
	return create(t, base, newName(), ` TEMPLATE `+p.name)
}

// Server is a PostgreSQL of one test, to be stopped and frozen by it.
type Server struct {
	URL string // of an empty database

	t   testing.TB
	own *server
}

// New starts a server for this test alone; it ends with it.
func New(t testing.TB) *Server {
	t.Helper()
	own, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.running.Stop(false); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return &Server{URL: own.url, t: t, own: own}
}

// Stop ends the server at once, as a crash would; what was committed stays.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.own.running.Stop(true); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts it again, on the same port.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.own.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze stops every process of the server without closing anything, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.own.running.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	// The postmaster's children: one a connection.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.own.running.Pid, s.own.running.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, sig) // it may have ended meanwhile
		}
	}
}

type server struct {
	url     string
	folder  string
	port    int
	bin     string // the folder of PostgreSQL's programs
	owner   *syscall.Credential
	running *testproc.Server
}

// start makes a cluster and runs it.
func start() (*server, error) {
	initdb, err := testproc.Find("initdb", "/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
	if err != nil {
		return nil, fmt.Errorf("%s", notInstalled)
	}
	// PostgreSQL refuses to be run by root; its package comes with a user.
	owner, err := testproc.Unprivileged("postgres")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", notInstalled, err)
	}
	s := &server{bin: filepath.Dir(initdb), owner: owner}
	if s.folder, err = testproc.Folder("signald-pg", owner); err != nil {
		return nil, err
	}
	if s.port, err = testproc.FreePort(); err != nil {
		return nil, err
	}
	s.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	cmd := exec.Command(initdb, "-D", filepath.Join(s.folder, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(s.folder)
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.run()
}

func (s *server) run() error {
	var err error
	s.running, err = testproc.Start(s.folder, s.owner, "QUIT", filepath.Join(s.bin, "postgres"),
		"-D", filepath.Join(s.folder, "data"), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+s.folder, "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "max_connections=400") // several tests at a time, each with several nodes
	if err != nil {
		return err
	}
	err = testproc.Until(20*time.Second, func() error { return administer(s.url, `SELECT 1`) })
	if err != nil {
		log := s.running.Log()
		_ = s.running.Stop(false)
		return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, log)
	}
	return nil
}

func administer(url, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
