package main

import (
	"path/filepath"
	"strings"
	"testing"
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
