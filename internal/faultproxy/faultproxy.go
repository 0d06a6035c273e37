// Package faultproxy is a link between a client and a server that goes wrong as a test wants it:
// messages are lost, late or held, connections hang, break, or are refused.
package faultproxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Direction of what passes the proxy.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy passes TCP connections on to one server. It reads WebSocket frames, so that single messages
// can be lost; what is no WebSocket passes as bytes. Its methods may be called at any time.
type Proxy struct {
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu       sync.Mutex
	links    map[*link]bool
	dead     [2]bool // nothing passes in this direction, and nobody is told
	delay    time.Duration
	drops    []drop
	refuse   func(n int) string // an HTTP answer, or "reset"
	swallow  bool               // upgrades get no answer
	accepted int
}

// drop is a message that is to be lost.
type drop struct {
	way  Direction
	text string
	done chan struct{}
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	broken         bool // under the proxy's mu: what is still in its buffers is lost
}

// New listens on a port of loopback, for the server at host:port.
func New(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, server: server, links: map[*link]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends the proxy and all connections through it.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Heal()
	p.Reset()
	p.running.Wait()
}

// Drop loses the next message in a direction that contains text; the channel is closed when it is lost.
func (p *Proxy) Drop(way Direction, text string) <-chan struct{} {
	d := drop{way, text, make(chan struct{})}
	p.change(func() { p.drops = append(p.drops, d) })
	return d.done
}

// Dead has nothing pass in a direction any more; both ends believe the connection alive.
func (p *Proxy) Dead(ways ...Direction) {
	p.change(func() {
		for _, way := range ways {
			p.dead[way] = true
		}
	})
}

// Delay has every message take so long.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

// Refuse has connections refused: answer says how, by their number from now on, beginning with 1. It
// returns a whole HTTP answer, "reset", or "" for one that passes. Nil: all pass.
func (p *Proxy) Refuse(answer func(n int) string) {
	p.change(func() { p.refuse, p.accepted = answer, 0 })
}

// SwallowUpgrades has requests for a WebSocket get no answer, as some proxies do.
func (p *Proxy) SwallowUpgrades(swallow bool) { p.change(func() { p.swallow = swallow }) }

// Heal ends every fault. What was lost stays lost.
func (p *Proxy) Heal() {
	p.change(func() { p.dead, p.delay, p.drops, p.refuse, p.swallow = [2]bool{}, 0, nil, nil, false })
}

// Reset breaks the connections there are, with a reset at both ends.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.broken = true
		l.reset()
	}
}

func (l *link) reset() {
	for _, c := range []net.Conn{l.client, l.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client}
	defer func() { _ = client.Close() }()
	in := bufio.NewReader(client)
	head, upgrade, err := readHead(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.accepted++
	answer := ""
	if p.refuse != nil {
		answer = p.refuse(p.accepted)
	}
	swallow := p.swallow && upgrade
	p.mu.Unlock()
	switch {
	case answer == "reset":
		l.reset()
		return
	case answer != "":
		_, _ = io.WriteString(client, answer)
		return
	case swallow:
		_, _ = io.Copy(io.Discard, in) // until the client gives up
		return
	}
	if l.server, err = new(net.Dialer).DialContext(context.Background(), "tcp", p.server); err != nil {
		return
	}
	defer func() { _ = l.server.Close() }()
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if _, err := l.server.Write(head); err != nil {
		return
	}
	out := bufio.NewReader(l.server)
	if upgrade {
		head, _, err := readHead(out)
		if err != nil {
			return
		}
		if _, err := client.Write(head); err != nil {
			return
		}
		upgrade = bytes.HasPrefix(head, []byte("HTTP/1.1 101"))
	}
	var ends sync.WaitGroup
	ends.Go(func() { p.pass(l, in, l.server, ToServer, upgrade); closeWrite(l.server) })
	ends.Go(func() { p.pass(l, out, client, ToClient, upgrade); closeWrite(client) })
	ends.Wait()
}

func closeWrite(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// readHead reads a request's or an answer's head, as it is, and whether it is about a WebSocket.
func readHead(r *bufio.Reader) (head []byte, upgrade bool, err error) {
	for {
		line, err := r.ReadBytes('\n')
		head = append(head, line...)
		if err != nil {
			return head, false, err
		}
		name, value, _ := strings.Cut(string(line), ":")
		upgrade = upgrade || strings.EqualFold(name, "Upgrade") && strings.EqualFold(strings.TrimSpace(value), "websocket")
		if len(bytes.TrimSpace(line)) == 0 {
			return head, upgrade, nil
		}
	}
}

// pass passes on what comes, message by message.
func (p *Proxy) pass(l *link, from *bufio.Reader, to io.Writer, way Direction, frames bool) {
	for {
		read := readChunk
		if frames {
			read = readFrame
		}
		whole, text, err := read(from)
		if err != nil {
			return
		}
		if p.await(way) && !p.lost(l, way, text) {
			if _, err := to.Write(whole); err != nil {
				return
			}
		}
	}
}

// await waits for the delay; while the direction is dead, what comes is lost.
func (p *Proxy) await(way Direction) (passes bool) {
	p.mu.Lock()
	dead, delay := p.dead[way], p.delay
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	return !dead
}

// lost reports whether a message is one that is to be lost.
func (p *Proxy) lost(l *link, way Direction, text []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.broken {
		return true
	}
	for i, d := range p.drops {
		if d.way == way && bytes.Contains(text, []byte(d.text)) {
			p.drops = append(p.drops[:i:i], p.drops[i+1:]...)
			close(d.done)
			return true
		}
	}
	return false
}

func readChunk(r *bufio.Reader) (whole, text []byte, err error) {
	b := make([]byte, 32<<10)
	n, err := r.Read(b)
	return b[:n], b[:n], err
}

// maxFrame bounds what the proxy keeps of one message.
const maxFrame = 16 << 20

var errTooLarge = errors.New("frame too large")

// readFrame reads one WebSocket frame (RFC 6455, section 5.2): all of it, and its payload unmasked.
func readFrame(r *bufio.Reader) (whole, text []byte, err error) {
	head := make([]byte, 2, 14)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	size, more := uint64(head[1]&0x7f), 0
	switch size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	masked := head[1]&0x80 != 0
	if masked {
		more += 4
	}
	head = head[:2+more]
	if _, err := io.ReadFull(r, head[2:]); err != nil {
		return nil, nil, err
	}
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		size = binary.BigEndian.Uint64(head[2:])
	}
	if size > maxFrame {
		return nil, nil, errTooLarge
	}
	whole = slices.Concat(head, make([]byte, size))
	if _, err := io.ReadFull(r, whole[len(head):]); err != nil {
		return nil, nil, err
	}
	text = bytes.Clone(whole[len(head):])
	if masked {
		mask := head[len(head)-4:]
		for i := range text {
			text[i] ^= mask[i%4]
		}
	}
	return whole, text, nil
}

// Answer is an HTTP answer for Refuse.
func Answer(status int, contentType, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), contentType, len(body), body)
}
