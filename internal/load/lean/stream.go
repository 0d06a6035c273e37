package lean

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// stream is a net.Conn as a pipe. Its reader is a goroutine that ends with the
// connection; its writer one that ends when there is nothing to write.
type stream struct {
	loop *Loop
	conn *Conn

	mu      sync.Mutex
	net     net.Conn // nil until dialled
	out     []byte
	writing bool
	shutAt  bool
}

func (l *Loop) openStream(c *Conn) {
	s := &stream{loop: l, conn: c}
	c.pipe = s
	go s.run()
}

func (s *stream) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.conn.target.address)
	if err == nil && s.conn.target.tls != nil {
		secure := tls.Client(nc, s.conn.target.tls)
		if err = secure.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
		}
		nc = secure
	}
	if err != nil {
		s.loop.Post(func() { s.conn.fail(fmt.Errorf("dial: %w", err)) })
		return
	}
	s.mu.Lock()
	s.net = nc
	gone := s.shutAt
	s.mu.Unlock()
	if gone {
		_ = nc.Close()
		return
	}
	s.loop.Post(s.conn.opened)
	b := make([]byte, 16<<10)
	for {
		n, err := nc.Read(b)
		if n > 0 {
			data := append([]byte(nil), b[:n]...)
			s.loop.Post(func() { s.conn.receive(data) })
		}
		if err != nil {
			_ = nc.Close()
			s.loop.Post(func() { s.conn.readFailed(err) })
			return
		}
	}
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out, b...)
	if !s.writing {
		s.writing = true
		go s.flush()
	}
	return len(b), nil
}

func (s *stream) flush() {
	var spare []byte
	for {
		s.mu.Lock()
		b := s.out
		s.out = spare[:0]
		if len(b) == 0 {
			s.writing = false
			last := s.shutAt
			s.mu.Unlock()
			if last {
				_ = s.net.Close()
			}
			return
		}
		s.mu.Unlock()
		if _, err := s.net.Write(b); err != nil {
			_ = s.net.Close() // its reader tells
			s.mu.Lock()
			s.out, s.writing = nil, false
			s.mu.Unlock()
			return
		}
		spare = b
	}
}

func (s *stream) shut(hard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutAt = true
	if s.net != nil && (hard || !s.writing) {
		_ = s.net.Close()
	}
}
