package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/rs/zerolog"

	"signald/internal/admin"
	"signald/internal/audit"
	"signald/internal/clientip"
	"signald/internal/geo"
	"signald/internal/httpapi"
	"signald/internal/ice"
	"signald/internal/limits"
	"signald/internal/participants"
	"signald/internal/password"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/signaling"
	"signald/internal/socketio"
	"signald/internal/store"
	"signald/internal/testpg"
	"signald/internal/testsqlite"
)

const (
	adminToken = "admin-token-of-the-tests"
	proxy      = "10.0.0.1:4711"     // is trusted
	visitor    = "198.51.100.7:4711" // comes directly
	london     = "81.2.69.142"
)

// databases are where the store may be: a new, empty one for each test.
var databases = map[string]func(testing.TB) string{
	"SQLite":     testsqlite.URL,
	"PostgreSQL": testpg.URL,
}

// onBoth runs a test on both stores.
func onBoth(t *testing.T, test func(*testing.T, *site)) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) { test(t, open(t, url(t), nil)) })
	}
}

// onSQLite is for what the kind of store does not matter to.
// guesses is a limit that allows so many wrong guesses, and next to no more.
func guesses(burst float64) *limits.Guesses {
	rate := limits.Rate{PerSecond: 0.001, Burst: burst}
	return limits.NewGuesses(limits.GuessRule{Network: rate, Site: rate})
}

func onSQLite(t *testing.T, change func(*httpapi.Options)) *site {
	t.Helper()
	return open(t, databases["SQLite"](t), change)
}

// site is everything that answers HTTP, with the real parts behind it.
type site struct {
	http.Handler
	store        *store.Store
	participants *participants.Service
	basePath     string
	draining     atomic.Bool
	log          lines
}

var thePage = fstest.MapFS{
	"index.html":               {Data: []byte(`<!doctype html><base href="/" /><title>signald</title><script type="module" src="./assets/index-AbCd1234.js"></script>`)},
	"admin.html":               {Data: []byte(`<!doctype html><base href="/" /><title>admin</title>`)},
	"favicon.svg":              {Data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)},
	"assets/index-AbCd1234.js": {Data: []byte(`console.log("hello")`)},
}

func open(t testing.TB, url string, change func(*httpapi.Options)) *site {
	t.Helper()
	s := &site{}
	log := zerolog.New(&s.log)
	var err error
	if s.store, err = store.Open(context.Background(), url, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	places := geo.Open([]string{cities(t)}, zerolog.Nop())
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	clientIP := func(r *http.Request) netip.Addr { return clientip.From(r, trusted) }
	allow := func(r *http.Request, origin string) bool {
		return origin == "https://friend.example" || socketio.SameOrigin(r, origin)
	}

	room := rooms.New(signaling.Encoder{}, participants.Loader(s.store), rooms.Options{NodeID: "n_test"})
	s.participants = participants.New(s.store, room, participants.Options{NodeID: "n_test", Alone: true, Grace: time.Minute, Log: zerolog.Nop()})
	credential := admin.New(adminToken, password.NewFast())
	var page fs.FS = thePage
	opts := httpapi.Options{
		MaxPeers: 8, Admin: credential, Sessions: admin.NewSessions(s.store, credential, time.Hour),
		Recorder: &audit.Recorder{Store: s.store, Groups: []string{audit.Actions, audit.Logins}, Log: log},
		ICE: ice.Config{
			STUN: []string{"stun:stun.example.org"}, TURN: []string{"turn:turn.example.org"}, Secret: "turn-secret", TTL: time.Hour,
		},
		AllowOrigin: allow, ClientIP: clientIP,
		Trusted:   func(r *http.Request) bool { return clientip.ViaProxy(r, trusted) },
		Passwords: password.NewFast(),
		Draining:  s.draining.Load, Log: log,
	}
	if change != nil {
		change(&opts)
		if opts.BasePath == "/not-built" {
			opts.BasePath, page = "", fstest.MapFS{".gitkeep": {}}
		}
	}
	s.basePath = opts.BasePath
	hub := signaling.New(s.participants, s.store, signaling.Options{
		Server: "signald/test", PingInterval: 5 * time.Second, PingTimeout: 5 * time.Second, Grace: time.Minute,
		MaxMessage: 128 << 10, MaxPeers: 8, ICE: opts.ICE, Log: zerolog.Nop(),
	})
	sockets := socketio.New(socketio.Options{
		AllowOrigin: allow, ClientIP: clientIP,
		OnConnect: hub.Connect, OnEvent: hub.Event, OnDisconnect: hub.Disconnect, OnPanic: hub.Panic, OnConfirmed: hub.Confirmed, Readmit: hub.Readmit,
	})
	s.Handler = httpapi.New(s.store, s.participants, places, page, sockets, opts)
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel() // clients of a test that never poll again are not waited for
		_ = sockets.Shutdown(now)
		places.Close()
		_ = s.store.Close()
	})
	return s
}

