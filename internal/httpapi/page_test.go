package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/httpapi"
)

const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'self'; " +
	"form-action 'self'; frame-ancestors 'none'"

func TestEveryAnswerIsGuarded(t *testing.T) {
	s := onSQLite(t, nil)
	for _, path := range []string{
		"/", "/m/key", "/admin", "/favicon.svg", "/assets/index-AbCd1234.js", "/nowhere", "/assets/nowhere.js", "/healthz", "/readyz",
		"/api/v1/meetings/no", "/api/v1/nowhere", "/api/v1/admin/audit", "/socket.io/",
	} {
		h := s.do(t, get(path)).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy":    contentPolicy,
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "no-referrer",
			"Permissions-Policy":         "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security":  "", // only where TLS is
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	if h := s.do(t, get("https://meet.example/")).Header(); h.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("over TLS: %v", h)
	}
}

func TestPage(t *testing.T) {
	s := onSQLite(t, nil)
	for _, path := range []string{"/", "/index.html", "/m/key", "/m/%E7%8E%8B%2F..%3C", "/?from=elsewhere"} {
		got := s.do(t, get(path))
		if got.Code != 200 || got.Header().Get("Content-Type") != "text/html; charset=utf-8" || got.Header().Get("Cache-Control") != "no-cache" ||
			!strings.Contains(got.Body.String(), `<base href="/" />`) || got.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %v %s", path, got.Code, got.Header(), got.Body)
		}
	}
	if got := s.do(t, get("/admin")); got.Code != 200 || !strings.Contains(got.Body.String(), `<title>admin</title>`) {
		t.Errorf("admin: %d %s", got.Code, got.Body)
	}
	if got := s.do(t, request{method: "HEAD", path: "/"}); got.Code != 200 {
		t.Errorf("HEAD: %d", got.Code)
	}
	for path, want := range map[string][2]string{
		"/assets/index-AbCd1234.js": {"public, max-age=31536000, immutable", "text/javascript; charset=utf-8"},
		"/favicon.svg":              {"no-cache", "image/svg+xml"},
	} {
		h := s.do(t, get(path)).Header()
		if h.Get("Cache-Control") != want[0] || h.Get("Content-Type") != want[1] {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestErrorsOfTheRouterAreJSON(t *testing.T) {
	s := onSQLite(t, nil)
	for _, path := range []string{
		"/nowhere", "/assets/", "/assets/nowhere.js", "/m/", "/m", "/m/a/b", "/api/", "/api/v1", "/api/v2/meetings", "/api/v1/meetings/",
		"/api/v1/meetings/a/b", "/admin/", "/admin/x", "/admin.html", "/api/v1/admin/", "/assets/..%2f..%2fsecret", "/.env",
	} {
		got := s.want(t, get(path).with("Accept", "text/html"), 404, "not_found")
		if got.Header().Get("Cache-Control") == "public, max-age=31536000, immutable" {
			t.Errorf("%s is absent for a year", path)
		}
	}
	for path, allowed := range map[string]string{
		"/api/v1/meetings": "POST", "/api/v1/leave": "POST", "/api/v1/ice": "GET, HEAD", "/api/v1/admin/audit": "GET, HEAD",
		"/api/v1/meetings/k": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/": "GET, HEAD", "/m/k": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "BREW"} {
			if strings.Contains(allowed, method) {
				continue
			}
			got := s.want(t, request{method: method, path: path}, 405, "method_not_allowed")
			if got.Header().Get("Allow") != allowed {
				t.Errorf("%s %s allows %q", method, path, got.Header().Get("Allow"))
			}
		}
	}
}

func TestPageThatWasNotBuiltSaysSo(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.BasePath = "/not-built" })
	for _, path := range []string{"/", "/m/key"} {
		if got := s.do(t, get(path)); !strings.Contains(got.Body.String(), "make build") || got.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	s.want(t, get("/assets/index.js"), 404, "not_found")
	s.create(t, "") // the rest works
}

