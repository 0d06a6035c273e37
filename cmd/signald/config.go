package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"signald/internal/admin"
	"signald/internal/audit"
	"signald/internal/cluster"
	"signald/internal/identity"
	"signald/internal/tracing"
	"signald/internal/webhook"
)

// Config is every setting. Nothing else reads the environment.
type Config struct {
	Listen        string `env:"SIGNALD_LISTEN" default:":443" help:"Address to listen on, host:port; no host means every address. Example: 127.0.0.1:8080." group:"Network"`
	TLS           string `name:"tls" env:"SIGNALD_TLS" oneof:"auto,files,acme,self-signed,off" default:"auto" help:"Where the certificate comes from: files, acme, self-signed, off, or auto: files if a certificate is named, acme if a domain is, off on loopback, else self-signed. off is for loopback, or behind a proxy." group:"Network"`
	TLSCert       string `name:"tls-cert" env:"SIGNALD_TLS_CERT" placeholder:"FILE" help:"PEM file with the certificate chain. It is read again when it changes." group:"Network"`
	TLSKey        string `name:"tls-key" env:"SIGNALD_TLS_KEY" placeholder:"FILE" help:"PEM file with the certificate's key." group:"Network"`
	Domain        string `env:"SIGNALD_DOMAIN" help:"Domain of this server, for ACME and for links. Example: meet.example.org." group:"Network"`
	ACMECache     string `name:"acme-cache" env:"SIGNALD_ACME_CACHE" default:"acme" help:"Folder where ACME certificates are kept." group:"Network"`
	ACMEDirectory string `name:"acme-directory" env:"SIGNALD_ACME_DIRECTORY" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"Directory of the ACME server; the default is Let's Encrypt." group:"Network"`
	ACMECA        string `name:"acme-ca" env:"SIGNALD_ACME_CA" placeholder:"FILE" help:"PEM file with the roots by which the ACME server is known, if it is a private one." group:"Network"`
	ACMEEmail     string `name:"acme-email" env:"SIGNALD_ACME_EMAIL" placeholder:"EMAIL" help:"Where the ACME server writes if something is wrong with the certificate." group:"Network"`
	HTTPListen    string `name:"http-listen" env:"SIGNALD_HTTP_LISTEN" placeholder:"HOST:PORT" help:"Address for plain HTTP beside TLS: it redirects to HTTPS, and answers ACME's http-01. Empty: none. Example: :80." group:"Network"`
	BehindProxy   bool   `env:"SIGNALD_BEHIND_PROXY" help:"A proxy in front does TLS: plain HTTP is right on any address." group:"Network"`
	PublicURL     string `name:"public-url" env:"SIGNALD_PUBLIC_URL" placeholder:"URL" help:"Scheme and host of links to meetings, if not those of the request. Example: https://meet.example.org." group:"Network"`
	BasePath      string `env:"SIGNALD_BASE_PATH" placeholder:"PATH" help:"Path below which everything is served. Example: /meet." group:"Network"`

	TrustedProxies []string `env:"SIGNALD_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Proxies whose X-Forwarded-For is believed: their addresses, not networks in which there are clients, too. Example: 127.0.0.1/32." group:"Network"`
	AllowedOrigins []string `env:"SIGNALD_ALLOWED_ORIGINS" placeholder:"ORIGIN,..." help:"Origins of other sites whose pages may connect; * is any. Default: the server's own only. Example: https://app.example.org." group:"Network"`

	DatabaseURL string `name:"database-url" env:"SIGNALD_DATABASE_URL" default:"sqlite:signald.db" help:"The database: sqlite:FILE, or postgres://user:password@host/name." group:"Data" secret:"url"`
	RedisURL    string `name:"redis-url" env:"SIGNALD_REDIS_URL" placeholder:"URL" help:"Redis that joins several nodes; empty: this server is alone. Example: redis://host:6379/0." group:"Data" secret:"url"`

	ClusterSecret []string `env:"SIGNALD_CLUSTER_SECRET" placeholder:"SECRET,..." help:"What nodes seal their messages on Redis with: at least 32 random characters, the same at all nodes. Several while it is being changed: the first seals, all are good. The word database, and the default, is one that the database keeps. Example: $(openssl rand -hex 32)." group:"Data" secret:"true"`

	GeoIPDB []string `name:"geoip-db" env:"SIGNALD_GEOIP_DB" placeholder:"FILE,..." help:"GeoIP files (.mmdb) that tell where a meeting's creator is, best first. They are read again when they change." group:"Data"`

	AdminToken     string        `env:"SIGNALD_ADMIN_TOKEN" placeholder:"TOKEN" help:"What the admin logs in with at /admin, and the bearer token of the admin's API: a long random text, or its bcrypt hash as 'signald hash' makes it. Empty: nobody is admin." group:"Access" secret:"true"`
	AdminSession   time.Duration `env:"SIGNALD_ADMIN_SESSION" default:"8h" help:"How long a login of the admin lasts." group:"Access"`
	TokenKeys      []string      `env:"SIGNALD_TOKEN_KEYS" placeholder:"KEY,..." help:"Keys of join tokens, by which an application vouches for its users: kid:HS256:BASE64 of at least 32 bytes, kid:EdDSA:BASE64 of a public key, or @FILE with one a line." group:"Access" secret:"true"`
	TokensRequired bool          `env:"SIGNALD_TOKENS_REQUIRED" help:"Nobody joins without a join token." group:"Access"`
	RateLimits     string        `env:"SIGNALD_RATE_LIMITS" oneof:"on,off" default:"on" help:"Limits on what an address, a person and a meeting may do; off is for load tests from one address, and takes the usual bounds of its connections away, too." group:"Access"`

	AuditEvents    []string      `env:"SIGNALD_AUDIT_EVENTS" placeholder:"GROUP,..." help:"What is recorded beside creations: actions (kick, ban, end), logins (failed ones of the admin). Default: nothing. Example: actions,logins." group:"Audit"`
	AuditIP        string        `name:"audit-ip" env:"SIGNALD_AUDIT_IP" oneof:"full,truncated,hashed" default:"full" help:"How addresses are kept in the audit: full; truncated to the /24 of IPv4 or the /48 of IPv6; or hashed with SIGNALD_AUDIT_IP_KEY." group:"Audit"`
	AuditIPKey     string        `name:"audit-ip-key" env:"SIGNALD_AUDIT_IP_KEY" placeholder:"KEY" help:"Key of hashed addresses, the same at all nodes: at least 16 random characters." group:"Audit" secret:"true"`
	AuditRetention time.Duration `env:"SIGNALD_AUDIT_RETENTION" default:"0s" help:"How long rows of the audit are kept, at least 24h; 0: for ever. Example: 8760h, a year." group:"Audit"`

	MaxSockets          int `env:"SIGNALD_MAX_SOCKETS" default:"20000" help:"Connections at a time; 0: no limit." group:"Limits"`
	MaxSocketsPerIP     int `name:"max-sockets-per-ip" env:"SIGNALD_MAX_SOCKETS_PER_IP" default:"1000" help:"Connections of one address at a time (of one /64 in IPv6; four times as many of one /48): an office of several hundred people may share one. 0: no limit." group:"Limits"`
	MaxConnectionsPerIP int `name:"max-connections-per-ip" env:"SIGNALD_MAX_CONNECTIONS_PER_IP" default:"2000" help:"TCP connections without a WebSocket of one address at a time (of one /64 in IPv6): a browser opens up to six for a page. The file descriptors of the process bound them, too. 0: no limit." group:"Limits"`
	MaxQueued           int `env:"SIGNALD_MAX_QUEUED" default:"0" help:"Megabytes that all connections together may have waiting: what is on its way to them, and messages whose end has not come. When it is used up, those with the most are cut. 0: an eighth of the memory that the container or the machine has, at most 128." group:"Limits"`
	MaxPeers            int `env:"SIGNALD_MAX_PEERS" default:"8" help:"Participants of a meeting, 1 to 1000. A mesh of more than 8 is too much for most uplinks." group:"Limits"`
	MaxMessage          int `env:"SIGNALD_MAX_MESSAGE" default:"131072" help:"Largest message of a client, in bytes." group:"Limits"`

	Grace        time.Duration `env:"SIGNALD_GRACE" default:"10s" help:"How long who lost the connection keeps the seat." group:"Timing"`
	ChatRevoke   time.Duration `env:"SIGNALD_CHAT_REVOKE" default:"15m" help:"How long a chat message can be revoked; 0: not at all." group:"Timing"`
	PingInterval time.Duration `env:"SIGNALD_PING_INTERVAL" default:"5s" help:"Time between heartbeats of a connection." group:"Timing"`
	PingTimeout  time.Duration `env:"SIGNALD_PING_TIMEOUT" default:"5s" help:"How long the answer to a heartbeat may take." group:"Timing"`
	DrainTimeout time.Duration `env:"SIGNALD_DRAIN_TIMEOUT" default:"10s" help:"How long a planned stop may take." group:"Timing"`

	STUN       []string      `name:"stun" env:"SIGNALD_STUN_URLS" placeholder:"URL,..." help:"STUN servers for the browsers, needed when they are not in one network. Example: stun:stun.example.org:3478." group:"Media"`
	TURN       []string      `name:"turn" env:"SIGNALD_TURN_URLS" placeholder:"URL,..." help:"TURN servers, for browsers that cannot reach each other. Example: turn:turn.example.org:3478." group:"Media"`
	TURNSecret string        `env:"SIGNALD_TURN_SECRET" placeholder:"SECRET" help:"Secret shared with the TURN servers (coturn: static-auth-secret)." group:"Media" secret:"true"`
	TURNTTL    time.Duration `name:"turn-ttl" env:"SIGNALD_TURN_TTL" default:"1h" help:"How long TURN credentials are good." group:"Media"`

	Candidates string `env:"SIGNALD_CANDIDATES" oneof:"all,public" default:"all" help:"Which ICE candidates are passed on: all, or public: those at addresses of the public Internet alone, so that nobody has another one's browser knock at inside addresses, or learns them. Then two in one private network meet through a TURN server, or a router that turns their packets round." group:"Media"`

	TURNListen           string   `name:"turn-listen" env:"SIGNALD_TURN_LISTEN" placeholder:"HOST:PORT" help:"Address of the TURN server inside, UDP and TCP; it answers as a STUN server, too. Empty: there is none. Example: :3478." group:"TURN server"`
	TURNTLSListen        string   `name:"turn-tls-listen" env:"SIGNALD_TURN_TLS_LISTEN" default:":5349" help:"Address of the TURN server inside over TLS, if there is a certificate from files or ACME; off: none." group:"TURN server"`
	TURNPublicIP         []string `name:"turn-public-ip" env:"SIGNALD_TURN_PUBLIC_IP" placeholder:"IP,..." help:"Addresses under which the Internet reaches this host, one of IPv4, one of IPv6, or both. Default: those of its interfaces, or of SIGNALD_DOMAIN." group:"TURN server"`
	TURNPorts            string   `name:"turn-ports" env:"SIGNALD_TURN_PORTS" default:"49152-65535" help:"UDP ports for relaying; each allocation has one." group:"TURN server"`
	TURNMax              int      `name:"turn-max" env:"SIGNALD_TURN_MAX" default:"2000" help:"Allocations at a time; 0: no limit." group:"TURN server"`
	TURNMaxPerUser       int      `name:"turn-max-per-user" env:"SIGNALD_TURN_MAX_PER_USER" default:"64" help:"Allocations of a participant, who needs a few for each other one; 0: no limit." group:"TURN server"`
	TURNMaxPerIP         int      `name:"turn-max-per-ip" env:"SIGNALD_TURN_MAX_PER_IP" default:"256" help:"Allocations of one address (of one /64 in IPv6); 0: no limit." group:"TURN server"`
	TURNBandwidth        int      `name:"turn-bandwidth" env:"SIGNALD_TURN_BANDWIDTH" default:"1250000" help:"Bytes a second that an allocation relays, each way; what is more is dropped. 0: no limit." group:"TURN server"`
	TURNBandwidthPerUser int      `name:"turn-bandwidth-per-user" env:"SIGNALD_TURN_BANDWIDTH_PER_USER" default:"5000000" help:"Bytes a second that all allocations of a participant relay together, both ways; what is more is dropped. 0: no limit." group:"TURN server"`
	TURNBandwidthPerIP   int      `name:"turn-bandwidth-per-ip" env:"SIGNALD_TURN_BANDWIDTH_PER_IP" default:"62500000" help:"The same of one address (of one /64 in IPv6; four times as much of a /48). 0: no limit." group:"TURN server"`
	TURNBandwidthTotal   int      `name:"turn-bandwidth-total" env:"SIGNALD_TURN_BANDWIDTH_TOTAL" default:"125000000" help:"The same of all allocations: what the host's line can take in one direction. When it is full, each address has an equal part. 0: no limit." group:"TURN server"`
	TURNPrivatePeers     bool     `name:"turn-private-peers" env:"SIGNALD_TURN_PRIVATE_PEERS" help:"Relay to loopback and private networks, too: for development, and networks without Internet." group:"TURN server"`

	LogLevel     string `env:"SIGNALD_LOG_LEVEL" oneof:"debug,info,warn,error" default:"info" help:"Least important level that is logged." group:"Logging"`
	LogLevelFile string `env:"SIGNALD_LOG_LEVEL_FILE" placeholder:"FILE" help:"File with the level, instead of SIGNALD_LOG_LEVEL; read again on SIGHUP." group:"Logging"`
	LogFormat    string `env:"SIGNALD_LOG_FORMAT" oneof:"json,console" default:"json" help:"json for machines, console for people." group:"Logging"`

	WebhookURL    string   `name:"webhook-url" env:"SIGNALD_WEBHOOK_URL" placeholder:"URL" help:"Where meetings that are created, start and end, and participants that join and leave, are told of, by signed POSTs. All nodes have the same. Empty: nobody is told. Example: https://app.example.org/hooks/signald." group:"Operating" secret:"true"`
	WebhookSecret []string `env:"SIGNALD_WEBHOOK_SECRET" placeholder:"SECRET,..." help:"What webhooks are signed with: whsec_ and the base64 of 24 to 64 random bytes. While it is being changed, the new and the old one. Example: whsec_$(openssl rand -base64 32)." group:"Operating" secret:"true"`

	MetricsListen string `name:"metrics-listen" env:"SIGNALD_METRICS_LISTEN" placeholder:"HOST:PORT" help:"Address on loopback where /metrics (Prometheus) and /debug/pprof/ are served, to anyone who reaches it. Empty: off. Example: 127.0.0.1:9464." group:"Operating"`

	OTLPEndpoint string   `name:"otlp-endpoint" env:"SIGNALD_OTLP_ENDPOINT,OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" help:"OpenTelemetry collector that traces are sent to, over OTLP/HTTP; /v1/traces is added. Empty: nothing is traced. Example: http://127.0.0.1:4318." group:"Operating"`
	OTLPHeaders  []string `name:"otlp-headers" env:"SIGNALD_OTLP_HEADERS,OTEL_EXPORTER_OTLP_HEADERS" placeholder:"NAME=VALUE,..." help:"Headers that the collector wants, values in percent-encoding. Example: authorization=Bearer%20TOKEN." group:"Operating" secret:"true"`
	OTLPSample   float64  `name:"otlp-sample" env:"SIGNALD_OTLP_SAMPLE" default:"1" help:"How many of the traces that begin here are kept, 0 to 1; one that begins elsewhere is kept if it is there. Example: 0.1." group:"Operating"`

	level          *level            // of LogLevelFile
	otlpHeaders    map[string]string // OTLPHeaders, parsed
	proxies        []netip.Prefix    // TrustedProxies, parsed
	tokens         *identity.Keys    // TokenKeys, parsed; nil if there are none
	webhookSecrets []webhook.Secret  // WebhookSecret, parsed
}

