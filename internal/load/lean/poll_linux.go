package lean

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// poller waits for descriptors. Events carry a descriptor and its generation: a
// closed descriptor's number may be in use again before its last event is read.
type poller struct {
	epoll      int
	wakeR      int
	wakeW      int
	events     []syscall.EpollEvent
	sockets    map[int32]*socket
	generation int32
}

const ipBindAddressNoPort = 24 // linux/in.h

func newPoller() (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		_ = syscall.Close(epoll)
		return nil, fmt.Errorf("pipe: %w", err)
	}
	p := &poller{
		epoll: epoll, wakeR: pipe[0], wakeW: pipe[1],
		events: make([]syscall.EpollEvent, 512), sockets: map[int32]*socket{},
	}
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, p.wakeR, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(p.wakeR)})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	for _, fd := range []int{p.epoll, p.wakeR, p.wakeW} {
		_ = syscall.Close(fd)
	}
}

func (p *poller) wake() {
	_, _ = syscall.Write(p.wakeW, []byte{0}) // full is woken enough
}

// wait handles what has happened, and returns when something has, or after d.
func (p *poller) wait(l *Loop, d time.Duration) {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := syscall.EpollWait(p.epoll, p.events, ms)
	if err != nil {
		return // EINTR: the loop comes again
	}
	for _, e := range p.events[:n] {
		if e.Fd == int32(p.wakeR) {
			for {
				if n, err := syscall.Read(p.wakeR, l.read); n <= 0 || err != nil {
					break
				}
			}
			continue
		}
		if s := p.sockets[e.Fd]; s != nil && s.generation == e.Pad {
			s.ready(l, e.Events)
		}
	}
}

// socket is a non-blocking TCP socket: a pipe.
type socket struct {
	poll       *poller
	conn       *Conn
	fd         int
	generation int32
	events     uint32
	connected  bool
}

// open dials c's target.
func (l *Loop) open(c *Conn) {
	if c.target.tls != nil {
		l.openStream(c)
		return
	}
	if err := l.dialSocket(c); err != nil {
		l.After(0, func() { c.fail(fmt.Errorf("dial: %w", err)) })
	}
}

func (l *Loop) dialSocket(c *Conn) error {
	family, to := sockaddr(c.target)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := prepare(fd, c.target, l.dials); err != nil {
		_ = syscall.Close(fd)
		return err
	}
	if err := syscall.Connect(fd, to); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		_ = syscall.Close(fd)
		return err
	}
	l.poll.generation++
	s := &socket{poll: l.poll, conn: c, fd: fd, generation: l.poll.generation}
	c.pipe = s
	l.poll.sockets[int32(fd)] = s
	return s.want(syscall.EPOLLOUT)
}

func sockaddr(t *Target) (family int, to syscall.Sockaddr) {
	port := int(t.ip.Port())
	if t.ip.Addr().Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: t.ip.Addr().As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: port, Addr: t.ip.Addr().As16()}
}

// loopbacks is how many addresses of 127.0.0.0/8 are dialled from in turn: one has
// about 28,000 ports.
const loopbacks = 16

func prepare(fd int, t *Target, n int) error {
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	if !t.loopback {
		return nil
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1); err != nil {
		return err
	}
	return syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + n%loopbacks)}})
}

func (s *socket) want(events uint32) error {
	op := syscall.EPOLL_CTL_MOD
	if s.events == 0 {
		op = syscall.EPOLL_CTL_ADD
	}
	if events == s.events {
		return nil
	}
	s.events = events
	return syscall.EpollCtl(s.poll.epoll, op, s.fd, &syscall.EpollEvent{Events: events, Fd: int32(s.fd), Pad: s.generation})
}

func (s *socket) ready(l *Loop, events uint32) {
	if !s.connected {
		code, err := syscall.GetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		if err == nil {
			err = s.want(syscall.EPOLLIN)
		}
		if err != nil {
			s.conn.fail(fmt.Errorf("dial: %w", err))
			return
		}
		s.connected = true
		s.conn.opened()
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		if err := s.want(syscall.EPOLLIN); err != nil {
			s.conn.fail(err)
			return
		}
		s.conn.writable()
	}
	if events&^syscall.EPOLLOUT == 0 || s.fd < 0 {
		return
	}
	n, err := syscall.Read(s.fd, l.read)
	switch {
	case n > 0:
		s.conn.receive(l.read[:n])
	case err == nil:
		s.conn.readFailed(io.EOF)
	case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
		s.conn.readFailed(err)
	}
}

func (s *socket) write(b []byte) (int, error) {
	n, err := syscall.Write(s.fd, b)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		n, err = max(n, 0), nil
	}
	if err != nil {
		return 0, err
	}
	if n < len(b) {
		err = s.want(syscall.EPOLLIN | syscall.EPOLLOUT)
	}
	return n, err
}

func (s *socket) shut(hard bool) {
	if s.fd < 0 {
		return
	}
	if hard { // a reset, if it was connected
		_ = syscall.SetsockoptLinger(s.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	}
	delete(s.poll.sockets, int32(s.fd))
	_ = syscall.Close(s.fd)
	s.fd = -1
}
