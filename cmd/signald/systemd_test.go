package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Or `systemctl start` would come back before anyone can connect.
func TestSystemdIsToldWhenTheServerIsReadyAndWhenItStops(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Setenv("NOTIFY_SOCKET", socket)
	told := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("told %q, %v; want %q", b[:n], err, want)
		}
	}
	r := start(t, serveArgs(t))
	told("READY=1")
	r.stop()
	told("STOPPING=1")
	if code := r.code(t); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
