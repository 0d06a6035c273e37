// Package lean drives many Socket.IO clients from one goroutine: a client at rest
// costs a descriptor and a few hundred bytes.
//
// Plain TCP on Linux is driven by epoll, without a goroutine for each connection;
// everything else (TLS, other systems) goes through net.Conn with two. What a
// connection says is the same.
//
// Sources: RFC 6455; Engine.IO protocol v4, Socket.IO protocol v5.
package lean

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Loop is an event loop. Connections and timers belong to the goroutine of Run:
// but for Post and Do, nothing here may be called from elsewhere.
type Loop struct {
	start time.Time
	poll  *poller

	timers timers
	dirty  []*Conn
	free   [][]byte
	read   []byte
	dials  int // for the address to dial from
	ended  bool

	// BytesIn and BytesOut count what the connections carried, handshakes too.
	BytesIn, BytesOut, MessagesIn, MessagesOut int64

	mu     sync.Mutex
	posted []func()
}

// New makes a loop; start is the zero of its clock.
func New(start time.Time) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &Loop{start: start, poll: p, read: make([]byte, 256<<10)}, nil
}

// Now is the loop's clock, in ns.
func (l *Loop) Now() int64 { return int64(time.Since(l.start)) }

// Post has f called on the loop's goroutine.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	l.posted = append(l.posted, f)
	first := len(l.posted) == 1
	l.mu.Unlock()
	if first {
		l.poll.wake()
	}
}

// Do is Post that waits for f to return. Run must be running.
func (l *Loop) Do(f func()) {
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	<-done
}

// After has f called in d.
func (l *Loop) After(d time.Duration, f func()) { l.timers.push(timer{l.Now() + int64(d), f}) }

// Stop lets Run return. What is open stays open until then.
func (l *Loop) Stop() { l.Post(func() { l.ended = true }) }

// Run works until Stop.
func (l *Loop) Run() {
	defer l.poll.close()
	for !l.ended {
		l.poll.wait(l, l.timers.wait(l.Now()))
		l.mu.Lock()
		posted := l.posted
		l.posted = nil
		l.mu.Unlock()
		for _, f := range posted {
			f()
		}
		l.timers.run(l)
		l.flush()
	}
}

// flush writes what was said since the last time: one system call a connection.
func (l *Loop) flush() {
	for i := 0; i < len(l.dirty); i++ { // closing one may make others speak
		c := l.dirty[i]
		c.isDirty = false
		c.flush()
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
}

// maxPooled bounds the buffers that are kept for reuse.
const maxPooled = 64 << 10

func (l *Loop) buffer() []byte {
	if n := len(l.free); n > 0 {
		b := l.free[n-1]
		l.free = l.free[:n-1]
		return b
	}
	return make([]byte, 0, 4<<10)
}

func (l *Loop) recycle(b []byte) {
	if cap(b) <= maxPooled && len(l.free) < 1024 {
		l.free = append(l.free, b[:0])
	}
}

// Target is where connections go.
type Target struct {
	address  string // host:port
	ip       netip.AddrPort
	request  []byte // the whole upgrade request
	tls      *tls.Config
	loopback bool
}

// Resolve prepares a target: base is the server's address, as https://host/meet.
func Resolve(ctx context.Context, base string, conf *tls.Config) (*Target, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	switch {
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is not an address like http://127.0.0.1:8080", base)
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, err
	}
	ip := addrs[0].Unmap()
	for _, a := range addrs {
		if a.Unmap().Is4() { // loopback has many addresses in IPv4 only
			ip = a.Unmap()
			break
		}
	}
	t := &Target{address: net.JoinHostPort(ip.String(), port), loopback: ip.IsLoopback() && ip.Is4()}
	if t.ip, err = netip.ParseAddrPort(t.address); err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		t.tls = conf.Clone()
		t.tls.ServerName = u.Hostname()
		t.tls.NextProtos = []string{"http/1.1"}
	}
	t.request = fmt.Appendf(nil, "GET %s/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUser-Agent: signload\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2lnbmFsZC1zaWdubG9hZA==\r\n\r\n",
		strings.TrimRight(u.EscapedPath(), "/"), u.Host)
	return t, nil
}

// Loopback reports whether the target is this machine.
func (t *Target) Loopback() bool { return t.ip.Addr().IsLoopback() }

// Port is the target's port.
func (t *Target) Port() int { return int(t.ip.Port()) }