// Validate reports every problem at once. kong calls it.
func (c *Config) Validate() error {
	var problems []error
	bad := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}

	c.trim()
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		bad("SIGNALD_LISTEN", "%q is not host:port", c.Listen)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		bad("SIGNALD_LISTEN", "the port %q is not a number from 0 to 65535", port)
	}
	if l := c.MetricsListen; l != "" {
		host, port, err := net.SplitHostPort(l)
		if _, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil || !isLoopback(host) {
			bad("SIGNALD_METRICS_LISTEN", "%q is not a host:port on loopback like 127.0.0.1:9464", l)
		}
	}
	if l := c.HTTPListen; l != "" {
		_, port, err := net.SplitHostPort(l)
		if _, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil {
			bad("SIGNALD_HTTP_LISTEN", "%q is not host:port", l)
		}
	}
	if strings.ContainsAny(c.Domain, " /:@,") {
		bad("SIGNALD_DOMAIN", "%q is not a domain like meet.example.org", c.Domain)
	}
	if u, err := url.Parse(c.ACMEDirectory); c.tlsMode() == "acme" && (err != nil || u.Scheme != "https" || u.Host == "") {
		bad("SIGNALD_ACME_DIRECTORY", "%q is not a URL of https", c.ACMEDirectory)
	}
	c.choices(bad)
	c.checkAudit(bad)
	switch c.tlsMode() {
	case "files":
		if c.TLSCert == "" || c.TLSKey == "" {
			bad("SIGNALD_TLS", "a certificate needs both SIGNALD_TLS_CERT and SIGNALD_TLS_KEY")
		}
	case "acme":
		if c.Domain == "" {
			bad("SIGNALD_TLS", "acme needs SIGNALD_DOMAIN")
		}
	case "off":
		if c.HTTPListen != "" {
			bad("SIGNALD_HTTP_LISTEN", "there is no HTTPS to redirect to")
		}
		if !isLoopback(host) && !c.BehindProxy {
			bad("SIGNALD_TLS", "off is for loopback, where browsers allow camera and microphone without TLS; behind a proxy that does TLS set SIGNALD_BEHIND_PROXY=true")
		}
	}
	c.checkProxies(bad)
	for _, o := range c.AllowedOrigins {
		if _, ok := normalOrigin(o); !ok {
			bad("SIGNALD_ALLOWED_ORIGINS", "%q is not an origin like https://app.example.org, https://*.example.org, capacitor://localhost or null, and would match none", o)
		}
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	if c.PublicURL != "" && !isOrigin(c.PublicURL) {
		bad("SIGNALD_PUBLIC_URL", "%q is not a scheme and a host like https://meet.example.org", c.PublicURL)
	}
	if p := c.BasePath; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "\"<>?# ")) {
		bad("SIGNALD_BASE_PATH", "%q does not look like /meet", p)
	}
	if !strings.HasPrefix(c.DatabaseURL, "sqlite:") && !strings.HasPrefix(c.DatabaseURL, "postgres://") && !strings.HasPrefix(c.DatabaseURL, "postgresql://") {
		bad("SIGNALD_DATABASE_URL", "it begins with sqlite: or postgres://")
	}
	if c.DatabaseURL == "sqlite:" {
		bad("SIGNALD_DATABASE_URL", "it names no file: sqlite:signald.db")
	}
	c.checkRedis(bad)
	servers := func(name string, urls []string, schemes ...string) { // a browser that is given another has no connection at all
		for _, u := range urls {
			scheme, rest, _ := strings.Cut(u, ":")
			if !slices.Contains(schemes, scheme) || rest == "" || strings.HasPrefix(rest, "//") {
				bad(name, "%q does not look like %s:host:3478", u, schemes[0])
			}
		}
	}
	servers("SIGNALD_STUN_URLS", c.STUN, "stun", "stuns")
	servers("SIGNALD_TURN_URLS", c.TURN, "turn", "turns")
	if len(c.TURN) > 0 && c.TURNSecret == "" {
		bad("SIGNALD_TURN_SECRET", "it is needed with SIGNALD_TURN_URLS")
	}
	c.webhooks(bad)
	c.checkTraces(bad)
	c.checkTURN(bad)
	between := func(name string, v, low, high int) {
		if v < low || v > high {
			bad(name, "%d is not between %d and %d", v, low, high)
		}
	}
	between("SIGNALD_MAX_SOCKETS", c.MaxSockets, 0, 1_000_000)
	between("SIGNALD_MAX_SOCKETS_PER_IP", c.MaxSocketsPerIP, 0, 1_000_000)
	between("SIGNALD_MAX_CONNECTIONS_PER_IP", c.MaxConnectionsPerIP, 0, 1_000_000)
	between("SIGNALD_MAX_QUEUED", c.MaxQueued, 0, 1<<20)
	between("SIGNALD_MAX_PEERS", c.MaxPeers, 1, 1000)
	between("SIGNALD_MAX_MESSAGE", c.MaxMessage, 64<<10, 1<<20)
	atLeast := func(name string, d, low time.Duration) {
		if d < low {
			bad(name, "%s is shorter than %s", d, low)
		}
	}
	atLeast("SIGNALD_PING_INTERVAL", c.PingInterval, 100*time.Millisecond)
	atLeast("SIGNALD_PING_TIMEOUT", c.PingTimeout, 100*time.Millisecond)
	atLeast("SIGNALD_DRAIN_TIMEOUT", c.DrainTimeout, 100*time.Millisecond)
	atLeast("SIGNALD_TURN_TTL", c.TURNTTL, time.Minute)
	if c.ChatRevoke < 0 {
		bad("SIGNALD_CHAT_REVOKE", "%s is negative", c.ChatRevoke)
	}
	if c.tokens, err = identity.ParseKeys(c.TokenKeys); err != nil {
		bad("SIGNALD_TOKEN_KEYS", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.TokensRequired && len(c.TokenKeys) == 0 {
		bad("SIGNALD_TOKENS_REQUIRED", "without SIGNALD_TOKEN_KEYS nobody could join")
	}
	if c.Grace < 0 {
		bad("SIGNALD_GRACE", "%s is negative", c.Grace)
	}
	return errors.Join(problems...)
}

func (c *Config) checkRedis(bad func(name, format string, args ...any)) {
	switch {
	case c.RedisURL == "":
	case !strings.HasPrefix(c.RedisURL, "redis://") && !strings.HasPrefix(c.RedisURL, "rediss://"):
		bad("SIGNALD_REDIS_URL", "it begins with redis:// or rediss://")
	case strings.HasPrefix(c.DatabaseURL, "sqlite:"):
		bad("SIGNALD_REDIS_URL", "it joins nodes that share a PostgreSQL; a SQLite file has one server, which needs no Redis")
	default:
		if err := cluster.CheckURL(c.RedisURL); err != nil {
			bad("SIGNALD_REDIS_URL", "%v", err)
		}
	}
	if n := len(c.ClusterSecret); n > mostClusterSecrets {
		bad("SIGNALD_CLUSTER_SECRET", "%d secrets are too many: at most %d", n, mostClusterSecrets)
	}
	for _, s := range c.ClusterSecret {
		if s != cluster.FromDatabase && len(s) < shortestClusterSecret {
			bad("SIGNALD_CLUSTER_SECRET", "a secret of less than %d characters can be guessed", shortestClusterSecret)
		}
	}
}

// Bounds on SIGNALD_CLUSTER_SECRET: each secret more is tried on every message of a stranger.
const (
	shortestClusterSecret = 32
	mostClusterSecrets    = 3
)

func (c *Config) webhooks(bad func(name, format string, args ...any)) {
	if u, err := url.Parse(c.WebhookURL); c.WebhookURL != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "") {
		bad("SIGNALD_WEBHOOK_URL", "it is not an address like https://app.example.org/hooks, without a user")
	}
	if c.WebhookURL != "" && len(c.WebhookSecret) == 0 {
		bad("SIGNALD_WEBHOOK_SECRET", "it is needed with SIGNALD_WEBHOOK_URL")
	}
	c.webhookSecrets = nil
	for _, s := range c.WebhookSecret {
		secret, err := webhook.ParseSecret(s)
		if err != nil {
			bad("SIGNALD_WEBHOOK_SECRET", "%v", err)
			continue
		}
		c.webhookSecrets = append(c.webhookSecrets, secret)
	}
}

