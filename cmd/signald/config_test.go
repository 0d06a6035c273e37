package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

type setting struct{ env, flag, help, standard string }

// settings are all that there are, as kong sees them.
func settings(t testing.TB) (all []setting) {
	t.Helper()
	parser, err := kong.New(&commands{}, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Children {
		if node.Name != "config" {
			continue
		}
		for _, flag := range node.Flags {
			standard := func(name string) bool { return strings.HasPrefix(name, "OTEL_EXPORTER_OTLP_") }
			if len(flag.Envs) == 0 || slices.ContainsFunc(flag.Envs[1:], func(name string) bool { return !standard(name) }) || !strings.HasPrefix(flag.Envs[0], "SIGNALD_") {
				t.Errorf("--%s has no environment variable of ours: %v", flag.Name, flag.Envs)
				continue
			}
			all = append(all, setting{flag.Envs[0], flag.Name, flag.Help, flag.Default})
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d settings", len(all))
	}
	return all
}

// others are values other than the defaults, valid all together.
var others = map[string]string{
	"SIGNALD_LISTEN":                 "127.0.0.1:8081",
	"SIGNALD_TLS":                    "self-signed",
	"SIGNALD_TLS_CERT":               "/tmp/cert.pem",
	"SIGNALD_TLS_KEY":                "/tmp/key.pem",
	"SIGNALD_DOMAIN":                 "meet.example.org",
	"SIGNALD_ACME_DIRECTORY":         "https://acme.example.org/dir",
	"SIGNALD_ACME_CA":                "/tmp/ca.pem",
	"SIGNALD_ACME_EMAIL":             "ops@example.org",
	"SIGNALD_HTTP_LISTEN":            "127.0.0.1:8082",
	"SIGNALD_ACME_CACHE":             "/tmp/acme",
	"SIGNALD_BEHIND_PROXY":           "true",
	"SIGNALD_PUBLIC_URL":             "https://meet.example.org",
	"SIGNALD_BASE_PATH":              "/meet",
	"SIGNALD_TRUSTED_PROXIES":        "10.0.0.0/8,127.0.0.1",
	"SIGNALD_ALLOWED_ORIGINS":        "https://a.example,https://b.example:8443",
	"SIGNALD_DATABASE_URL":           "postgres://localhost/other",
	"SIGNALD_REDIS_URL":              "redis://localhost:6379/0",
	"SIGNALD_GEOIP_DB":               "a.mmdb,b.mmdb",
	"SIGNALD_ADMIN_TOKEN":            "an admin's token",
	"SIGNALD_ADMIN_SESSION":          "1h0m0s",
	"SIGNALD_AUDIT_EVENTS":           "actions,logins",
	"SIGNALD_AUDIT_IP":               "hashed",
	"SIGNALD_AUDIT_IP_KEY":           "a key of 16 letters",
	"SIGNALD_AUDIT_RETENTION":        "8760h0m0s",
	"SIGNALD_TOKEN_KEYS":             "a:HS256:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	"SIGNALD_TOKENS_REQUIRED":        "true",
	"SIGNALD_RATE_LIMITS":            "off",
	"SIGNALD_MAX_SOCKETS":            "7",
	"SIGNALD_MAX_SOCKETS_PER_IP":     "0",
	"SIGNALD_MAX_CONNECTIONS_PER_IP": "9",
	"SIGNALD_MAX_QUEUED":             "64",
	"SIGNALD_MAX_PEERS":              "1000",
	"SIGNALD_MAX_MESSAGE":            "65536",
	"SIGNALD_GRACE":                  "0s",
	"SIGNALD_CHAT_REVOKE":            "1h0m0s",
	"SIGNALD_PING_INTERVAL":          "1m0s",
	"SIGNALD_PING_TIMEOUT":           "100ms",
	"SIGNALD_DRAIN_TIMEOUT":          "1s",
	"SIGNALD_STUN_URLS":              "stun:a,stuns:b:5349",
	"SIGNALD_TURN_URLS":              "turn:a:3478?transport=udp,turns:b",
	"SIGNALD_TURN_SECRET":            "a secret",
	"SIGNALD_TURN_TTL":               "2h0m0s",
	"SIGNALD_TURN_LISTEN":            "127.0.0.1:3478",
	"SIGNALD_TURN_TLS_LISTEN":        "off",
	"SIGNALD_TURN_PUBLIC_IP":         "192.0.2.1,2001:db8::1",
	"SIGNALD_TURN_PORTS":             "50000-50100",
	"SIGNALD_TURN_MAX":               "100",
	"SIGNALD_TURN_MAX_PER_USER":      "8",
	"SIGNALD_TURN_MAX_PER_IP":        "16",
	"SIGNALD_TURN_BANDWIDTH":         "500000",
	"SIGNALD_TURN_PRIVATE_PEERS":     "true",
	"SIGNALD_LOG_LEVEL":              "warn",
	"SIGNALD_LOG_LEVEL_FILE":         "/etc/signald/level",
	"SIGNALD_LOG_FORMAT":             "console",
	"SIGNALD_METRICS_LISTEN":         "127.0.0.1:9464",
	"SIGNALD_WEBHOOK_URL":            "https://app.example.org/hooks?token=s3cret",
	"SIGNALD_OTLP_ENDPOINT":          "https://otel.example.org:4318",
	"SIGNALD_OTLP_HEADERS":           "authorization=Bearer%20s3cret,x-team=ops",
	"SIGNALD_OTLP_SAMPLE":            "0.25",
	"SIGNALD_WEBHOOK_SECRET":         "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3,whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY4",

	// Groups of their own, so that a longer name moves no other line.
	"SIGNALD_TURN_BANDWIDTH_PER_USER": "6000000",
	"SIGNALD_TURN_BANDWIDTH_PER_IP":   "7000000",
	"SIGNALD_TURN_BANDWIDTH_TOTAL":    "8000000",

	"SIGNALD_CANDIDATES": "public",

	"SIGNALD_CLUSTER_SECRET": "0123456789abcdef0123456789abcdef,database",
}

// secrets are the settings that are never printed.
var secrets = []string{"SIGNALD_ADMIN_TOKEN", "SIGNALD_TOKEN_KEYS", "SIGNALD_AUDIT_IP_KEY", "SIGNALD_TURN_SECRET", "SIGNALD_WEBHOOK_URL", "SIGNALD_WEBHOOK_SECRET", "SIGNALD_OTLP_HEADERS", "SIGNALD_CLUSTER_SECRET"}

// inForce reads what `signald config` prints.
func inForce(t testing.TB, args ...string) map[string]string {
	t.Helper()
	code, out, stderr := command(t, append([]string{"config"}, args...)...)
	if code != 0 {
		t.Fatalf("config: %d %s", code, stderr)
	}
	values := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, value, _ := strings.Cut(line, "=")
		values[name] = value
	}
	return values
}

func TestEverySettingIsAFlagAndAVariable(t *testing.T) {
	all, defaults := settings(t), inForce(t)
	if len(defaults) != len(all) || len(others) != len(all) {
		t.Errorf("%d settings, %d printed, %d tried", len(all), len(defaults), len(others))
	}
	var flags []string
	for _, s := range all {
		value := others[s.env]
		if value == "" || value == defaults[s.env] {
			t.Fatalf("%s: nothing to try but %q", s.env, value)
		}
		flags = append(flags, "--"+s.flag+"="+value)
	}
	check := func(t *testing.T, got map[string]string) {
		for name, want := range others {
			if slices.Contains(secrets, name) {
				want = "(set)"
			}
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
	}
	t.Run("flags", func(t *testing.T) { check(t, inForce(t, flags...)) })
	t.Run("variables", func(t *testing.T) {
		for name, value := range others {
			t.Setenv(name, value)
		}
		check(t, inForce(t))
		if got := inForce(t, "--grace=7s", "--max-peers=3"); got["SIGNALD_GRACE"] != "7s" || got["SIGNALD_MAX_PEERS"] != "3" {
			t.Errorf("a flag does not win: %v", got)
		}
	})
	t.Run("empty variables count as unset", func(t *testing.T) {
		for name := range others {
			t.Setenv(name, "")
		}
		for name, value := range inForce(t) {
			if value != defaults[name] {
				t.Errorf("%s is %q, by default %q", name, value, defaults[name])
			}
		}
	})
}

func TestConfigMasksSecrets(t *testing.T) {
	for _, c := range []struct{ value, kind, want string }{
		{"", "true", ""},
		{"s3cret", "true", "(set)"},
		{"s3cret", "", "s3cret"},
		{"", "url", ""},
		{"sqlite:signald.db", "url", "sqlite:signald.db"},
		{"sqlite::memory:", "url", "sqlite::memory:"},
		{"postgres://u:s3cret@host:5432/db?sslmode=disable", "url", "postgres://u:xxxxx@host:5432/db?sslmode=disable"},
		{"postgres://u@host/db", "url", "postgres://u@host/db"},
		{"postgres://host/db?user=u&password=s3cret", "url", "postgres://host/db?password=xxxxx&user=u"},
		{"postgres://host/db?sslpassword=s3cret", "url", "postgres://host/db?sslpassword=xxxxx"},
		{"postgres://u:s3cret%zz@host/db", "url", "(set)"},
		{"postgres://u:s3/cret@host/db", "url", "(set)"},
		{"rediss://:s3cret@host:6379/0", "url", "rediss://:xxxxx@host:6379/0"},
	} {
		if got := mask(c.value, c.kind); got != c.want {
			t.Errorf("%q (%s): %q, want %q", c.value, c.kind, got, c.want)
		}
	}
	code, out, stderr := command(t, "config", "--admin-token=s3cret-of-16-and-more", "--turn-secret=s3cret", "--database-url=postgres://u:s3cret@h/d", "--redis-url=redis://:s3cret@h",
		"--webhook-url=https://h/s3cret", "--webhook-secret=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
	if code != 0 || strings.Contains(out+stderr, "s3cret") || strings.Contains(out+stderr, "whsec_") {
		t.Errorf("%d %s %s", code, out, stderr)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	bad := map[string]string{
		"SIGNALD_LISTEN":                 "localhost",
		"SIGNALD_TLS":                    "on",
		"SIGNALD_TRUSTED_PROXIES":        "10.0.0.0/8,proxy",
		"SIGNALD_HTTP_LISTEN":            "80",
		"SIGNALD_DOMAIN":                 "https://meet.example.org",
		"SIGNALD_ALLOWED_ORIGINS":        "app.example.org",
		"SIGNALD_PUBLIC_URL":             "meet.example.org",
		"SIGNALD_BASE_PATH":              "meet/",
		"SIGNALD_DATABASE_URL":           "mysql://u:s3cret@localhost/x",
		"SIGNALD_REDIS_URL":              "localhost:6379",
		"SIGNALD_ADMIN_TOKEN":            "$2a$04$short",
		"SIGNALD_ADMIN_SESSION":          "1s",
		"SIGNALD_AUDIT_EVENTS":           "logins,everything",
		"SIGNALD_AUDIT_IP":               "hashed",
		"SIGNALD_AUDIT_IP_KEY":           "short",
		"SIGNALD_AUDIT_RETENTION":        "1h",
		"SIGNALD_OTLP_ENDPOINT":          "collector:4318",
		"SIGNALD_OTLP_HEADERS":           "Bearer s3cret",
		"SIGNALD_OTLP_SAMPLE":            "2",
		"SIGNALD_RATE_LIMITS":            "maybe",
		"SIGNALD_MAX_SOCKETS":            "-1",
		"SIGNALD_MAX_SOCKETS_PER_IP":     "1000001",
		"SIGNALD_MAX_CONNECTIONS_PER_IP": "-1",
		"SIGNALD_MAX_QUEUED":             "1048577",
		"SIGNALD_MAX_PEERS":              "many",
		"SIGNALD_MAX_MESSAGE":            "1",
		"SIGNALD_GRACE":                  "-1s",
		"SIGNALD_PING_INTERVAL":          "5",
		"SIGNALD_PING_TIMEOUT":           "1ms",
		"SIGNALD_DRAIN_TIMEOUT":          "0s",
		"SIGNALD_STUN_URLS":              "stun.example.org",
		"SIGNALD_TURN_URLS":              "turn://turn.example.org",
		"SIGNALD_TURN_SECRET":            "",
		"SIGNALD_TURN_TTL":               "1s",
		"SIGNALD_TURN_LISTEN":            "3478",
		"SIGNALD_TURN_TLS_LISTEN":        "on",
		"SIGNALD_TURN_PUBLIC_IP":         "1.1.1.1,1.1.1.2",
		"SIGNALD_TURN_PORTS":             "500-400",
		"SIGNALD_TURN_MAX":               "-1",
		"SIGNALD_TURN_MAX_PER_USER":      "100000",
		"SIGNALD_TURN_MAX_PER_IP":        "few",
		"SIGNALD_TURN_BANDWIDTH":         "1",
		"SIGNALD_TURN_PRIVATE_PEERS":     "perhaps",
		"SIGNALD_BEHIND_PROXY":           "perhaps",
		"SIGNALD_LOG_LEVEL":              "loud",
		"SIGNALD_LOG_FORMAT":             "xml",
		"SIGNALD_METRICS_LISTEN":         ":9464",
		"SIGNALD_WEBHOOK_URL":            "app.example.org/s3cret",
		"SIGNALD_WEBHOOK_SECRET":         "s3cret",
		"SIGNALD_CLUSTER_SECRET":         "s3cret",
	}
	for name, value := range bad {
		t.Setenv(name, value)
	}
	for _, name := range []string{"serve", "config"} {
		for key, value := range bad { // those that cannot be read were taken out
			t.Setenv(key, value)
		}
		code, out, stderr := command(t, name)
		if code != 2 || out != "" {
			t.Errorf("%s: %d %s", name, code, out)
		}
		for name := range bad {
			if name == "SIGNALD_AUDIT_IP" {
				continue // it is what makes the key a problem
			}
			if !strings.Contains(stderr, name+": ") {
				t.Errorf("%s is not named in:\n%s", name, stderr)
			}
		}
		if strings.Contains(stderr, "s3cret") || strings.Contains(stderr, "panic") {
			t.Errorf("%s", stderr)
		}
	}
	if code, _, stderr := command(t, "serve", "--grace=soon"); code != 2 || !strings.Contains(stderr, "--grace") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestSecretsMayBeInFiles(t *testing.T) {
	write := func(content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unset := func() {
		for _, name := range []string{"SIGNALD_CLUSTER_SECRET", "SIGNALD_REDIS_URL"} { // they are set by reading, and put back in the end
			t.Setenv(name, "")
			t.Setenv(name+"_FILE", "")
		}
	}
	const one, two = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	t.Setenv("SIGNALD_DATABASE_URL", "postgres://localhost/s")
	unset()
	t.Setenv("SIGNALD_CLUSTER_SECRET_FILE", write(one+"\n"+two+"\r\n"))
	t.Setenv("SIGNALD_REDIS_URL_FILE", write("redis://:s3cret@host:6379/0\n"))
	values := inForce(t)
	if got := values["SIGNALD_REDIS_URL"]; got != "redis://:xxxxx@host:6379/0" {
		t.Errorf("redis: %q", got)
	}
	if got := os.Getenv("SIGNALD_CLUSTER_SECRET"); got != one+","+two || values["SIGNALD_CLUSTER_SECRET"] != "(set)" {
		t.Errorf("a list: %q", got)
	}
	for content, want := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("x", 1<<17): "more than"} {
		unset()
		t.Setenv("SIGNALD_CLUSTER_SECRET_FILE", write(content))
		if code, _, stderr := command(t, "config"); code != 2 || !strings.Contains(stderr, "SIGNALD_CLUSTER_SECRET_FILE: ") || !strings.Contains(stderr, want) {
			t.Errorf("%.10q: %d %s", content, code, stderr)
		}
	}
	unset()
	t.Setenv("SIGNALD_CLUSTER_SECRET_FILE", "/nonexistent/secret")
	if code, _, stderr := command(t, "config"); code != 2 || !strings.Contains(stderr, "no such file") {
		t.Errorf("%d %s", code, stderr)
	}
	unset()
	t.Setenv("SIGNALD_CLUSTER_SECRET", one)
	t.Setenv("SIGNALD_CLUSTER_SECRET_FILE", write(two))
	if code, _, stderr := command(t, "config"); code != 2 || !strings.Contains(stderr, "is set, too") || strings.Contains(stderr, two) {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestDatabaseRedisAndAdminTokenFitTogether(t *testing.T) {
	const shared, joins = "postgres://localhost/s", "redis://localhost:6379/0"
	for _, c := range []struct {
		change  func(*Config)
		problem string
	}{
		{func(c *Config) { c.DatabaseURL, c.RedisURL = shared, joins }, ""},
		{func(c *Config) { c.RedisURL = joins }, "SIGNALD_REDIS_URL"},
		{func(c *Config) { c.DatabaseURL, c.RedisURL = shared, "redis://:s3 cret@localhost/0" }, "SIGNALD_REDIS_URL"},
		{func(c *Config) { c.DatabaseURL, c.RedisURL = shared, "redis://localhost/first" }, "SIGNALD_REDIS_URL"},
		{func(c *Config) { c.DatabaseURL = "sqlite:" }, "SIGNALD_DATABASE_URL"},
		{func(c *Config) { c.AdminToken = "0123456789abcdef" }, ""},
		{func(c *Config) { c.AdminToken = "0123456789abcde" }, "SIGNALD_ADMIN_TOKEN"},
	} {
		config := valid(c.change)
		err := config.Validate()
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem+": ") {
			t.Errorf("%s %s %s: %v", config.DatabaseURL, config.RedisURL, config.AdminToken, err)
		}
		if err != nil && strings.Contains(err.Error(), "cret") {
			t.Errorf("the secret is told: %v", err)
		}
	}
}

func TestVariablesThatAreNoSettingsAreNamed(t *testing.T) {
	t.Setenv("SIGNALD_TRUSTED_PROXY", "s3cret")
	t.Setenv("SIGNALD_PORT_443_TCP", "tcp://10.0.0.1:443")
	t.Setenv("SIGNALD_GRACE", "5s")
	r := start(t, serveArgs(t))
	log := r.log.String()
	if !strings.Contains(log, `"SIGNALD_TRUSTED_PROXY"`) || strings.Contains(log, "s3cret") || strings.Contains(log, "SIGNALD_PORT") ||
		strings.Contains(log, "SIGNALD_GRACE") {
		t.Errorf("log: %s", log)
	}
}

func TestWideTrustedNetworksAreAWarning(t *testing.T) {
	wide := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.2.0/23", "0.0.0.0/0", "::ffff:10.0.0.0/104", "fc00::/7", "fd12:3456::/64", "::/0"}
	narrow := []string{"127.0.0.1/32", "10.0.0.7", "192.0.2.0/24", "::1", "fd12:3456::7/128", "fd12::/112", "::ffff:10.0.0.1/128"}
	for _, network := range append(wide, narrow...) {
		config := valid(func(c *Config) { c.TrustedProxies = []string{"127.0.0.1/32", network} })
		if err := config.Validate(); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		if got := config.wideProxies(); len(got) > 0 != slices.Contains(wide, network) {
			t.Errorf("%s: warned of %v", network, got)
		}
	}
	const warning = "a wide network is trusted as proxies"
	if r := start(t, serveArgs(t, "--trusted-proxies=10.0.0.0/8,127.0.0.1/32")); !strings.Contains(r.log.String(), warning) {
		t.Errorf("log: %s", r.log.String())
	}
	if r := start(t, serveArgs(t, "--trusted-proxies=127.0.0.1/32")); strings.Contains(r.log.String(), warning) {
		t.Errorf("log: %s", r.log.String())
	}
}

func TestMappedTrustedNetworksAreIPv4(t *testing.T) {
	config := valid(func(c *Config) { c.TrustedProxies = []string{"::ffff:192.0.2.0/120"} })
	if err := config.Validate(); err != nil || config.proxies[0].String() != "192.0.2.0/24" {
		t.Errorf("%v, %v", config.proxies, err)
	}
}

// valid is a configuration without problems.
func valid(change func(*Config)) *Config {
	c := &Config{
		Listen: "127.0.0.1:8080", TLS: "auto", DatabaseURL: "sqlite:x.db", RateLimits: "on", MaxPeers: 8, MaxMessage: 64 << 10,
		PingInterval: time.Second, PingTimeout: time.Second, DrainTimeout: time.Second, TURNTTL: time.Hour, AdminSession: time.Hour, Candidates: "all", AuditIP: "full", LogLevel: "info", LogFormat: "json",
		ACMEDirectory: "https://acme.example.org/dir", TURNTLSListen: ":5349", TURNPorts: "49152-65535",
	}
	if change != nil {
		change(c)
	}
	return c
}

func TestTLSModes(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*Config)
		mode, problem string
	}{
		{"loopback", func(c *Config) {}, "off", ""},
		{"localhost", func(c *Config) { c.Listen = "localhost:8080" }, "off", ""},
		{"loopback of IPv6", func(c *Config) { c.Listen = "[::1]:8080" }, "off", ""},
		{"all of loopback", func(c *Config) { c.Listen = "127.9.9.9:8080" }, "off", ""},
		{"every address", func(c *Config) { c.Listen = ":443" }, "self-signed", ""},
		{"every address of IPv6", func(c *Config) { c.Listen = "[::]:443" }, "self-signed", ""},
		{"a public address", func(c *Config) { c.Listen = "192.0.2.1:443" }, "self-signed", ""},
		{"behind a proxy", func(c *Config) { c.Listen, c.BehindProxy = ":8080", true }, "off", ""},
		{"a domain", func(c *Config) { c.Listen, c.Domain = ":443", "meet.example.org" }, "acme", ""},
		{"a domain on loopback", func(c *Config) { c.Domain = "meet.example.org" }, "acme", ""},
		{"a certificate", func(c *Config) { c.TLSCert, c.TLSKey = "c", "k" }, "files", ""},
		{"a certificate and a domain", func(c *Config) { c.TLSCert, c.TLSKey, c.Domain = "c", "k", "d" }, "files", ""},
		{"a certificate without key", func(c *Config) { c.TLSCert = "c" }, "files", "SIGNALD_TLS_KEY"},
		{"a key without certificate", func(c *Config) { c.TLSKey = "k" }, "files", "SIGNALD_TLS_CERT"},
		{"files without any", func(c *Config) { c.TLS = "files" }, "files", "SIGNALD_TLS_CERT"},
		{"acme without a domain", func(c *Config) { c.TLS = "acme" }, "acme", "SIGNALD_DOMAIN"},
		{"off on loopback", func(c *Config) { c.TLS = "off" }, "off", ""},
		{"off everywhere", func(c *Config) { c.Listen, c.TLS = ":8080", "off" }, "off", "SIGNALD_BEHIND_PROXY=true"},
		{"off at a public address", func(c *Config) { c.Listen, c.TLS = "192.0.2.1:80", "off" }, "off", "SIGNALD_BEHIND_PROXY=true"},
		{"off at a name", func(c *Config) { c.Listen, c.TLS = "localhost.example.org:80", "off" }, "off", "SIGNALD_BEHIND_PROXY=true"},
		{"off behind a proxy", func(c *Config) { c.Listen, c.TLS, c.BehindProxy = ":8080", "off", true }, "off", ""},
		{"self-signed on loopback", func(c *Config) { c.TLS = "self-signed" }, "self-signed", ""},
	} {
		config := valid(c.change)
		err := config.Validate()
		if mode := config.tlsMode(); mode != c.mode {
			t.Errorf("%s: %s, want %s", c.name, mode, c.mode)
		}
		if (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) || !strings.HasPrefix(err.Error(), "SIGNALD_TLS: ")) {
			t.Errorf("%s: %v, want %s", c.name, err, c.problem)
		}
	}
}

const goodSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

func TestBoundsOfSettings(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"port 0":             func(c *Config) { c.Listen = "127.0.0.1:0" },
		"port 65535":         func(c *Config) { c.Listen = "127.0.0.1:65535" },
		"1 peer":             func(c *Config) { c.MaxPeers = 1 },
		"1000 peers":         func(c *Config) { c.MaxPeers = 1000 },
		"no grace":           func(c *Config) { c.Grace = 0 },
		"any origin":         func(c *Config) { c.AllowedOrigins = []string{"*"} },
		"origin with slash":  func(c *Config) { c.AllowedOrigins = []string{"https://a.example/"} },
		"spaces in the list": func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/8", " ::1"} },
		"deep base path":     func(c *Config) { c.BasePath = "/a/b-c_d" },
	} {
		if err := valid(change).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, changes := range map[string][]func(*Config){
		"SIGNALD_LISTEN": {
			func(c *Config) { c.Listen = "127.0.0.1:65536" }, func(c *Config) { c.Listen = "127.0.0.1:" }, func(c *Config) { c.Listen = "127.0.0.1" },
			func(c *Config) { c.Listen = "::1:80" }, func(c *Config) { c.Listen = "127.0.0.1:http" }, func(c *Config) { c.Listen = "127.0.0.1:-1" },
		},
		"SIGNALD_MAX_PEERS":       {func(c *Config) { c.MaxPeers = 0 }, func(c *Config) { c.MaxPeers = 1001 }},
		"SIGNALD_BASE_PATH":       {func(c *Config) { c.BasePath = "/" }, func(c *Config) { c.BasePath = `/"><script>` }, func(c *Config) { c.BasePath = "meet" }},
		"SIGNALD_ALLOWED_ORIGINS": {func(c *Config) { c.AllowedOrigins = []string{"https://a.example/path"} }, func(c *Config) { c.AllowedOrigins = []string{""} }, func(c *Config) { c.AllowedOrigins = []string{"https://*example.org"} }, func(c *Config) { c.AllowedOrigins = []string{"https://a.*.example"} }},
		"SIGNALD_PUBLIC_URL":      {func(c *Config) { c.PublicURL = "https://a.example/meet" }, func(c *Config) { c.PublicURL = "https://a.example?x" }, func(c *Config) { c.PublicURL = "https://u:p@a.example" }},
		"SIGNALD_TRUSTED_PROXIES": {func(c *Config) { c.TrustedProxies = []string{"10.0.0.0/33"} }, func(c *Config) { c.TrustedProxies = []string{"localhost"} }},
		"SIGNALD_TURN_SECRET":     {func(c *Config) { c.TURN = []string{"turn:a"} }},
		"SIGNALD_OTLP_ENDPOINT": {
			func(c *Config) { c.OTLPEndpoint = "http://u:p@a.example" }, func(c *Config) { c.OTLPEndpoint = "grpc://a.example:4317" },
			func(c *Config) { c.OTLPEndpoint = "http://:4318" }, func(c *Config) { c.OTLPEndpoint = "http://a.example?key=s" },
		},
		"SIGNALD_OTLP_HEADERS":   {func(c *Config) { c.OTLPHeaders = []string{"a b=c"} }, func(c *Config) { c.OTLPHeaders = []string{"a=%0d%0ab"} }, func(c *Config) { c.OTLPHeaders = []string{"=c"} }},
		"SIGNALD_OTLP_SAMPLE":    {func(c *Config) { c.OTLPSample = -0.1 }, func(c *Config) { c.OTLPSample = math.NaN() }},
		"SIGNALD_WEBHOOK_SECRET": {func(c *Config) { c.WebhookURL = "https://a.example" }, func(c *Config) { c.WebhookSecret = []string{"whsec_c2hvcnQ="} }},
		"SIGNALD_WEBHOOK_URL": {
			func(c *Config) { c.WebhookURL, c.WebhookSecret = "ftp://a.example", []string{goodSecret} },
			func(c *Config) { c.WebhookURL, c.WebhookSecret = "https://u:p@a.example", []string{goodSecret} },
			func(c *Config) { c.WebhookURL, c.WebhookSecret = "https:///path", []string{goodSecret} },
		},
	} {
		for i, change := range changes {
			if err := valid(change).Validate(); err == nil || !strings.HasPrefix(err.Error(), want+": ") {
				t.Errorf("%s, %d: %v", want, i, err)
			}
		}
	}
}

func TestProxiesAreNetworksOrAddresses(t *testing.T) {
	c := valid(func(c *Config) {
		c.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "::ffff:198.51.100.7"}
	})
	for range 2 { // kong and we may validate twice
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, p := range c.proxies {
		got = append(got, p.String())
	}
	if want := []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128", "198.51.100.7/32"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestNothingElseReadsTheEnvironment: a command reads its environment, no package does: settings are in one place. What only tests
// use is free to.
func TestNothingElseReadsTheEnvironment(t *testing.T) {
	root := "../.."
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			if d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == ".git" || strings.HasPrefix(rel, "internal/test") || filepath.Dir(rel) == "cmd" { // a command reads its own
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, ok := call.X.(*ast.Ident)
			if ok && (from.Name == "os" || from.Name == "syscall") && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, call.Sel.Name) {
				t.Errorf("%s reads the environment with %s.%s", rel, from.Name, call.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil || files < 30 {
		t.Errorf("%d files looked at, %v", files, err)
	}
}

// An agent of Kubernetes, or whoever else knows OpenTelemetry, need not know our names.
func TestCollectorMayBeNamedByTheStandardVariables(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a.example:4318")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret")
	got := inForce(t)
	if got["SIGNALD_OTLP_ENDPOINT"] != "http://a.example:4318" || got["SIGNALD_OTLP_HEADERS"] != "(set)" {
		t.Errorf("%q, %q", got["SIGNALD_OTLP_ENDPOINT"], got["SIGNALD_OTLP_HEADERS"])
	}
	t.Setenv("SIGNALD_OTLP_ENDPOINT", "http://b.example:4318")
	if got := inForce(t)["SIGNALD_OTLP_ENDPOINT"]; got != "http://b.example:4318" {
		t.Errorf("ours does not win: %q", got)
	}
}

// A proxy that is not trusted makes everybody one client: at the start, or when it first brings the header, somebody is told.
func TestForgottenTrustedProxyIsAWarning(t *testing.T) {
	if r := start(t, serveArgs(t, "--behind-proxy")); !strings.Contains(r.log.String(), "SIGNALD_TRUSTED_PROXIES is empty") {
		t.Errorf("log: %s", r.log)
	}
	ask := func(r *running) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/meetings/none", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "203.0.113.9")
		resp, err := plain.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	const warning = "not one of SIGNALD_TRUSTED_PROXIES"
	strange := start(t, serveArgs(t, "--trusted-proxies=192.0.2.7"))
	ask(strange)
	ask(strange)
	if n := strings.Count(strange.log.String(), warning); n != 1 {
		t.Errorf("warned %d times: %s", n, strange.log)
	}
	known := start(t, serveArgs(t, "--trusted-proxies=127.0.0.1/32,::1/128"))
	ask(known)
	if strings.Contains(known.log.String(), warning) {
		t.Errorf("log: %s", known.log)
	}
}

func TestClientAddressSaysWhoseARequestIs(t *testing.T) {
	for _, c := range []struct{ from, header, want string }{
		{"127.0.0.1", "203.0.113.9", "client 203.0.113.9. The header is believed"},
		{"127.0.0.1", "203.0.113.9, 127.0.0.1", "client 203.0.113.9."},
		{"192.0.2.1", "203.0.113.9", "client 192.0.2.1. The header is not believed"},
	} {
		code, out, _ := command(t, "client-address", "--trusted-proxies=127.0.0.1/32", c.from, c.header)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%+v: %d %s", c, code, out)
		}
	}
	if code, _, stderr := command(t, "client-address", "proxy"); code != 2 || !strings.Contains(stderr, "proxy") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestWhiteSpaceAroundSettingsIsNotMeant(t *testing.T) {
	for name, value := range map[string]string{
		"SIGNALD_PUBLIC_URL":      "https://meet.example.org \n",
		"SIGNALD_ALLOWED_ORIGINS": " https://a.example , https://b.example\r\n",
		"SIGNALD_MAX_PEERS":       " 12\n",
		"SIGNALD_ADMIN_TOKEN":     "\tan-admin-token-of-enough\n",
	} {
		t.Setenv(name, value)
	}
	code, out, stderr := command(t, "config", "--listen=127.0.0.1:8443", "--stun= stun:stun.example.org ")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"SIGNALD_PUBLIC_URL=https://meet.example.org\n", "SIGNALD_ALLOWED_ORIGINS=https://a.example,https://b.example\n", "SIGNALD_MAX_PEERS=12\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("config lacks %q:\n%s", want, out)
		}
	}
}

func TestAddressOfRedisIsNeverQuoted(t *testing.T) {
	for _, address := range []string{"redis://:s3c/ret@h", "redis://:s3c#ret@h", "redis://:s3 ret@h/0", "redis://:%s3zz@h", "redis://:x@h/s3notadb", "rediss://:x@h:s3/0"} {
		code, out, stderr := command(t, "config", "--listen=127.0.0.1:8443", "--database-url=postgres://u@h/d", "--redis-url="+address)
		if code != 2 || strings.Contains(out+stderr, "s3") || !strings.Contains(stderr, "SIGNALD_REDIS_URL") || !strings.Contains(stderr, "%xx") {
			t.Errorf("%s: %d %s%s", address, code, out, stderr)
		}
	}
}
