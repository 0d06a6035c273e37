// Package testredis is a private Redis for tests: in memory alone, on a port of its own.
package testredis

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signald/internal/testproc"
)

const notInstalled = "Redis is not installed: apt-get install redis-server (or point SIGNALD_TEST_REDIS_URL to one)"

var shared = sync.OnceValues(start) // ends with the test process

// URL is a server that the test process starts once, or the one that SIGNALD_TEST_REDIS_URL names. Tests
// share it: keep their channels apart by name, or use New.
func URL(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("SIGNALD_TEST_REDIS_URL"); url != "" {
		return url
	}
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.url
}

// Server is a Redis of one test, to be stopped and frozen by it.
type Server struct {
	URL string

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
			t.Errorf("stop Redis: %v", err)
		}
	})
	return &Server{URL: own.url, t: t, own: own}
}

// Stop ends the server at once; it forgets everything.
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

// Freeze stops the server without closing anything, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

// PID is the server's process id.
func (s *Server) PID() int { return s.own.running.Pid }

// FlushAll has the server forget everything.
func (s *Server) FlushAll() error { return s.own.ask("FLUSHALL", "+OK") }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.own.running.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

type server struct {
	url     string
	address string
	folder  string
	program string
	running *testproc.Server
}

func start() (*server, error) {
	program, err := testproc.Find("redis-server", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin")
	if err != nil {
		return nil, errors.New(notInstalled)
	}
	s := &server{program: program}
	if s.folder, err = testproc.Folder("signald-redis", nil); err != nil {
		return nil, err
	}
	port, err := testproc.FreePort()
	if err != nil {
		return nil, err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.url = "redis://" + s.address + "/0"
	return s, s.run()
}

func (s *server) run() error {
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	s.running, err = testproc.Start(s.folder, nil, "KILL", s.program,
		"--port", port, "--bind", "127.0.0.1", "--dir", s.folder, "--save", "", "--appendonly", "no", "--daemonize", "no")
	if err != nil {
		return err
	}
	if err := testproc.Until(10*time.Second, s.ping); err != nil {
		log := s.running.Log()
		_ = s.running.Stop(false)
		return fmt.Errorf("Redis does not answer: %w\n%s", err, log)
	}
	return nil
}

func (s *server) ping() error { return s.ask("PING", "+PONG") }

func (s *server) ask(command, want string) error {
	conn, err := net.DialTimeout("tcp", s.address, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, command+"\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, want) {
		err = fmt.Errorf("answered %q", line)
	}
	return err
}