func (c *Config) checkTraces(bad func(name, format string, args ...any)) {
	if c.OTLPEndpoint != "" {
		if err := tracing.CheckEndpoint(c.OTLPEndpoint); err != nil {
			bad("SIGNALD_OTLP_ENDPOINT", "%v", err)
		}
	}
	var err error
	if c.otlpHeaders, err = tracing.ParseHeaders(c.OTLPHeaders); err != nil {
		bad("SIGNALD_OTLP_HEADERS", "%v", err)
	}
	if !(c.OTLPSample >= 0 && c.OTLPSample <= 1) { // NaN is not, either
		bad("SIGNALD_OTLP_SAMPLE", "%v is not between 0 and 1", c.OTLPSample)
	}
}

// databaseSystem is how OpenTelemetry names the database.
func (c *Config) databaseSystem() string {
	if strings.HasPrefix(c.DatabaseURL, "sqlite:") {
		return "sqlite"
	}
	return "postgresql"
}

// checkAudit checks what the admin and the audit need.
func (c *Config) checkAudit(bad func(name, format string, args ...any)) {
	if admin.IsHash(c.AdminToken) {
		if err := admin.CheckHash(c.AdminToken); err != nil {
			bad("SIGNALD_ADMIN_TOKEN", "it begins as a bcrypt hash and is none that can be used: %v", err)
		}
	} else if c.AdminToken != "" && len(c.AdminToken) < shortestToken {
		bad("SIGNALD_ADMIN_TOKEN", "a token of less than %d characters can be guessed", shortestToken)
	}
	if c.AdminSession < time.Minute || c.AdminSession > 30*24*time.Hour {
		bad("SIGNALD_ADMIN_SESSION", "%s is not between 1m and 720h", c.AdminSession)
	}
	for _, group := range c.AuditEvents {
		if group != audit.Actions && group != audit.Logins {
			bad("SIGNALD_AUDIT_EVENTS", "%q is none of %s,%s", group, audit.Actions, audit.Logins)
		}
	}
	if c.AuditIP == audit.Hashed && len(c.AuditIPKey) < 16 {
		bad("SIGNALD_AUDIT_IP_KEY", "hashed addresses need a key of at least 16 characters")
	}
	if c.AuditRetention != 0 && c.AuditRetention < 24*time.Hour {
		bad("SIGNALD_AUDIT_RETENTION", "%s is shorter than 24h", c.AuditRetention)
	}
}

