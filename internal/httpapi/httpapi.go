// Package httpapi is what signald answers over plain HTTP: creating meetings, the
// audit for the admin, health, and the page.
package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/admin"
	"signald/internal/audit"
	"signald/internal/fault"
	"signald/internal/geo"
	"signald/internal/ice"
	"signald/internal/limits"
	"signald/internal/password"
	"signald/internal/protocol"
	"signald/internal/store"
	"signald/internal/tracing"
)

// Store is what the API asks of the database. Calls are bounded in time.
type Store interface {
	CreateMeeting(context.Context, store.NewMeeting) (store.Meeting, error)
	Meeting(ctx context.Context, id string) (store.Meeting, store.State, int, error)
	Audit(context.Context, store.AuditQuery) (store.AuditPage, error)
	AuditPoints(ctx context.Context, q store.AuditQuery, limit int) (points []store.AuditPoint, more bool, err error)
	AuditEvents(context.Context, store.AuditEventQuery) ([]store.AuditEvent, string, error)
	audit.Verifier
	LiveMeetings(ctx context.Context, limit int) (list []store.LiveMeeting, meetings, people int, err error)
	Snapshot(ctx context.Context, id string) (store.State, []store.Participant, error)
	Attendance(ctx context.Context, id string) ([]store.Attendee, error)
	Bans(ctx context.Context, id string) ([]store.Ban, error)
	Ping(context.Context) error
}

// Participants knows participants by their resume tokens, and ends their meetings.
type Participants interface {
	End(ctx context.Context, meetingID string) error
	LeaveByToken(ctx context.Context, peerID, token string, mayReturn bool) error
	LeaveLobby(ctx context.Context, meetingID, ticket string) error
	Authenticate(ctx context.Context, token string) (meetingID, peerID string, err error)
	// AuthorizeHost refuses all secrets but the host key and the resume tokens of hosts.
	AuthorizeHost(ctx context.Context, meetingID, secret string) error
}

// Places knows where addresses are.
type Places interface {
	Lookup(netip.Addr) geo.Place
	Attribution() string
}

// Options of the API.
type Options struct {
	BasePath    string // "" or "/meet": what comes before every path
	PublicURL   string // scheme and host of links; empty: the request's
	MaxPeers    int
	Admin       *admin.Credential
	Sessions    *admin.Sessions // of the admin
	Privacy     audit.Privacy   // how much of addresses is kept
	Recorder    *audit.Recorder // of events beside creations
	ICE         ice.Config
	AllowOrigin func(r *http.Request, origin string) bool
	ClientIP    func(*http.Request) netip.Addr
	Trusted     func(*http.Request) bool // whether X-Forwarded headers of this request are believed
	Requests    *limits.Limit            // nil: no bound
	Creations   *limits.Limit
	Guesses     *limits.Guesses // at meetings' keys
	Logins      *limits.Guesses // at the admin's token
	Passwords   *password.Hasher
	Draining    func() bool
	Refusing    func() bool // connections cannot be accepted; may be nil
	ClusterUp   func() bool // whether other nodes can be reached; nil: there are none
	Tracer      *tracing.Tracer
	Log         zerolog.Logger
}

// API answers HTTP requests.
type API struct {
	store        Store
	participants Participants
	places       Places
	files        fs.FS            // of the page
	start        http.HandlerFunc // the page of meetings
	socket       http.Handler
	opts         Options
	description  []byte // of the API
	pinged       recent // of the store
	chains       *audit.Watch
}

const (
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second

	changeTimeout = 20 * time.Second // for a body that comes slowly, and what is done with it
)

// New makes the handler of everything: socket is what answers below /socket.io/,
// page the built page.
func New(s Store, p Participants, places Places, page fs.FS, socket http.Handler, opts Options) http.Handler {
	a := &API{store: s, participants: p, places: places, files: page, socket: socket, opts: opts, chains: audit.NewWatch(s)}
	a.start = a.page("index.html")
	routes := a.routes()
	a.description, _ = json.Marshal(description(routes, opts.BasePath)) // texts, lists and maps always encode
	api := a.handle(routes)
	mux := http.NewServeMux()
	mux.Handle("/api/", api)
	mux.HandleFunc("GET /m/{key}", a.start)
	mux.HandleFunc("GET /admin", a.page("admin.html"))
	mux.HandleFunc("/", a.root)
	traced := opts.Tracer.HTTP(mux, opts.Trusted)
	mux = http.NewServeMux() // of what comes again and again, and tells nothing: no span
	mux.Handle("/healthz", api)
	mux.Handle("/readyz", api)
	mux.HandleFunc("GET /assets/", a.asset)
	mux.Handle("/", traced)
	all := http.NewServeMux()
	all.Handle("/socket.io/{$}", socket) // past the wrapper of errors: an upgrade wants the connection itself
	all.Handle("/", a.cors(jsonErrors(mux)))
	return a.secure(a.below(a.paced(all)))
}

// json wraps an endpoint whose answers are JSON. A nil answer is 204.
func (a *API) json(f func(*http.Request) (status int, body any, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder has none
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			// What changes something is done though nobody waits for the answer: a page that is
			// closed says so, and its connection is gone.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		status, body, err := f(r)
		switch {
		case err != nil:
			a.fail(w, r, err)
		case body == nil:
			w.WriteHeader(status)
		default:
			answer(w, status, body)
		}
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // the client may be gone
}

// fail answers with an error. One of ours to mend gets a reference, under which
// the log has it.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		var b [6]byte
		_, _ = rand.Read(b[:]) // never fails, says its documentation
		f = fault.New(fault.Internal)
		f.Ref = hex.EncodeToString(b[:])
		a.opts.Log.Error().Ctx(r.Context()).Err(err).Str("route", r.Pattern).Str("ref", f.Ref).Msg("request failed")
	}
	if f.RetryAfterMS > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt((f.RetryAfterMS+999)/1000, 10))
	}
	if f.Code == fault.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="signald"`)
	}
	tracing.Current(r.Context()).Code(string(f.Code))
	answer(w, f.Code.Status(), f)
}

// decode reads a JSON object; an empty body is an empty object.
func decode(r *http.Request, into any) error {
	b, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.New(fault.PayloadTooLarge)
	case err != nil:
		return fault.Invalid("", "The body could not be read.").Because(err)
	case len(b) == 0:
		return nil
	}
	return protocol.DecodeObject(b, into)
}

// bearer is the credential of a request, if it has one.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func limited(wait time.Duration, ok bool) error {
	if ok {
		return nil
	}
	return fault.New(fault.RateLimited).RetryAfter(wait)
}