func TestBasePathServesPageAPIAndSockets(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.BasePath = "/meet" })
	for _, path := range []string{"/meet/", "/meet/m/key", "/meet/index.html"} {
		if got := s.do(t, get(path)); got.Code != 200 || !strings.Contains(got.Body.String(), `<base href="/meet/" />`) {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	if got := s.do(t, get("/meet")); got.Code != 308 || got.Header().Get("Location") != "/meet/" {
		t.Errorf("/meet: %d %v", got.Code, got.Header())
	}
	for _, path := range []string{"/", "/m/key", "/api/v1/ice", "/healthz", "/meetings", "/meetm/key", "/assets/index-AbCd1234.js"} {
		s.want(t, get(path), 404, "not_found")
	}
	got := s.want(t, post("/meet/api/v1/meetings", `{"meeting_id":"a/b"}`), 201, "")
	if got.text("join_url") != "http://meet.example/meet/m/a%2Fb" {
		t.Errorf("%s", got.Body)
	}
	s.want(t, get("/meet/api/v1/meetings/a%2Fb"), 200, "")
	s.want(t, get("/meet/healthz"), 200, "")
	if got := s.do(t, get("/meet/assets/index-AbCd1234.js")); got.Code != 200 {
		t.Errorf("asset: %d", got.Code)
	}
	if got := s.do(t, get("/meet/socket.io/?EIO=4&transport=polling")); got.Code != 200 || !strings.HasPrefix(got.Body.String(), `0{`) {
		t.Errorf("polling: %d %s", got.Code, got.Body)
	}
	joinOverWebSocket(t, s, "/meet", "a/b")
}

// TestWebSocketUpgradesThroughTheWholeChain: a ResponseWriter that a wrapper hid
// broke it once.
func TestWebSocketUpgradesThroughTheWholeChain(t *testing.T) {
	s := onSQLite(t, nil)
	joinOverWebSocket(t, s, "", s.create(t, ""))
}

func joinOverWebSocket(t *testing.T, s *site, base, meetingID string) {
	t.Helper()
	address := "ws" + strings.TrimPrefix(s.serve(t), "http") + base + "/socket.io/?EIO=4&transport=websocket"
	conn, resp, err := websocket.DefaultDialer.Dial(address, nil)
	if err != nil {
		t.Fatalf("%v, %v", err, resp)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	expect := func(prefix string) string {
		t.Helper()
		_, b, err := conn.ReadMessage()
		if err != nil || !strings.HasPrefix(string(b), prefix) {
			t.Fatalf("%.200s, %v; want %s", b, err, prefix)
		}
		return strings.TrimPrefix(string(b), prefix)
	}
	say := func(message string) {
		t.Helper()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	expect(`0{`)
	say("40")
	expect("40{")
	expect(`42["welcome",{"protocol":2`)
	say(`420["join",{"v":2,"meeting_id":` + quoted(meetingID) + `,"user_id":"u"}]`)
	var acks []struct {
		OK          bool   `json:"ok"`
		ResumeToken string `json:"resume_token"`
	}
	if err := json.Unmarshal([]byte(expect("430")), &acks); err != nil || !acks[0].OK {
		t.Fatalf("%+v, %v", acks, err)
	}
	s.want(t, get(base+"/api/v1/ice").bearer(acks[0].ResumeToken), 200, "")
}

func TestCORSIsForAllowedOrigins(t *testing.T) {
	s := onSQLite(t, nil)
	key := s.create(t, "")
	for origin, allowed := range map[string]bool{
		"https://friend.example": true, "http://meet.example": true,
		"https://evil.example": false, "https://friend.example.evil.example": false, "http://friend.example": false, "null": false, "": false,
	} {
		want := ""
		if allowed {
			want = origin
		}
		got := s.do(t, get("/api/v1/meetings/"+key).with("Origin", origin))
		if h := got.Header(); h.Get("Access-Control-Allow-Origin") != want || allowed && h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", origin, h)
		}
		preflight := s.do(t, request{method: "OPTIONS", path: "/api/v1/meetings"}.with("Origin", origin).with("Access-Control-Request-Method", "POST"))
		if h := preflight.Header(); h.Get("Access-Control-Allow-Origin") != want || allowed != (preflight.Code == 204) ||
			allowed != (h.Get("Access-Control-Allow-Headers") == "Authorization, Content-Type, Idempotency-Key") {
			t.Errorf("%s: preflight %d %v", origin, preflight.Code, h)
		}
		if origin == "" {
			continue
		}
		socket := s.do(t, get("/socket.io/?EIO=4&transport=polling").with("Origin", origin))
		if allowed != (socket.Code == 200) {
			t.Errorf("%s: socket %d", origin, socket.Code)
		}
	}
}

func TestHealth(t *testing.T) {
	s := onSQLite(t, nil)
	if got := s.want(t, get("/healthz"), 200, ""); got.text("status") != "ok" {
		t.Errorf("%s", got.Body)
	}
	if got := s.want(t, get("/readyz"), 200, ""); got.text("status") != "ready" {
		t.Errorf("%s", got.Body)
	}
	s.draining.Store(true)
	if got := s.do(t, get("/readyz")); got.Code != 503 || !strings.Contains(got.Body.String(), `"draining":"yes"`) || !strings.Contains(got.Body.String(), `"store":"ok"`) {
		t.Errorf("draining: %d %s", got.Code, got.Body)
	}
	s.draining.Store(false)
	s.want(t, get("/readyz"), 200, "")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // for so long an answer is kept
	if got := s.do(t, get("/readyz")); got.Code != 503 || got.text("status") != "not ready" || !strings.Contains(got.Body.String(), `"store":"unavailable"`) {
		t.Errorf("without a store: %d %s", got.Code, got.Body)
	}
	s.want(t, get("/healthz"), 200, "")
}

// TestSlowBodyHasADeadline: it reaches the connection through the
// wrappers. It is asked for by a client that never sends what it has announced.
func TestSlowBodyHasADeadline(t *testing.T) {
	s := onSQLite(t, nil)
	deadline := make(chan time.Time, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(&watched{ResponseWriter: w, deadline: deadline}, r)
	})
	server := &http.Server{Handler: handler}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }() // ends with Shutdown
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(conn, "POST /api/v1/meetings HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{")
	select {
	case at := <-deadline:
		if left := time.Until(at); left <= 0 || left > 10*time.Second {
			t.Errorf("%v left", left)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no deadline")
	}
	_, _ = io.WriteString(conn, `"a":"bcd"}`)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%v, %v", resp, err)
	}
	readAll(t, resp.Body)
	_ = conn.Close()
	if err := server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

type watched struct {
	http.ResponseWriter
	deadline chan<- time.Time
}

func (w *watched) SetReadDeadline(t time.Time) error {
	w.deadline <- t
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}
