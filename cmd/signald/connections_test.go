package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// from dials from an address of the loopback network.
func from(ip string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: patience}
}

// closed reports whether the server closes a connection on which nothing is said.
func closed(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if err == nil {
		t.Fatal("the server says something")
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestSilentConnectionsOfOneAddressLeaveRoomForOthers(t *testing.T) {
	for _, tls := range []string{"off", "self-signed"} {
		t.Run(tls, func(t *testing.T) {
			r := start(t, serveArgs(t, "--max-connections-per-ip=5", "--tls="+tls))
			_, addr, _ := strings.Cut(r.url, "//")
			addr = strings.Replace(addr, "localhost", "127.0.0.1", 1)
			var open []net.Conn
			dial := func(ip string) net.Conn {
				c, err := from(ip).Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			for range 5 {
				open = append(open, dial("127.0.0.9"))
			}
			if sixth := dial("127.0.0.9"); !closed(t, sixth) {
				t.Error("the sixth connection of an address stays open")
			}
			if closed(t, open[0]) {
				t.Error("the first connection was closed")
			}
			if other := dial("127.0.0.8"); closed(t, other) {
				t.Error("another address is refused")
			}
			_ = open[0].Close()
			for deadline := time.Now().Add(patience); ; {
				if again := dial("127.0.0.9"); !closed(t, again) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("a connection that was closed is still counted")
				}
			}
			if n := strings.Count(r.log.String(), "connections refused: too many are open"); n != 1 {
				t.Errorf("the log says it %d times", n)
			}
		})
	}
}

// A WebSocket is counted as a socket, not as a connection.
func TestWebSocketsAreNotCountedAsConnections(t *testing.T) {
	r := start(t, serveArgs(t, "--max-connections-per-ip=3"))
	for range 10 {
		connect(t, r.url, nil)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(r.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%d, %v", resp.StatusCode, err)
	}
}

// The listener for plain HTTP beside TLS is another door to the same descriptors.
func TestConnectionsForPlainHTTPCountWithTheOthers(t *testing.T) {
	plainAddr := freeAddress(t)
	r := start(t, serveArgs(t, "--max-connections-per-ip=3", "--tls=self-signed", "--http-listen="+plainAddr))
	_, addr, _ := strings.Cut(r.url, "//")
	addr = strings.Replace(addr, "localhost", "127.0.0.1", 1)
	dial := func(to string) net.Conn {
		c, err := from("127.0.0.9").Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for _, to := range []string{plainAddr, addr, plainAddr} {
		if closed(t, dial(to)) {
			t.Errorf("a connection to %s is refused", to)
		}
	}
	for _, to := range []string{plainAddr, addr} {
		if !closed(t, dial(to)) {
			t.Errorf("one too many to %s stays open", to)
		}
	}
}

// A proxy holds the connections of many clients, and so may one that is no proxy but on its host.
func TestIdleConnectionsOfProxiesMakeRoom(t *testing.T) {
	c := newConnections(0, nil, zerolog.Nop())
	c.maxOfProxies = 2
	var conns [4]net.Conn
	for i := range conns {
		server, client := net.Pipe()
		t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
		conns[i] = server
	}
	isClosed := func(i int) bool {
		_ = conns[i].SetReadDeadline(time.Now())
		_, err := conns[i].Read(make([]byte, 1))
		return errors.Is(err, io.ErrClosedPipe)
	}
	c.viaProxy(conns[0])
	c.viaProxy(conns[1])
	c.changed(conns[1], http.StateIdle)
	c.viaProxy(conns[2])
	if isClosed(0) || !isClosed(1) || isClosed(2) {
		t.Error("it is not the idle connection that makes room")
	}
	c.changed(conns[1], http.StateClosed)
	c.viaProxy(conns[3])
	if isClosed(0) || isClosed(2) || !isClosed(3) {
		t.Error("without an idle connection the new one is to be closed")
	}
	for _, i := range []int{0, 2, 3} {
		c.changed(conns[i], http.StateClosed)
	}
	if n := c.ofProxies.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}
