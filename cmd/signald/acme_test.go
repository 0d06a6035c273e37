package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
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

	"golang.org/x/net/dns/dnsmessage"

	"signald/internal/testproc"
)

const acmeDomain = "meet.example.org"

// acmeServer is pebble, Let's Encrypt's own small ACME server, which looks for every
// domain on loopback.
type acmeServer struct {
	directory, ca, management string
	addr                      string
	process                   *exec.Cmd
}

var pebbleProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "signald-test-") // removed by nobody, like testnode's
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "pebble")
	build := exec.Command("go", "build", "-o", program, "-modfile=tools/go.mod", "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pebble: %w\n%s", err, out)
	}
	return program, nil
})

// pebble runs it until the test ends: it looks for challenges at these ports, and its
// certificates are good for so long.
func pebble(t *testing.T, tlsPort, httpPort int, validity time.Duration) *acmeServer {
	t.Helper()
	dir := t.TempDir()
	program, err := pebbleProgram()
	if err != nil {
		t.Fatal(err)
	}
	p := newPair(t) // pebble's own, for localhost
	p.write(t, "pebble.example")
	s := &acmeServer{ca: p.cert, addr: freeAddress(t), management: freeAddress(t)}
	s.directory = "https://" + s.addr + "/dir"
	config := map[string]any{
		"listenAddress": s.addr, "managementListenAddress": s.management, "certificate": p.cert, "privateKey": p.key,
		"tlsPort": tlsPort, "httpPort": httpPort, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "short", "validityPeriod": int(validity.Seconds())}},
	}
	b, err := json.Marshal(map[string]any{"pebble": config})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &output{}
	s.process = exec.Command(program, "-config", file, "-dnsserver", loopbackDNS(t))
	s.process.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("pebble:\n%s", log)
		}
	})
	eventually(t, "pebble answers", func() error { _, err := s.roots(); return err })
	return s
}

func (s *acmeServer) stop() {
	if s.process.ProcessState == nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
	}
}

// roots are those of the certificates that it gives.
func (s *acmeServer) roots() (*x509.CertPool, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test's
	}}
	resp, err := client.Get("https://" + s.management + "/roots/0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("no root: %d %s", resp.StatusCode, b)
	}
	return pool, nil
}