// cities is a file that knows London, and nothing else.
func cities(t testing.TB) string {
	t.Helper()
	content, err := citiesOnce()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "city.mmdb")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var citiesOnce = sync.OnceValues(func() ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", RecordSize: 24})
	if err != nil {
		return nil, err
	}
	named := func(s string) mmdbtype.Map { return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(s)}} }
	country := named("United Kingdom")
	country["iso_code"] = mmdbtype.String("GB")
	_, network, _ := net.ParseCIDR(london + "/32")
	err = tree.Insert(network, mmdbtype.Map{
		"country": country, "city": named("London"), "subdivisions": mmdbtype.Slice{named("England")},
		"location": mmdbtype.Map{"latitude": mmdbtype.Float64(51.5142), "longitude": mmdbtype.Float64(-0.0931)},
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = tree.WriteTo(&b)
	return b.Bytes(), err
})

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// request is one to the site. From is the peer's address, visitor by default.
type request struct {
	method, path, body, from string
	header                   map[string]string
}

func get(path string) request        { return request{method: "GET", path: path} }
func post(path, body string) request { return request{method: "POST", path: path, body: body} }

func (r request) with(name, value string) request {
	header := map[string]string{name: value}
	for k, v := range r.header {
		header[k] = v
	}
	r.header = header
	return r
}

func (r request) bearer(token string) request { return r.with("Authorization", "Bearer "+token) }

// via is through the trusted proxy, for a client.
func (r request) via(client string) request {
	r.from = proxy
	return r.with("X-Forwarded-For", client)
}

func (r request) by(remote string) request {
	r.from = remote
	return r
}

type response struct {
	*httptest.ResponseRecorder
	fields map[string]any
}

func (s *site) do(t testing.TB, r request) response {
	t.Helper()
	req := httptest.NewRequest(r.method, r.path, strings.NewReader(r.body))
	req.Host = "meet.example"
	req.RemoteAddr = visitor
	if r.from != "" {
		req.RemoteAddr = r.from
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	got := response{ResponseRecorder: w}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &got.fields); err != nil {
			t.Fatalf("%s %s: %v: %s", r.method, r.path, err, w.Body)
		}
	}
	if s.basePath == "" {
		isDescribed(t, req, w)
	}
	return got
}

// want does a request that must be answered with a status, and if that is an
// error's with a code.
func (s *site) want(t testing.TB, r request, status int, code string) response {
	t.Helper()
	got := s.do(t, r)
	if got.Code != status || code != "" && got.text("code") != code {
		t.Fatalf("%s %s %.80s: %d %.300s; want %d %s", r.method, r.path, r.body, got.Code, got.Body, status, code)
	}
	if status >= 400 && (got.fields["ok"] != false || got.text("code") == "" || got.text("message") == "") {
		t.Fatalf("%s %s: %d %s is no error of ours", r.method, r.path, got.Code, got.Body)
	}
	return got
}

func (r response) text(field string) string {
	s, _ := r.fields[field].(string)
	return s
}

// create makes a meeting and answers its key.
func (s *site) create(t testing.TB, body string) string {
	t.Helper()
	return s.want(t, post("/api/v1/meetings", body), 201, "").text("meeting_id")
}

// join seats someone and answers the token.
func (s *site) join(t testing.TB, meetingID string) *participants.Joined {
	t.Helper()
	joined, err := s.participants.Join(t.Context(), &protocol.Join{MeetingID: meetingID, UserID: "u", Name: "u", Version: 2},
		connection(t))
	if err != nil {
		t.Fatal(err)
	}
	joined.Seat.Start()
	return joined
}

// deaf is an outbox that nobody reads.
type deaf struct{}

func (deaf) Send(rooms.Frame) bool { return true }
func (deaf) Track() uint64         { return 0 }
func (deaf) Confirm()              {}
func (deaf) Overrun()              {}

func (deaf) Cut(string) {}

// serve puts the site on a port.
func (s *site) serve(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type brokenParticipants struct{}

func (brokenParticipants) End(context.Context, string) error { return errBroken }

func (brokenParticipants) LeaveByToken(context.Context, string, string, bool) error { return errBroken }

func (brokenParticipants) LeaveLobby(context.Context, string, string) error { return errBroken }

func (brokenParticipants) Authenticate(context.Context, string) (meetingID, peerID string, err error) {
	return "", "", errBroken
}

func clientIPOf(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }

func logTo(l *lines) zerolog.Logger { return zerolog.New(l) }

var connections atomic.Int64

// connection is a new one of a client.
func connection(t testing.TB) participants.Connection {
	return participants.Connection{ID: fmt.Sprint(t.Name(), connections.Add(1)), Out: deaf{}}
}

func (brokenParticipants) AuthorizeHost(context.Context, string, string) error { return errBroken }
