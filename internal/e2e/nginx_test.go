package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

func nginxProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("nginx is missing: scripts/deps.sh installs it")
	return ""
}

// nginx runs with the files of deploy/nginx in its folder signald/, and with this configuration in its
// http block, until the test ends. addr is what it listens on.
func nginx(t *testing.T, addr, http string) {
	t.Helper()
	program, dir := nginxProgram(t), t.TempDir()
	parts, err := filepath.Abs("../../deploy/nginx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(parts, filepath.Join(dir, "signald")); err != nil {
		t.Fatal(err)
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp.WriteString(kind + "_temp_path " + dir + "/" + kind + ";\n")
	}
	config := filepath.Join(dir, "nginx.conf")
	text := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr;\n" +
		"events {}\nhttp {\n" + temp.String() + http + "\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"-p", dir, "-c", config, "-e", "stderr"}
	if out, err := exec.Command(program, append(arguments, "-t")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, arguments...)
	runProxy(t, "nginx", cmd, addr)
}

// from makes requests from another address than nginx, which is at 127.0.0.1.
func from(ip string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

func do(t *testing.T, c *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestBehindNginxBelowAPath(t *testing.T) {
	addr := loopback(t)
	n := testnode.New(t, "SIGNALD_BASE_PATH=/meet", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_BEHIND_PROXY=true")
	direct := strings.TrimPrefix(n.URL, "http://")
	n.URL += "/meet"
	n.Start()
	nginx(t, addr, `
include signald/map.conf;
upstream signald { server `+direct+`; keepalive 4; }
server {
	listen `+addr+`;
	location / { return 200 "another site"; }
	include signald/meet.conf;
}`)
	url, stranger := "http://"+addr+"/meet", from("127.0.0.2")

	// The page, and the site around it.
	if resp, body := do(t, stranger, "GET", "http://"+addr+"/", ""); resp.StatusCode != http.StatusOK || body != "another site" {
		t.Errorf("/: %d %s", resp.StatusCode, body)
	}
	if resp, _ := do(t, stranger, "GET", url, ""); resp.StatusCode != http.StatusPermanentRedirect || !strings.HasSuffix(resp.Header.Get("Location"), "/meet/") {
		t.Errorf("/meet: %d %v", resp.StatusCode, resp.Header)
	}
	resp, body := do(t, stranger, "GET", url+"/", "")
	if resp.StatusCode != http.StatusOK || !strings.Contains(strings.ToLower(body), "<!doctype html>") || resp.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page: %d %s", resp.StatusCode, body)
	}

	// The API: whose address it is, and where the link leads.
	resp, body = do(t, stranger, "POST", url+"/api/v1/meetings", `{"meeting_id":"a/b"}`,
		"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "Origin", "http://"+addr)
	var m client.Meeting
	if err := json.Unmarshal([]byte(body), &m); err != nil || resp.StatusCode != http.StatusCreated || m.JoinURL != url+"/m/a%2Fb" {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
	if resp, _ := do(t, stranger, "GET", m.JoinURL, ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the link: %d", resp.StatusCode)
	}
	_, body = do(t, stranger, "GET", url+"/api/v1/admin/audit?format=ndjson", "", "Authorization", "Bearer "+testnode.AdminToken)
	if !strings.Contains(body, `"creator_ip":"127.0.0.2"`) || strings.Count(body, "\n") != 1 {
		t.Errorf("the audit: %s", body)
	}
	if resp, _ := do(t, stranger, "POST", url+"/api/v1/meetings", "", "Origin", "http://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign origin: %d", resp.StatusCode)
	}

	// Sockets: WebSocket, with a page's Origin, and polling.
	var two []*client.Participant
	for _, name := range []string{"a", "b"} {
		p, err := client.Join(ctx(t), url, protocol.Join{MeetingID: "a/b", UserID: name}, client.Handlers{},
			client.Options{Header: http.Header{"Origin": {"http://" + addr}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Conn().Kill)
		two = append(two, p)
	}
	sees(t, two[0], map[string]string{"b": "online"})
	if _, err := two[0].Signal(ctx(t), two[1].PeerID(), "offer", "1", strings.Repeat("v", 30_000)); err != nil {
		t.Error(err)
	}
	_, err := client.Dial(ctx(t), url, client.Options{Header: http.Header{"Origin": {"http://evil.example"}}})
	if err == nil || fault.CodeOf(err) == "" {
		t.Error("a page of another site was let in")
	}
	polls(t, stranger, url)
	if err := two[0].Leave(ctx(t)); err != nil {
		t.Error(err)
	}
	sees(t, two[1], map[string]string{})
}

// polls opens a session by polling and is greeted.
func polls(t *testing.T, c *http.Client, url string) {
	t.Helper()
	url += "/socket.io/?EIO=4&transport=polling"
	resp, body := do(t, c, "GET", url, "")
	var open struct {
		SID string `json:"sid"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("polling: %d %s", resp.StatusCode, body)
	}
	url += "&sid=" + open.SID
	if resp, body := do(t, c, "POST", url, "40", "Content-Type", "text/plain"); resp.StatusCode != http.StatusOK {
		t.Fatalf("polling: %d %s", resp.StatusCode, body)
	}
	all := ""
	for end := time.Now().Add(20 * time.Second); !strings.Contains(all, `42["welcome"`); {
		if time.Now().After(end) {
			t.Fatalf("polling: %s", all)
		}
		_, body := do(t, c, "GET", url, "")
		all += body
	}
}

// TestFilesForNginxAreUnderstood: those that the tests above do not run.
func TestFilesForNginxAreUnderstood(t *testing.T) {
	program := nginxProgram(t)
	for _, file := range []string{"signald.conf", "two-nodes.conf"} {
		dir := t.TempDir()
		parts, err := filepath.Abs("../../deploy/nginx")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(parts, filepath.Join(dir, "signald")); err != nil {
			t.Fatal(err)
		}
		key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
		if err := selfSigned(key, cert); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(parts, file))
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.NewReplacer(
			"/etc/letsencrypt/live/meet.example.org/fullchain.pem", cert, "/etc/letsencrypt/live/meet.example.org/privkey.pem", key,
			"signald-1:", "127.0.0.1:", "signald-2:", "127.0.0.2:", // names that only compose knows
		).Replace(string(text)))
		config := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(config, []byte("pid "+dir+"/pid;\nevents {}\nhttp {\n"+string(text)+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "-p", dir, "-c", config, "-e", "stderr", "-t").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

func selfSigned(keyFile, certFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}), 0o600),
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
	)
}
