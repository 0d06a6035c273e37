package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/testpg"
)

// get answers a page's status and text.
func get(t testing.TB, client *http.Client, url string) (status int, body string, header http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// plain has connections of its own each time: none stays open.
var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func create(t testing.TB, url string) (meetingID string) {
	t.Helper()
	resp, err := plain.Post(url+"/api/v1/meetings", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var m struct {
		MeetingID string `json:"meeting_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return m.MeetingID
}

// socket is a Socket.IO connection that was welcomed.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
}

func connect(t testing.TB, url string, config *tls.Config) *socket {
	t.Helper()
	dialer := &websocket.Dialer{TLSClientConfig: config, HandshakeTimeout: patience}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	s := &socket{t, conn}
	s.expect("0{")
	s.say("40")
	s.expect("40{")
	s.expect(`42["welcome"`)
	return s
}

func (s *socket) say(message string) {
	s.t.Helper()
	if err := s.conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

// expect reads until a message that begins so; heartbeats are answered.
func (s *socket) expect(prefix string) string {
	s.t.Helper()
	for {
		_, b, err := s.conn.ReadMessage()
		switch {
		case err != nil:
			s.t.Fatalf("waiting for %s: %v", prefix, err)
		case string(b) == "2":
			s.say("3")
		case bytes.HasPrefix(b, []byte(prefix)):
			return string(b)
		default:
			s.t.Logf("passed over %.100s", b)
		}
	}
}

// ask says an event under an id, and returns its ack.
func (s *socket) ask(id int, event string) string {
	s.t.Helper()
	s.say(fmt.Sprint("42", id, event))
	return s.expect(fmt.Sprint("43", id))
}

func (s *socket) join(meetingID string) {
	s.t.Helper()
	s.say(`420["join",{"v":2,"meeting_id":"` + meetingID + `","user_id":"u"}]`)
	if ack := s.expect("430"); !strings.Contains(ack, `"ok":true`) {
		s.t.Fatalf("join: %s", ack)
	}
}

// silent opens a polling session and never polls again: a client that reads
// nothing of what is sent to it.
func silent(t testing.TB, url string) {
	t.Helper()
	status, body, _ := get(t, plain, url+"/socket.io/?EIO=4&transport=polling")
	var open struct {
		SID string `json:"sid"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	resp, err := plain.Post(url+"/socket.io/?EIO=4&transport=polling&sid="+open.SID, "text/plain", strings.NewReader("40"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestServesOnBothStores(t *testing.T) {
	for name, args := range map[string][]string{
		"SQLite":     nil,
		"PostgreSQL": {"--database-url=" + testpg.URL(t)},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, serveArgs(t, args...))
			if !strings.HasPrefix(r.url, "http://localhost:") {
				t.Errorf("address %s", r.url)
			}
			for _, path := range []string{"/", "/healthz", "/readyz"} {
				if status, body, _ := get(t, plain, r.url+path); status != 200 {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			key := create(t, r.url)
			s := connect(t, r.url, nil)
			s.join(key)
			r.stop()
			s.expect(`42["server_draining",{"reconnect_after_ms":`)
			if code := r.code(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if log := r.log.String(); strings.Contains(log, key) || strings.Contains(log, "rt_") {
				t.Errorf("a secret is in the log")
			}
		})
	}
}

func TestDrainingServerTakesNobodyInAndEndsWell(t *testing.T) {
	r := start(t, serveArgs(t, "--drain-timeout=2s"))
	s := connect(t, r.url, nil)
	s.join(create(t, r.url))
	silent(t, r.url) // is waited for, so that there is something to see, and then cut
	r.stop()
	s.expect(`42["server_draining",{"reconnect_after_ms":`)
	status, body, _ := get(t, plain, r.url+"/readyz")
	if status != 503 || !strings.Contains(body, `"draining":"yes"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _, _ := get(t, plain, r.url+"/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	status, body, header := get(t, plain, r.url+"/socket.io/?EIO=4&transport=polling")
	if status != 503 || !strings.Contains(body, "server_draining") || header.Get("Retry-After") == "" {
		t.Errorf("new socket: %d %s", status, body)
	}
	if code := r.code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
		t.Error("the port is still open")
	}
}

func TestDrainOverItsTimeFails(t *testing.T) {
	r := start(t, serveArgs(t, "--drain-timeout=200ms"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// A request whose body does not come: 100 Continue tells that it is being read.
	_, _ = io.WriteString(conn, "POST /api/v1/meetings HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	began := time.Now()
	r.stop()
	if code := r.code(t); code != 1 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("it ended after %s", time.Since(began))
	if !strings.Contains(r.log.String(), "deadline exceeded") {
		t.Errorf("no reason in the log")
	}
}

func TestSIGTERMEndsTheProcessInGoodOrder(t *testing.T) {
	process, url, log := spawn(t, serveArgs(t))
	s := connect(t, url, nil)
	s.join(create(t, url))
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.expect(`42["server_draining"`)
	if err := process.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	if !strings.Contains(log.String(), `"message":"stopped"`) {
		t.Errorf("log:\n%s", log)
	}
}

func TestSecondSignalEndsTheProcessAtOnce(t *testing.T) {
	process, url, log := spawn(t, serveArgs(t, "--drain-timeout=1h"))
	s := connect(t, url, nil)
	silent(t, url)
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.expect(`42["server_draining"`) // the first one was understood
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }() // ends with the process, which the test kills
	select {
	case err := <-ended:
		t.Logf("it ended after %s", time.Since(began))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Success() {
			t.Errorf("%v\n%s", err, log)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("it goes on\n%s", log)
		_ = process.Process.Kill()
		t.Logf("killed: %v", <-ended)
	}
}

func TestSecondServerOnTheFileIsRefused(t *testing.T) {
	args := serveArgs(t)
	first := start(t, args)
	began := time.Now()
	code, out, stderr := command(t, args...)
	t.Logf("it was refused after %s", time.Since(began))
	if code != 1 || out != "" {
		t.Errorf("exit code %d: %s", code, out)
	}
	for _, part := range []string{"could not start", "test.db", "held by process", "stop it, or let this server use another file or PostgreSQL"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("%q is not in %s", part, stderr)
		}
	}
	create(t, first.url) // undisturbed
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	args := serveArgs(t, "--listen="+l.Addr().String())
	code, _, stderr := command(t, args...)
	if code != 1 || !strings.Contains(stderr, "listen on "+l.Addr().String()) || !strings.Contains(stderr, "address already in use") {
		t.Errorf("%d %s", code, stderr)
	}
	// What was opened before is closed again: the file can be had.
	start(t, append(slices.Clone(args), "--listen=127.0.0.1:0"))
}

func TestBodiesThatDoNotEndAreGivenUp(t *testing.T) {
	t.Parallel() // it waits for ten seconds
	r := start(t, serveArgs(t))
	_, opened, _ := get(t, plain, r.url+"/socket.io/?EIO=4&transport=polling")
	_, opened, _ = strings.Cut(opened, `"sid":"`)
	sid, _, _ := strings.Cut(opened, `"`)
	var all sync.WaitGroup
	for _, request := range []string{
		"POST /nowhere", "PUT /healthz", "GET /api/openapi.json", "POST /m/key", "POST /api/v1/meetings", "POST /socket.io/else",
		"POST /socket.io/?EIO=4&transport=polling", "POST /socket.io/?EIO=4&transport=polling&sid=none",
		"POST /socket.io/?EIO=4&transport=polling&sid=" + sid,
	} {
		all.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n4", request)
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection stays open", request)
			}
		})
	}
	all.Wait()
}

func TestForbiddenPortComesWithAdvice(t *testing.T) {
	hint := portHint(fmt.Errorf("listen: %w", &net.OpError{Err: fs.ErrPermission}))
	if !strings.Contains(hint, "setcap") || !strings.Contains(hint, "SIGNALD_LISTEN") {
		t.Errorf("%q", hint)
	}
	if hint := portHint(syscall.EADDRINUSE); hint != "" {
		t.Errorf("%q", hint)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert=/nowhere/cert.pem", "--tls-key=/nowhere/key.pem"}, "read the certificate"},
		{[]string{"--database-url=sqlite:/nowhere/at/all.db"}, "open the database of SIGNALD_DATABASE_URL"},
		{[]string{"--database-url=postgres://u:s3cret@127.0.0.1:1/x"}, "open the database of SIGNALD_DATABASE_URL"},
	} {
		code, _, stderr := command(t, serveArgs(t, c.args...)...)
		if code != 1 || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "s3cret") {
			t.Errorf("%v: %d %s", c.args, code, stderr)
		}
	}
}

func TestSelfSignedServesThePageAndSockets(t *testing.T) {
	r := start(t, serveArgs(t, "--tls=self-signed", "--domain=meet.example.org"))
	// The address printed is the domain's; here it is the listener's.
	if !strings.HasPrefix(r.url, "https://meet.example.org:") {
		t.Errorf("address %s", r.url)
	}
	url := "https://localhost:" + r.url[strings.LastIndex(r.url, ":")+1:]
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // looked at below
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}}
	status, body, header := get(t, client, url+"/")
	if status != 200 || !strings.Contains(body, "<!doctype html>") || header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %s", status, body)
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cert := conn.ConnectionState().PeerCertificates[0]
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "meet.example.org"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if cert.NotAfter.Before(time.Now().AddDate(0, 11, 0)) || cert.NotBefore.After(time.Now()) {
		t.Errorf("good from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11} //nolint:gosec // refused
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}

	resp, err := client.Post(url+"/api/v1/meetings", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var m struct {
		MeetingID string `json:"meeting_id"`
		JoinURL   string `json:"join_url"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m.JoinURL != url+"/m/"+m.MeetingID {
		t.Errorf("%+v, %v", m, err)
	}
	connect(t, url, config).join(m.MeetingID) // over wss
}

func TestAddressToOpen(t *testing.T) {
	for _, c := range []struct {
		listen, want string
		config       Config
		tls          bool
	}{
		{"127.0.0.1:8080", "http://localhost:8080/", Config{}, false},
		{"[::]:443", "https://localhost/", Config{}, true},
		{"0.0.0.0:8443", "https://localhost:8443/", Config{}, true},
		{"0.0.0.0:80", "http://localhost/", Config{}, false},
		{"192.0.2.1:80", "http://192.0.2.1/", Config{}, false},
		{"[2001:db8::1]:8080", "http://[2001:db8::1]:8080/", Config{}, false},
		{"0.0.0.0:443", "https://meet.example.org/meet/", Config{Domain: "meet.example.org", BasePath: "/meet"}, true},
		{"127.0.0.1:8080", "https://public.example/meet/", Config{PublicURL: "https://public.example", BasePath: "/meet"}, false},
		{"[2001:db8::1]:443", "https://[2001:db8::1]/", Config{}, true},
	} {
		s := &server{config: &c.config, http: &http.Server{}, listener: &listener{Listener: fixed(c.listen)}} //nolint:gosec // never serves
		if c.tls {
			s.http.TLSConfig = &tls.Config{} //nolint:gosec // never used
		}
		if got := s.URL(); got != c.want {
			t.Errorf("%s: %s, want %s", c.listen, got, c.want)
		}
	}
}

// fixed is a listener of which only the address matters.
type fixed string

func (fixed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (fixed) Close() error              { return nil }
func (f fixed) Addr() net.Addr          { return f }
func (fixed) Network() string           { return "tcp" }
func (f fixed) String() string          { return string(f) }