// trim takes white space off the ends of texts, and of the elements of lists: nobody means it.
func (c *Config) trim() {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		field := v.Field(i)
		switch {
		case !field.CanSet():
		case field.Kind() == reflect.String:
			field.SetString(strings.TrimSpace(field.String()))
		case field.Type() == reflect.TypeFor[[]string]():
			for j := range field.Len() {
				field.Index(j).SetString(strings.TrimSpace(field.Index(j).String()))
			}
		}
	}
}

// tagOf is what the tag of a setting's field says.
func tagOf(field, key string) string {
	f, _ := reflect.TypeFor[Config]().FieldByName(field) // the zero field has no tag
	return f.Tag.Get(key)
}

// choices checks the settings that are one of a few words.
func (c *Config) choices(bad func(name, format string, args ...any)) {
	v, t := reflect.ValueOf(*c), reflect.TypeFor[Config]()
	for i := range t.NumField() {
		words := t.Field(i).Tag.Get("oneof")
		if words == "" {
			continue
		}
		if value := v.Field(i).String(); !slices.Contains(strings.Split(words, ","), value) {
			bad(t.Field(i).Tag.Get("env"), "%q is none of %s", value, words)
		}
	}
}

// isOrigin reports whether s is a scheme and a host alone.
func isOrigin(s string) bool {
	u, err := url.Parse(strings.TrimRight(s, "/"))
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
}