// args are flags of a server that gets its certificate there.
func (s *acmeServer) args(port int) []string {
	return []string{
		"--listen=127.0.0.1:" + strconv.Itoa(port), "--domain=" + acmeDomain,
		"--acme-directory=" + s.directory, "--acme-ca=" + s.ca, "--acme-email=ops@example.org",
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := testproc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + strconv.Itoa(freePort(t))
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := testproc.Until(time.Minute, f); err != nil {
		t.Fatalf("it does not come that %s: %v", what, err)
	}
}

// loopbackDNS answers, over TCP, that every name is at 127.0.0.1.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			answerDNS(conn)
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// answerDNS answers one question; who asks badly is not answered.
func answerDNS(conn net.Conn) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	var m dnsmessage.Message
	if _, err := io.ReadFull(conn, question); err != nil || m.Unpack(question) != nil || len(m.Questions) != 1 {
		return
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	if answer, err := m.AppendPack(length[:]); err == nil {
		binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
		_, _ = conn.Write(answer)
	}
}

// served is the certificate that the server shows to who trusts roots.
func served(port int, roots *x509.CertPool) (*x509.Certificate, error) {
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{RootCAs: roots, ServerName: acmeDomain}) //nolint:gosec // the default version
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestACMEGetsKeepsAndRenewsTheCertificate(t *testing.T) {
	port, cache := freePort(t), filepath.Join(t.TempDir(), "acme")
	ca := pebble(t, port, 1, 12*time.Second) // renewed when a third is left
	roots, err := ca.roots()
	if err != nil {
		t.Fatal(err)
	}
	args := append(ca.args(port), "--acme-cache="+cache)
	r := start(t, serveArgs(t, args...))
	var first *x509.Certificate
	eventually(t, "there is a certificate", func() (err error) { first, err = served(port, roots); return err })
	if err := first.VerifyHostname(acmeDomain); err != nil {
		t.Error(err)
	}
	var second *x509.Certificate
	eventually(t, "it is renewed", func() (err error) {
		if second, err = served(port, roots); err == nil && second.SerialNumber.Cmp(first.SerialNumber) == 0 {
			err = fmt.Errorf("the same until %v", second.NotAfter)
		}
		return err
	})

	// The next renewal fails: somebody else answers at the address of the ACME server.
	ca.stop()
	l, err := net.Listen("tcp", ca.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	asked := make(chan struct{})
	go func() { // ends with the listener
		for first := true; ; first = false {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			if first {
				close(asked)
			}
		}
	}()
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("no renewal was tried")
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{InsecureSkipVerify: true, ServerName: acmeDomain}) //nolint:gosec // it may have expired
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if now := conn.ConnectionState().PeerCertificates[0]; now.Subject.String() != second.Subject.String() || now.NotAfter.Before(first.NotAfter) {
		t.Errorf("after a failed renewal: %v until %v", now.Subject, now.NotAfter)
	}
	files, err := filepath.Glob(filepath.Join(cache, acmeDomain+"*"))
	if err != nil || len(files) == 0 {
		t.Errorf("nothing is kept for the next start: %v, %v", files, err)
	}
	r.stop()
	if code := r.code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestACMECertificateOutlivesARestartWithoutTheACMEServer(t *testing.T) {
	port, cache := freePort(t), filepath.Join(t.TempDir(), "acme")
	ca := pebble(t, port, 1, time.Hour)
	roots, err := ca.roots()
	if err != nil {
		t.Fatal(err)
	}
	args := append(ca.args(port), "--acme-cache="+cache)
	r := start(t, serveArgs(t, args...))
	var first *x509.Certificate
	eventually(t, "there is a certificate", func() (err error) { first, err = served(port, roots); return err })
	r.stop()
	r.code(t)
	ca.stop()
	start(t, serveArgs(t, args...))
	again, err := served(port, roots)
	if err != nil || again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("%v, %v", again, err)
	}
}

// Where port 443 is another's, the proof goes over port 80.
func TestACMEProvesTheDomainOverHTTP(t *testing.T) {
	port, httpPort := freePort(t), freePort(t)
	ca := pebble(t, 1, httpPort, time.Hour)
	roots, err := ca.roots()
	if err != nil {
		t.Fatal(err)
	}
	start(t, serveArgs(t, append(ca.args(port), "--acme-cache="+t.TempDir(), "--http-listen=127.0.0.1:"+strconv.Itoa(httpPort))...))
	eventually(t, "there is a certificate", func() error { _, err := served(port, roots); return err })
	resp, err := noRedirects.Get("http://127.0.0.1:" + strconv.Itoa(httpPort) + "/m/k?a=b")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if to := resp.Header.Get("Location"); !strings.HasPrefix(to, "https://"+acmeDomain+":") || !strings.HasSuffix(to, "/m/k?a=b") {
		t.Errorf("other paths lead to %s", to)
	}
}

// An ACME server that fails is told of once, with the cause, and again when it works; a client that connects causes no order.
func TestACMETroubleIsSaidAndHandshakesCauseNoOrders(t *testing.T) {
	port := freePort(t)
	orders := 0
	var mu sync.Mutex
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			orders++
			mu.Unlock()
			_ = conn.Close()
		}
	}()
	p := newPair(t)
	p.write(t, "pebble.example")
	r := start(t, serveArgs(t, "--listen=127.0.0.1:"+strconv.Itoa(port), "--tls=acme", "--domain="+acmeDomain, "--acme-cache="+t.TempDir(),
		"--acme-directory=https://"+l.Addr().String()+"/dir", "--acme-ca="+p.cert))
	eventually(t, "the cause is in the log", func() error {
		if !strings.Contains(r.log.String(), "no certificate from the ACME server") {
			return fmt.Errorf("log: %s", r.log)
		}
		return nil
	})
	mu.Lock()
	before := orders
	mu.Unlock()
	if before == 0 {
		t.Error("nothing was ordered at the start")
	}
	if _, err := served(port, nil); err == nil {
		t.Error("there is a certificate")
	}
	mu.Lock()
	defer mu.Unlock()
	if orders != before {
		t.Errorf("%d connections to the ACME server, %d before clients connected", orders, before)
	}
	if n := strings.Count(r.log.String(), "no certificate from the ACME server"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
