package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/admin"
	"signald/internal/audit"
	"signald/internal/calls"
	"signald/internal/chat"
	"signald/internal/clientip"
	"signald/internal/cluster"
	"signald/internal/geo"
	"signald/internal/httpapi"
	"signald/internal/ice/relay"
	"signald/internal/limits"
	"signald/internal/metrics"
	"signald/internal/netid"
	"signald/internal/participants"
	"signald/internal/password"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/signaling"
	"signald/internal/socketio"
	"signald/internal/store"
	"signald/internal/tracing"
	"signald/internal/webhook"
	"signald/web"
)

// server is the whole of signald, built and listening.
type server struct {
	config       *Config
	log          zerolog.Logger
	store        *store.Store
	places       *geo.DB
	others       nodes
	rooms        *rooms.Rooms
	participants *participants.Service
	calls        *calls.Service
	guesses      *limits.Guesses
	logins       *limits.Guesses
	elsewhere    *limits.Elsewhere
	shared       sharedLimits
	sockets      *socketio.Server
	tls          *tls.Config // nil: plain HTTP
	certificates *certificates
	relay        *relay.Server // nil: no TURN server inside
	http         *http.Server
	metrics      *metrics.Metrics
	listener     *listener
	files        files
	connections  *connections
	operator     *operator
	origins      *origins
	strangeProxy atomic.Bool     // one that is not trusted was warned of
	clock        *databaseClock  // nil: this node is alone
	tracer       *tracing.Tracer // nil: nothing is traced
	redirector   *redirector
	webhooks     *webhook.Sender // nil: nobody is told
	draining     atomic.Bool
	stopBy       time.Time // set when draining begins
}