// readEnvironment finds the variables that cannot be read as their setting's type.
// It takes them out, so that the others are checked before the program ends, and
// takes out the empty ones: they count as unset.
func readEnvironment() (problems []error) {
	problems = readSecretFiles()
	for name, kind := range variables() {
		if err := readVariable(name, kind); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// variables are the names that settings have in the environment, and their types.
func variables() iter.Seq2[string, reflect.Type] {
	return func(yield func(string, reflect.Type) bool) {
		t := reflect.TypeFor[Config]()
		for i := range t.NumField() {
			for name := range strings.SplitSeq(t.Field(i).Tag.Get("env"), ",") {
				if name != "" && !yield(name, t.Field(i).Type) {
					return
				}
			}
		}
	}
}

// secretFiles are the variables that name a file with the value of another one, a secret.
func secretFiles() (names []string) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("secret") != "" {
			for name := range strings.SplitSeq(f.Tag.Get("env"), ",") {
				names = append(names, name+fileSuffix)
			}
		}
	}
	return names
}

const (
	fileSuffix     = "_FILE"
	maxSecretBytes = 64 << 10
)

// readSecretFiles sets each secret whose file is named: containers are given them so, out of sight of whoever sees the
// environment. A list has a line for each.
func readSecretFiles() (problems []error) {
	for _, variable := range secretFiles() {
		path := os.Getenv(variable)
		if path == "" {
			continue
		}
		name := strings.TrimSuffix(variable, fileSuffix)
		value, err := readSecret(path)
		switch {
		case os.Getenv(name) != "":
			err = fmt.Errorf("%s is set, too", name)
		case err == nil:
			err = os.Setenv(name, value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", variable, err))
		}
		_ = os.Unsetenv(variable) // read: it has a name
	}
	return problems
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSecretBytes:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxSecretBytes)
	}
	lines := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return strings.Join(lines, ","), nil
}

