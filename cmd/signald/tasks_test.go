package main

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"signald/internal/admin"
	"signald/internal/password"
)

func TestHealthcheckAsksTheServerOfTheSameSettings(t *testing.T) {
	for name, more := range map[string][]string{
		"plain":           nil,
		"TLS":             {"--tls=self-signed", "--domain=meet.example.org"},
		"below base path": {"--base-path=/meet"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, serveArgs(t, more...))
			_, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(r.url, "http"), "/meet"), "://")
			args := append([]string{"healthcheck", "--listen=:" + port[strings.LastIndex(port, ":")+1:]}, more...)
			if name != "TLS" {
				args = append(args, "--behind-proxy")
			}
			if code, out, stderr := command(t, args...); code != 0 || out != "ready\n" {
				t.Errorf("%d %s %s", code, out, stderr)
			}

			r.stop()
			r.code(t)
			if code, _, stderr := command(t, args...); code != 1 || stderr == "" {
				t.Errorf("after the end: %d %s", code, stderr)
			}
		})
	}
}

func TestMigrateMakesTheSchemaAndEnds(t *testing.T) {
	database := "--database-url=sqlite:" + filepath.Join(t.TempDir(), "x.db")
	for range 2 {
		if code, out, stderr := command(t, "migrate", database); code != 0 || out != "the schema is up to date\n" {
			t.Errorf("%d %s %s", code, out, stderr)
		}
	}
	if code, out, _ := command(t, "audit", "verify", database); code != 0 || !strings.HasPrefix(out, "0 rows") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, stderr := command(t, "migrate", "--database-url=sqlite:/nowhere/x.db"); code != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestHashIsOneThatTheServerTakes(t *testing.T) {
	var out, stderr strings.Builder
	if code := (hashCommand{}).run(strings.NewReader("a token of the tests\n"), &out, &stderr); code != 0 || stderr.Len() != 0 {
		t.Fatalf("%d %s", code, stderr.String())
	}
	hash := strings.TrimSpace(out.String())
	if is, err := admin.New(hash, password.NewFast()).Is(t.Context(), netip.Addr{}, "a token of the tests"); err != nil || !is {
		t.Errorf("%q is none of it", hash)
	}
	t.Setenv("SIGNALD_ADMIN_TOKEN", hash)
	if code, out, stderr := command(t, "config"); code != 0 || !strings.Contains(out, "SIGNALD_ADMIN_TOKEN=(set)") {
		t.Errorf("%d %s %s", code, out, stderr)
	}
	for _, bad := range []string{"", "short\n", strings.Repeat("long", 20)} {
		if code := (hashCommand{}).run(strings.NewReader(bad), &out, &stderr); code != 1 {
			t.Errorf("%q: %d", bad, code)
		}
	}
}
