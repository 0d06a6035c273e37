package main

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

var noRedirects = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func TestHTTPLeadsToHTTPS(t *testing.T) {
	for _, c := range []struct{ domain, port, host, path, want string }{
		{"", "443", "meet.example.org", "/", "https://meet.example.org/"},
		{"", "443", "meet.example.org:80", "/m/a%2Fb?x=1&y=%20", "https://meet.example.org/m/a%2Fb?x=1&y=%20"},
		{"", "8443", "meet.example.org:8080", "/m/k", "https://meet.example.org:8443/m/k"},
		{"", "8443", "[::1]:8080", "/", "https://[::1]:8443/"},
		{"", "443", "[::1]", "/", "https://[::1]/"},
		{"", "443", "meet.example.org", "//evil.example/x/../y", "https://meet.example.org//evil.example/x/../y"},
		{"meet.example.org", "443", "evil.example", "/", "https://meet.example.org/"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "http://x"+c.path, nil)
		r.Host = c.host
		toHTTPS{config: &Config{Domain: c.domain}, port: c.port}.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect || got != c.want {
			t.Errorf("%s%s: %d %s, want %s", c.host, c.path, w.Code, got, c.want)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = ""
	toHTTPS{config: &Config{}, port: "443"}.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("without a host: %d", w.Code)
	}
}

func TestHTTPBesideTLSRedirectsAndEndsWithTheServer(t *testing.T) {
	addr := freeAddress(t)
	r := start(t, serveArgs(t, "--tls=self-signed", "--http-listen="+addr))
	resp, err := noRedirects.Get("http://" + addr + "/m/key?relay")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	want := "https://127.0.0.1" + r.url[strings.LastIndex(r.url, ":"):] + "/m/key?relay"
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || got != want {
		t.Errorf("%d %s, want %s", resp.StatusCode, got, want)
	}
	if resp.Header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS over plain HTTP")
	}
	r.stop()
	if code := r.code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := noRedirects.Get("http://" + addr); err == nil {
		t.Error("it still answers")
	}
}

func TestPageComesOverHTTP2AndSocketsOverHTTP1(t *testing.T) {
	r := start(t, serveArgs(t, "--tls=self-signed"))
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test's
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(r.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %s %v", resp.Proto, resp.Status, resp.Header)
	}
	status, body, _ := get(t, client, r.url+"/socket.io/?EIO=4&transport=polling") // polling may share the page's connection
	if status != http.StatusOK || !strings.HasPrefix(body, `0{"sid"`) {
		t.Errorf("%d %s", status, body)
	}
	both := config.Clone()
	both.NextProtos = []string{"http/1.1"} // what browsers ask for with wss
	dialer := &websocket.Dialer{TLSClientConfig: both, HandshakeTimeout: patience}
	conn, resp, err := dialer.Dial("wss"+strings.TrimPrefix(r.url, "https")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil || resp.ProtoMajor != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = conn.Close()
}

func TestOnlyGoodCiphersAreSpoken(t *testing.T) {
	r := start(t, serveArgs(t, "--tls=self-signed"))
	addr := strings.TrimPrefix(r.url, "https://")
	for name, c := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"TLS 1.3":                     {&tls.Config{MinVersion: tls.VersionTLS13}, true},
		"TLS 1.2":                     {&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.1":                     {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"CBC":                         {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		"RSA without forward secrecy": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
	} {
		c.config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", addr, c.config)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// Another implementation of TLS says the same.
func TestOpenSSLIsContentWithTheCertificateOfTheFiles(t *testing.T) {
	p := newPair(t)
	p.write(t, acmeDomain)
	r := start(t, serveArgs(t, "--tls-cert="+p.cert, "--tls-key="+p.key))
	addr := strings.TrimPrefix(r.url, "https://")
	client := func(more ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{
			"s_client", "-connect", addr, "-servername", acmeDomain, "-verify_hostname", acmeDomain, "-CAfile", p.cert,
			"-verify_return_error", "-alpn", "h2,http/1.1",
		}, more...)...)
		cmd.Stdin = bytes.NewReader(nil)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := client()
	if err != nil || !strings.Contains(out, "Verify return code: 0 (ok)") || !strings.Contains(out, "ALPN protocol: h2") || !strings.Contains(out, "TLSv1.3") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"); err == nil {
		t.Errorf("TLS 1.1:\n%s", out)
	}
}