// misspelt finds variables that look like settings and are none. Kubernetes makes
// some of its own for a service called signald.
func misspelt() (names []string) {
	known := map[string]bool{}
	for name := range variables() {
		known[name] = true
	}
	for _, name := range secretFiles() {
		known[name] = true
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "SIGNALD_") && !known[name] &&
			!strings.HasPrefix(name, "SIGNALD_SERVICE_") && !strings.HasPrefix(name, "SIGNALD_PORT") {
			names = append(names, name)
		}
	}
	return names
}

// readVariable is readEnvironment for one of them.
func readVariable(name string, kind reflect.Type) error {
	value, set := os.LookupEnv(name)
	if !set {
		return nil
	}
	if trimmed := strings.TrimSpace(value); trimmed != value { // as files and editors leave it around values
		value = trimmed
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	wanted := ""
	switch kind {
	case reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(value); err != nil {
			wanted = "a duration like 10s"
		}
	case reflect.TypeFor[int]():
		if _, err := strconv.Atoi(value); err != nil {
			wanted = "a whole number"
		}
	case reflect.TypeFor[float64]():
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			wanted = "a number"
		}
	case reflect.TypeFor[bool]():
		if !slices.Contains([]string{"true", "1", "yes", "false", "0", "no"}, strings.ToLower(value)) {
			wanted = "true or false"
		}
	}
	if value == "" || wanted != "" {
		_ = os.Unsetenv(name) // fails for names that are none
	}
	if value != "" && wanted != "" {
		return fmt.Errorf("%s: %q is not %s", name, value, wanted)
	}
	return nil
}

