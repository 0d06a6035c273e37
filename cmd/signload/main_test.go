package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signald/internal/load/report"
	"signald/internal/testnode"
)

func TestExitCodeTells(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_LOG_LEVEL=warn")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"run --url " + n.URL + " --meetings 2 --per-meeting 3 --duration 0s --json " + dir + "/r.json --html " + dir + "/r.html", 0, "FINE"},
		{"run --url " + n.URL + " --meetings 1 --per-meeting 9 --duration 0s --settle 100ms", 1, "meeting_full"},
		{"run --url " + nobody, 1, "refused"},
		{"run --url " + nobody + " --peer plain --scenario fanout --meetings 1 --per-meeting 2 --duration 0s --warmup 0s", 1, "FAILED: 2 errors"},
		{"run", 2, "--url"},
		{"run --url here", 2, "here"},
		{"run --url " + n.URL + " --scenario fanout", 2, "--peer=plain"},
		{"run --url " + n.URL + " --scenario nonsense", 2, "scenario"},
		{"--help", 0, "Usage"},
		{"--version", 0, "signload"},
	} {
		var out strings.Builder
		if code := run(t.Context(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: %d, want %d and %q:\n%s", c.args, code, c.code, c.says, out.String())
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "r.json"))
	var r report.Report
	if err != nil || json.Unmarshal(b, &r) != nil || r.Joins != 6 || !r.Fine() {
		t.Errorf("the JSON: %v, %+v", err, r)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "r.html")); err != nil || !strings.Contains(string(b), "FINE") {
		t.Errorf("the page: %v", err)
	}
}
