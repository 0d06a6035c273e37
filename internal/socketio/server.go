package socketio

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves Socket.IO over HTTP.
type Server struct {
	opts      Options
	lib       *library
	onMessage func(*session, []byte) // what an Engine.IO message goes to
	onBinary  func(*session, []byte) // instead of the reassembly of binary events; nil in production
	stats     Stats
	budget    budget
	running   sync.WaitGroup  // writers and endings of sessions, and readers without a watcher
	watching  func() *watcher // made at the first WebSocket; nil where there can be none
	unwatch   sync.Once

	mu       sync.Mutex
	stopped  bool
	sessions map[string]*session
	welcome  int                  // sessions counted in, those still shaking hands too
	refusing int                  // sessions that exist only to be told why not
	perIP    map[netip.Prefix]int // of networks and sites
}

// Stats counts since the start.
type Stats struct {
	BytesIn, BytesOut, FramesOut, EventsIn    atomic.Int64
	Malformed, Panics, SlowConsumers, Refused atomic.Int64
	Flooded                                   atomic.Int64 // closed with ReasonRateLimited
	OverBudget                                atomic.Int64 // closed because of MaxMemory
}

// Refusal is why a client is not let in: the data of its connect_error.
type Refusal struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`

	readmits bool // some are let in all the same
}

// status is the refusal's HTTP status.
func (r *Refusal) status() int {
	if r.Code == "too_many_from_ip" {
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// refusedFor is when a refused client is to try again.
const refusedFor = 5 * time.Second

// maxRefusing bounds the sessions that are open only to be refused in words.
// Those beyond get an HTTP status.
const maxRefusing = 512

// New makes a server. It serves until Shutdown.
func New(opts Options) *Server {
	s := &Server{
		opts:      opts.withDefaults(),
		onMessage: (*session).message,
		sessions:  map[string]*session{},
		perIP:     map[netip.Prefix]int{},
	}
	s.budget.max, s.budget.pressure = int64(s.opts.MaxMemory), s.opts.OnPressure
	s.watching = sync.OnceValue(newWatcher)
	s.lib = newLibrary(s)
	return s
}

// Stats returns the server's counters, which go on counting.
func (s *Server) Stats() *Stats { return &s.stats }

// Memory is how much of Options.MaxMemory is in use, in bytes.
func (s *Server) Memory() int64 { return s.budget.used.Load() }

// Count is the number of sessions now.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// CountPerIP is how many sockets each network and each site has here.
func (s *Server) CountPerIP() map[netip.Prefix]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.perIP)
}

// Broadcast sends an event to every socket of the default namespace.
func (s *Server) Broadcast(event string, args ...any) error {
	return s.lib.io.Sockets().Emit(event, args...)
}

// Each calls f with every socket of the default namespace.
func (s *Server) Each(f func(*Socket)) {
	s.mu.Lock()
	sessions := make([]*session, 0, len(s.sessions))
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	s.mu.Unlock()
	for _, session := range sessions {
		if socket, isOpen := session.socket("/"); socket != nil && isOpen {
			f(socket)
		}
	}
}

// Shutdown closes every session once what was sent to it is delivered, and waits
// for the last handler to return.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	sessions := make([]*session, 0, len(s.sessions))
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	s.mu.Unlock()
	for _, session := range sessions {
		session.finish(ReasonShutdown)
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		s.unwatch.Do(func() {
			if w := s.watching(); w != nil {
				w.end()
			}
		})
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		for _, session := range sessions {
			session.close(ReasonShutdown)
		}
		return ctx.Err()
	}
}

// protocolError is an answer of the Engine.IO protocol, with the reference
// server's codes.
type protocolError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	status  int
}

var (
	errUnknownTransport = protocolError{0, "Transport unknown", http.StatusBadRequest}
	errUnknownSession   = protocolError{1, "Session ID unknown", http.StatusBadRequest}
	errBadMethod        = protocolError{2, "Bad handshake method", http.StatusBadRequest}
	errBadRequest       = protocolError{3, "Bad request", http.StatusBadRequest}
	errOrigin           = protocolError{4, "Origin not allowed", http.StatusForbidden}
	errBadVersion       = protocolError{5, "Unsupported protocol version", http.StatusBadRequest}
	errTooLarge         = protocolError{6, "Payload too large", http.StatusRequestEntityTooLarge}
	errFlood            = protocolError{7, "Too many packets", http.StatusTooManyRequests}
)

func refuseProtocol(w http.ResponseWriter, e protocolError) { answerJSON(w, e.status, e) }

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// ServeHTTP serves polling and WebSocket requests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != s.opts.Path {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if origin := r.Header.Get("Origin"); origin != "" {
		if !s.opts.AllowOrigin(r, origin) {
			refuseProtocol(w, errOrigin)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Vary", "Origin")
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
		w.Header().Set("Access-Control-Allow-Headers", requestedHeaders(r))
		w.Header().Set("Access-Control-Max-Age", "600")
		w.Header().Add("Vary", "Access-Control-Request-Headers")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	query := r.URL.Query()
	transport, isUpgrade := query.Get("transport"), isWebSocket(r)
	switch {
	case transport != "polling" && transport != "websocket":
		refuseProtocol(w, errUnknownTransport)
	case query.Get("EIO") != "4":
		refuseProtocol(w, errBadVersion)
	case transport == "websocket" && !isUpgrade, transport == "polling" && isUpgrade:
		refuseProtocol(w, errBadRequest)
	case query.Has("sid"):
		s.serveSession(w, r, query.Get("sid"), isUpgrade)
	case r.Method != http.MethodGet:
		refuseProtocol(w, errBadMethod)
	default:
		s.handshake(w, r, isUpgrade)
	}
}

// requestedHeaders are those that a page of an allowed origin wants to send: clients are
// configured with headers of their own, and none of them means anything here.
func requestedHeaders(r *http.Request) string {
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" && len(wanted) <= maxRequestedHeaders {
		return wanted
	}
	return "Content-Type"
}

const maxRequestedHeaders = 1024 // bytes

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, sid string, isUpgrade bool) {
	s.mu.Lock()
	session := s.sessions[sid]
	s.mu.Unlock()
	switch {
	case session == nil:
		refuseProtocol(w, errUnknownSession)
	case isUpgrade:
		s.serveUpgrade(w, r, session)
	case r.Method == http.MethodGet:
		session.servePoll(w, r)
	case r.Method == http.MethodPost:
		session.servePost(w, r)
	default:
		refuseProtocol(w, errBadRequest)
	}
}

// serveUpgrade lets a WebSocket try to take over a polling session.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request, session *session) {
	session.mu.Lock()
	welcome := session.state == open && session.ws == nil && !session.upgrading
	session.upgrading = session.upgrading || welcome
	session.mu.Unlock()

	ws, err := s.upgrade(w, r, session)
	if !welcome {
		if err == nil {
			ws.kill()
		}
		return
	}
	session.mu.Lock()
	if err != nil || session.state != open {
		session.upgrading = false
		session.mu.Unlock()
		if err == nil {
			ws.kill()
		}
		return // answered
	}
	session.candidate = ws
	s.countReader(ws) // while the session still has its own
	session.mu.Unlock()
	time.AfterFunc(s.opts.UpgradeTimeout, func() {
		if !session.carriedBy(ws) {
			session.abandon(ws)
		}
	})
	session.startReading(ws)
}

// countReader counts the goroutine that will read ws, if one will.
func (s *Server) countReader(ws *wsConn) {
	if ws.raw == nil {
		s.running.Add(1)
	}
}

// handshake opens a session.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, isUpgrade bool) {
	session, refusal := s.admit(r)
	if session == nil {
		w.Header().Set("Retry-After", "5")
		answerJSON(w, refusal.status(), refusal)
		return
	}
	if isUpgrade {
		ws, err := s.upgrade(w, r, session)
		if err != nil {
			s.forget(session)
			s.running.Done()
			return // answered
		}
		session.ws = ws
		s.countReader(ws)
	}
	session.lib = s.lib.open(session)
	s.register(session)
	session.start()
	if !isUpgrade {
		session.servePoll(w, r)
		return
	}
	session.startReading(session.ws)
}

// admit counts a new session in, or says why not. A refused client still gets a
// session, to be told why in words its library understands, while there are few
// of those. A session has one count of running, which dispose gives back.
func (s *Server) admit(r *http.Request) (*session, *Refusal) {
	ip := s.opts.ClientIP(r).Unmap()
	agent := r.UserAgent()
	n := &session{
		srv: s, id: newID(), ip: ip, agent: strings.ToValidUTF8(strings.Clone(agent[:min(len(agent), 512)]), ""),
		out: outbox{maxFrames: s.opts.MaxQueued, maxBytes: s.opts.MaxQueuedBytes, budget: &s.budget},
	}
	n.network, n.site = s.opts.Owners(ip)
	n.flusher = n.flush
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return nil, &Refusal{Code: "server_draining", Message: "This server is about to stop. Try again in a few seconds.", RetryAfterMS: refusedFor.Milliseconds()}
	case s.opts.MaxSockets > 0 && s.welcome >= s.opts.MaxSockets:
		n.refusal = &Refusal{Code: "server_full", Message: "This server is full. Try again later.", RetryAfterMS: refusedFor.Milliseconds(), readmits: true}
	case s.isFullLocked(n.network, s.opts.MaxSocketsPerIP), s.isFullLocked(n.site, networksPerSite*s.opts.MaxSocketsPerIP):
		n.refusal = &Refusal{
			Code: "too_many_from_ip", Message: "Too many connections from your address. Close another tab, or try again later.",
			RetryAfterMS: refusedFor.Milliseconds(), readmits: true,
		}
	}
	if n.refusal == nil {
		s.countLocked(n, 1)
		s.running.Add(1) // not after stopped is set: Shutdown may be waiting
		return n, nil
	}
	s.stats.Refused.Add(1)
	if s.refusing >= maxRefusing {
		return nil, n.refusal
	}
	s.refusing++
	s.running.Add(1)
	return n, nil
}

// readmit counts a session in that was one too many.
func (s *Server) readmit(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.refusal = nil
	s.refusing--
	s.countLocked(n, 1)
}

// register makes the session known.
func (s *Server) register(n *session) {
	s.mu.Lock()
	s.sessions[n.id] = n
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		n.close(ReasonShutdown)
	}
}

// forget counts a session out, once.
func (s *Server) forget(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, n.id)
	if n.refusal != nil {
		s.refusing--
		return
	}
	s.countLocked(n, -1)
}

// networksPerSite is how many times as many sessions a site may have as one of its networks.
const networksPerSite = 4

// isFullLocked reports whether a network or site has as many sessions as it may, here and elsewhere.
func (s *Server) isFullLocked(of netip.Prefix, most int) bool {
	return most > 0 && s.perIP[of]+s.opts.SocketsElsewhere(of) >= most
}

// countLocked counts a session in or out.
func (s *Server) countLocked(n *session, one int) {
	s.welcome += one
	s.countPrefixLocked(n.network, one)
	if n.site != n.network { // of IPv4 they are one
		s.countPrefixLocked(n.site, one)
	}
}

func (s *Server) countPrefixLocked(of netip.Prefix, one int) {
	count := s.perIP[of] + one
	if s.perIP[of] = count; count == 0 {
		delete(s.perIP, of)
	}
	s.opts.OnCount(of, count)
}

func newID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// SameOrigin allows pages of the request's own host.
func SameOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func peerIP(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(host)
	return ip
}