// build makes everything and listens; nothing runs yet. What it opened is closed
// again when it fails.
func build(ctx context.Context, c *Config, log zerolog.Logger) (_ *server, err error) {
	s := &server{config: c, log: log, listener: &listener{log: log}, files: files{limit: descriptors()}, connections: newConnections(c.perAddress("MaxConnectionsPerIP", c.MaxConnectionsPerIP), c.proxies, log)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()

	node := "n_" + randomName()
	if s.tracer, err = tracing.Open(ctx, tracing.Options{
		Endpoint: c.OTLPEndpoint, Headers: c.otlpHeaders, Sample: c.OTLPSample, Version: version, NodeID: node, Log: log,
	}); err != nil {
		return nil, err
	}
	if s.tracer != nil {
		log = log.Hook(tracing.LogHook{})
		s.log = log
	}
	if s.store, err = store.Open(ctx, c.DatabaseURL, log); err != nil {
		return nil, fmt.Errorf("open the database of SIGNALD_DATABASE_URL: %w", err)
	}
	counted := metrics.New(version)
	s.metrics = counted
	db := observedStore{s.store, counted, c.databaseSystem()}
	s.openWebhooks(db, counted)
	s.places = geo.Open(c.GeoIPDB, log)

	passwords := password.New()
	credential := admin.New(c.AdminToken, passwords)
	privacy := audit.NewPrivacy(c.AuditIP, c.AuditIPKey)
	recorder := &audit.Recorder{Store: db, Groups: c.AuditEvents, Privacy: privacy, Log: log}

	var others nodes = cluster.Alone{}
	if c.RedisURL != "" {
		if others, err = s.joinCluster(ctx, node, db); err != nil {
			return nil, err
		}
	}
	s.others = others
	s.guesses = c.guesses(guessesRule, others.Guessed)
	s.logins = c.guesses(loginsRule, func(ip netip.Addr, _ string) { others.FailedLogin(ip) })
	s.rooms = rooms.New(signaling.Encoder{}, participants.Loader(db), rooms.Options{
		NodeID: node, Watch: others.Watch, Unwatch: others.Unwatch, Shares: c.RateLimits == "on", Spoken: chat.Spoken(db, signaling.Marshaled),
	})
	s.participants = participants.New(db, s.rooms, participants.Options{
		NodeID: node, Alone: c.RedisURL == "", Cluster: others, Grace: c.Grace, Passwords: passwords, Guesses: s.guesses, Log: log,
		Country: func(ip netip.Addr) string { return s.places.Lookup(ip).Country },
	})
	if err := s.participants.Register(ctx); err != nil {
		return nil, fmt.Errorf("register with the database: %w", err)
	}
	s.origins = c.newOrigins(log)
	s.elsewhere = limits.NewElsewhere(3 * repeatCountsEvery)
	if s.certificates, err = newTLS(c, log); err != nil {
		return nil, err
	}
	s.tls = s.certificates.tls
	servers, err := s.iceServers(ctx, db)
	if err != nil {
		return nil, err
	}
	s.calls = calls.New(node, others, c.limit(calls.Invites))
	hub := signaling.New(s.participants, db, signaling.Options{
		Server: "signald/" + version, Node: node, Epoch: randomName(),
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout,
		MaxMessage: c.MaxMessage, MaxPeers: c.MaxPeers, Grace: c.Grace,
		ICE: servers, PublicCandidates: c.Candidates == "public",
		Guesses: s.guesses, Spending: s.spending(), Lines: c.lines(), Relayer: others, Observer: counted, Recorder: recorder,
		Chat: chat.New(db, s.participants, signaling.Marshaled, c.ChatRevoke), Calls: s.calls, Tokens: c.tokens, TokensRequired: c.TokensRequired, Tracer: s.tracer, Log: log,
	})
	s.sockets = socketio.New(socketio.Options{
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout,
		MaxMessage: c.MaxMessage, Packets: c.packets(), MaxMemory: c.queued(), OnPressure: collectOften(), MaxSockets: c.sockets(), MaxSocketsPerIP: c.perAddress("MaxSocketsPerIP", c.MaxSocketsPerIP), Owners: netid.Owners,
		AllowOrigin: s.origins.allow, ClientIP: s.clientIP,
		SocketsElsewhere: s.elsewhere.Count, OnCount: others.Sockets,
		OnConnect: hub.Connect, OnEvent: hub.Event, OnDisconnect: hub.Disconnect, OnPanic: hub.Panic, OnConfirmed: hub.Confirmed, Readmit: hub.Readmit,
		Log: log,
	})
	var clusterUp func() bool
	if c.RedisURL != "" {
		clusterUp = others.Up
	}
	handler := httpapi.New(db, s.participants, observedPlaces{s.places, counted}, web.FS(), s.sockets, httpapi.Options{
		BasePath: c.BasePath, PublicURL: c.PublicURL, MaxPeers: c.MaxPeers,
		Admin: credential, Sessions: admin.NewSessions(db, credential, c.AdminSession), Privacy: privacy, Recorder: recorder,
		ICE: servers, AllowOrigin: s.origins.allow, ClientIP: s.clientIP, Trusted: s.isTrusted,
		Requests: c.limit(requestsRule), Creations: s.sharedLimit("creations", httpapi.Creations), Guesses: s.guesses, Logins: s.logins, Passwords: passwords,
		Draining: s.draining.Load, Refusing: s.refusing, ClusterUp: clusterUp, Tracer: s.tracer, Log: log,
	})
	if err := s.listenForOperator(counted); err != nil {
		return nil, err
	}
	if err := s.listen(handler); err != nil {
		return nil, err
	}
	return s, s.listenForHTTP()
}

// listen opens the port.
func (s *server) listen(handler http.Handler) error {
	s.http = &http.Server{
		Handler:           inTime(handler),
		TLSConfig:         s.tls,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second, // longer than proxies keep theirs
		ConnState:         s.connections.changed,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(httpErrors{s.log}, "", 0),
	}
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w%s", s.config.Listen, err, portHint(err))
	}
	s.listener.Listener, s.listener.tls = l, s.tls != nil
	return nil
}

// Serve runs until ctx ends, then stops in good order; stopping is called when
// that begins.
func (s *server) Serve(ctx context.Context, stopping func()) error {
	defer s.flushTraces()
	background, stopBackground := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.runUpkeep(background) })
	running.Go(func() { s.others.Run(background, fromOthers{s}) })
	running.Go(func() { s.runWebhooks(background) })
	running.Go(s.operator.serve)
	running.Go(s.redirector.serve)
	running.Go(func() { s.listenToSignals(background) })
	defer running.Wait()
	defer s.operator.close()
	defer s.redirector.close()
	defer stopBackground()

	failed := make(chan error, 1)
	go func() { // ends with the listener, which Shutdown closes
		if s.http.TLSConfig != nil {
			failed <- s.http.ServeTLS(s.listener, "", "")
		} else {
			failed <- s.http.Serve(s.listener)
		}
	}()
	s.log.Info().Str("listen", s.listener.Addr().String()).Str("tls", s.config.tlsMode()).Str("version", version).Msg("serving")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping()
	return s.drain()
}

