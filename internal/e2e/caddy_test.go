package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// caddy runs with the sites of deploy/caddy/Caddyfile, without TLS: the first is at this
// address, the one with a path at the other, and signald is behind both.
func caddy(t *testing.T, first, second, signald string) {
	t.Helper()
	program, err := exec.LookPath("caddy")
	if err != nil {
		t.Fatal("caddy is missing: scripts/deps.sh installs it")
	}
	file, err := os.ReadFile("../../deploy/caddy/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := "{\n\tadmin off\n\tauto_https off\n}\n" + strings.NewReplacer(
		"meet.example.org {", "http://"+first+" {", "www.example.org {", "http://"+second+" {",
		"127.0.0.1:8080", signald, "/var/www/html", dir,
	).Replace(string(file))
	config := filepath.Join(dir, "Caddyfile")
	for name, content := range map[string]string{config: text, filepath.Join(dir, "index.html"): "another site"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	runProxy(t, "caddy", cmd, second)
}

func TestBehindCaddy(t *testing.T) {
	for name, base := range map[string]string{"with a name of its own": "", "below a path": "/meet"} {
		t.Run(name, func(t *testing.T) {
			own, other := loopback(t), loopback(t)
			n := testnode.New(t, "SIGNALD_BASE_PATH="+base, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_BEHIND_PROXY=true")
			direct := strings.TrimPrefix(n.URL, "http://")
			n.URL += base
			n.Start()
			caddy(t, own, other, direct)
			addr := own
			if base != "" {
				addr = other
			}
			url, stranger := "http://"+addr+base, from("127.0.0.2")

			if base != "" {
				if resp, body := do(t, stranger, "GET", "http://"+addr+"/", ""); resp.StatusCode != http.StatusOK || body != "another site" {
					t.Errorf("/: %d %s", resp.StatusCode, body)
				}
				if resp, _ := do(t, stranger, "GET", url, ""); resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != base+"/" {
					t.Errorf("%s: %d %v", base, resp.StatusCode, resp.Header)
				}
			}
			resp, body := do(t, stranger, "GET", url+"/", "")
			if resp.StatusCode != http.StatusOK || !strings.Contains(strings.ToLower(body), "<!doctype html>") {
				t.Errorf("the page: %d %s", resp.StatusCode, body)
			}
			resp, body = do(t, stranger, "POST", url+"/api/v1/meetings", `{"meeting_id":"a/b"}`, "X-Forwarded-For", "6.6.6.6", "Origin", "http://"+addr)
			var m client.Meeting
			if err := json.Unmarshal([]byte(body), &m); err != nil || resp.StatusCode != http.StatusCreated || m.JoinURL != url+"/m/a%2Fb" {
				t.Errorf("%d %s, %v", resp.StatusCode, body, err)
			}
			if resp, _ := do(t, stranger, "GET", m.JoinURL, ""); resp.StatusCode != http.StatusOK {
				t.Errorf("the link: %d", resp.StatusCode)
			}
			_, body = do(t, stranger, "GET", url+"/api/v1/admin/audit?format=ndjson", "", "Authorization", "Bearer "+testnode.AdminToken)
			if !strings.Contains(body, `"creator_ip":"127.0.0.2"`) || strings.Contains(body, "6.6.6.6") {
				t.Errorf("the audit: %s", body)
			}
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
			polls(t, stranger, url)
		})
	}
}