// tlsMode is TLS with auto resolved.
func (c *Config) tlsMode() string {
	host, _, _ := net.SplitHostPort(c.Listen) // reported by Validate
	switch {
	case c.TLS != "auto":
		return c.TLS
	case c.TLSCert != "" || c.TLSKey != "":
		return "files"
	case c.Domain != "":
		return "acme"
	case isLoopback(host) || c.BehindProxy:
		return "off"
	default:
		return "self-signed"
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// print lists the settings as environment variables, secrets masked.
func (c *Config) print(w io.Writer) {
	v, t := reflect.ValueOf(*c), reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name == "" {
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if list, ok := v.Field(i).Interface().([]string); ok {
			value = strings.Join(list, ",")
		}
		fmt.Fprintf(w, "%s=%s\n", name, mask(value, f.Tag.Get("secret")))
	}
}

func mask(value, kind string) string {
	switch {
	case value == "" || kind == "":
		return value
	case kind == "url":
		u, err := url.Parse(value)
		if err != nil {
			return "(set)"
		}
		query := u.Query()
		for key := range query {
			if strings.Contains(strings.ToLower(key), "password") {
				query.Set(key, "xxxxx")
				u.RawQuery = query.Encode()
			}
		}
		return u.Redacted()
	default:
		return "(set)"
	}
}