// drain tells everyone to come back elsewhere, or here after the restart, and
// waits for the last answer. Seats are kept: a restart is no reason to leave.
func (s *server) drain() error {
	s.log.Info().Int("sockets", s.sockets.Count()).Msg("draining")
	s.draining.Store(true)
	s.stopBy = time.Now().Add(s.config.DrainTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), s.stopBy)
	defer cancel()
	var encoding error
	s.sockets.Each(func(c *socketio.Socket) {
		after := 500 + rand.Int64N(1500) //nolint:gosec // spreads the reconnects
		if err := c.Emit(protocol.EventServerDraining, protocol.Draining{ReconnectAfterMS: after}); err != nil {
			encoding = err
		}
	})
	return errors.Join(encoding, s.endSockets(ctx), s.http.Shutdown(ctx))
}

// endSockets gives clients half of the time to read what was sent to them, then
// cuts those that do not: one of them is no reason to call a planned stop failed.
func (s *server) endSockets(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, s.config.DrainTimeout/2)
	defer cancel()
	if s.sockets.Shutdown(patience) == nil {
		return nil
	}
	return s.sockets.Shutdown(ctx)
}

// flushTimeout is how long a collector that does not answer may hold up a stop.
const flushTimeout = 3 * time.Second

// flushTraces sends the last spans, in what draining has left of its time.
func (s *server) flushTraces() {
	stopBy := time.Now().Add(flushTimeout)
	if !s.stopBy.IsZero() && s.stopBy.Before(stopBy) {
		stopBy = s.stopBy
	}
	ctx, cancel := context.WithDeadline(context.Background(), stopBy)
	defer cancel()
	s.tracer.Close(ctx)
}

// Close closes what build opened.
func (s *server) Close() {
	s.flushTraces() // nothing is left of them if it was served
	s.operator.close()
	s.redirector.close()
	if s.listener.Listener != nil {
		_ = s.listener.Close() // closed by Shutdown as a rule
	}
	if s.relay != nil {
		s.relay.Close()
	}
	if s.places != nil {
		s.places.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Warn().Err(err).Msg("database not closed cleanly")
		}
	}
}

// URL is where people open the page.
func (s *server) URL() string {
	scheme := "http"
	if s.http.TLSConfig != nil {
		scheme = "https"
	}
	if s.config.PublicURL != "" {
		return s.config.PublicURL + s.config.BasePath + "/"
	}
	host, port, _ := net.SplitHostPort(s.listener.Addr().String()) // of a listener: well-formed
	switch ip, err := netip.ParseAddr(host); {
	case s.config.Domain != "":
		host = s.config.Domain
	case err != nil || ip.IsUnspecified() || ip.IsLoopback():
		host = "localhost"
	}
	authority := net.JoinHostPort(host, port)
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		authority = strings.TrimSuffix(authority, ":"+port)
	}
	return scheme + "://" + authority + s.config.BasePath + "/"
}

// refusing reports whether new connections are or will soon be refused for want of file descriptors.
func (s *server) refusing() bool { return s.listener.Refusing() || s.files.Short() }

func (s *server) clientIP(r *http.Request) netip.Addr {
	s.noticeProxy(r)
	return clientip.From(r, s.config.proxies)
}

// isTrusted reports whether a proxy of ours sent the request.
func (s *server) isTrusted(r *http.Request) bool {
	return clientip.ViaProxy(r, s.config.proxies)
}

// httpErrors puts what net/http says into our log: mostly handshakes that strangers
// broke off.
type httpErrors struct{ log zerolog.Logger }

func (h httpErrors) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("http: Accept error")) {
		return len(b), nil // the listener has said it
	}
	h.log.Debug().Str("cause", string(b)).Msg("http")
	return len(b), nil
}

func randomName() string {
	const letters = "0123456789abcdefghijklmnopqrstuv"
	b := make([]byte, 10)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))] //nolint:gosec // a name, no secret
	}
	return string(b)
}

func portHint(err error) string {
	if errors.Is(err, errPermission) {
		return "; ports below 1024 need a right: setcap cap_net_bind_service=+ep on the binary, or choose another with SIGNALD_LISTEN"
	}
	return ""
}
