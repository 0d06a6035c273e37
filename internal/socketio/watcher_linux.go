package socketio

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A watcher tells which WebSockets have something to read and has them read by
// goroutines that it keeps for the purpose: one that is idle has no goroutine, no
// stack and no buffer. It is an epoll descriptor, which Go's own poller watches in
// turn, so that nothing blocks a thread.
type watcher struct {
	epoll *os.File
	next  chan *wsConn // to readers that have nothing to do
	idle  atomic.Int32 // how many of them there are
	stop  chan struct{}
	ended sync.WaitGroup // the loop and the readers

	mu    sync.Mutex
	conns map[uint64]*wsConn // by the number that their events carry
	last  uint64
}

const (
	readChunk   = 4 << 10
	idleReaders = 32 // how many may wait for work; more end when theirs is done

	edgeTriggered = 1 << 31 // EPOLLET, which syscall has as a negative number
)

// newWatcher returns nil where there is none: each WebSocket then has a goroutine.
func newWatcher() *watcher {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that Go watches it
		_ = syscall.Close(fd)
		return nil
	}
	w := &watcher{
		epoll: os.NewFile(uintptr(fd), "epoll"),
		next:  make(chan *wsConn), stop: make(chan struct{}), conns: map[uint64]*wsConn{},
	}
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		_ = w.epoll.Close()
		return nil
	}
	w.ended.Add(1)
	go w.run(raw)
	return w
}

// end waits until nobody reads any more. All sessions have ended by then.
func (w *watcher) end() {
	close(w.stop)
	_ = w.epoll.Close()
	w.ended.Wait()
}

// run waits for events until the descriptor is closed.
func (w *watcher) run(raw syscall.RawConn) {
	defer w.ended.Done()
	events := make([]syscall.EpollEvent, 128)
	_ = raw.Read(func(fd uintptr) bool { // its error is the end
		for {
			n, err := syscall.EpollWait(int(fd), events, 0)
			if err != nil && !errors.Is(err, syscall.EINTR) {
				return true
			}
			for _, e := range events[:max(n, 0)] {
				w.ready(e)
			}
			if err == nil && n < len(events) {
				return false // until there are more
			}
		}
	})
}

// ready has a connection read, unless it is being read: then its reader is told
// to look again.
func (w *watcher) ready(e syscall.EpollEvent) {
	w.mu.Lock()
	c := w.conns[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32] //nolint:gosec // as watch has put it there
	w.mu.Unlock()
	if c == nil {
		return // gone since
	}
	if e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.ending.Store(true)
	}
	if !c.turn.begin() {
		return
	}
	select {
	case w.next <- c:
	default:
		w.ended.Add(1)
		go w.read(c)
	}
}

// watch has a connection read from now on.
func (w *watcher) watch(c *wsConn) error {
	if t, ok := c.net.(*tls.Conn); ok {
		c.secure = t
		t.NetConn().(*under).waits.Store(false)
	}
	w.mu.Lock()
	w.last++
	c.number = w.last
	w.conns[c.number] = c
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edgeTriggered,
		Fd:     int32(uint32(c.number)), Pad: int32(uint32(c.number >> 32)), //nolint:gosec // two halves of a number
	}
	w.mu.Unlock()
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		epoll, err := w.epoll.SyscallConn()
		if err == nil {
			err = epoll.Control(func(to uintptr) {
				failed = syscall.EpollCtl(int(to), syscall.EPOLL_CTL_ADD, int(fd), &event)
			})
		}
		failed = errors.Join(failed, err)
	})
	if err = errors.Join(err, failed); err != nil {
		w.forget(c)
	}
	return err
}

// forget is for connections that are closed: the kernel has forgotten them.
func (w *watcher) forget(c *wsConn) {
	w.mu.Lock()
	delete(w.conns, c.number)
	w.mu.Unlock()
}

// read is a reader: it reads c, then others.
func (w *watcher) read(c *wsConn) {
	defer w.ended.Done()
	from := sources.Get().(*source)
	defer sources.Put(from)
	for {
		c.drain(from)
		if w.idle.Add(1) > idleReaders {
			w.idle.Add(-1)
			return
		}
		select {
		case c = <-w.next:
		case <-w.stop:
			return
		}
		w.idle.Add(-1)
	}
}

// unread reports whether something has come that nobody has read.
func (c *wsConn) unread() bool {
	if c.raw == nil {
		return false
	}
	waits := 0
	err := c.raw.Control(func(fd uintptr) { waits, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && waits > 0 || c.turn.taken()
}

func (c *wsConn) readInto(from *source) error {
	if c.secure != nil {
		n, err := c.secure.Read(from.buf)
		if from.n = n; n > 0 {
			return nil // the error comes again
		}
		return err
	}
	if err := c.raw.Read(from.call); err != nil {
		return err
	}
	if from.err == nil && from.n == 0 {
		return io.EOF
	}
	return from.err
}

// source is a reader's buffer, and the system call into it.
type source struct {
	buf  []byte
	n    int
	err  error
	call func(fd uintptr) bool // made once, because it allocates
}

var sources = sync.Pool{New: func() any { return newSource() }}

func newSource() *source {
	s := &source{buf: make([]byte, readChunk)}
	s.call = func(fd uintptr) bool {
		for {
			s.n, s.err = syscall.Read(int(fd), s.buf)
			if !errors.Is(s.err, syscall.EINTR) {
				return true
			}
		}
	}
	return s
}

// under is a TCP connection below TLS that can be asked for what is there, instead
// of waited for.
type under struct {
	*net.TCPConn
	raw   syscall.RawConn
	waits atomic.Bool // false: Read returns os.ErrDeadlineExceeded when nothing is there
}

// BelowTLS makes an accepted connection one whose WebSockets need no goroutine, when
// TLS is put on top of it.
func BelowTLS(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	u := &under{TCPConn: tcp, raw: raw}
	u.waits.Store(true)
	return u
}

func (u *under) Read(b []byte) (int, error) {
	if u.waits.Load() {
		return u.TCPConn.Read(b)
	}
	s := sources.Get().(*source)
	own := s.buf
	s.buf = b
	err := u.raw.Read(s.call)
	n, failed := s.n, s.err
	s.buf = own
	sources.Put(s)
	switch {
	case err != nil:
		return 0, err
	case errors.Is(failed, syscall.EAGAIN):
		return 0, os.ErrDeadlineExceeded // after which TLS may be read again
	case failed != nil:
		return 0, os.NewSyscallError("read", failed)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// watchable prepares a connection for the watcher; nil if that cannot be.
func watchable(c net.Conn) syscall.RawConn {
	switch c := c.(type) {
	case *net.TCPConn:
		raw, _ := c.SyscallConn() // fails never, or for all that follows too
		return raw
	case *tls.Conn:
		if u, ok := c.NetConn().(*under); ok {
			return u.raw
		}
	}
	return nil
}

// drain reads what there is and has it handled.
func (c *wsConn) drain(from *source) {
	for {
		more, open := c.readOnce(from)
		switch {
		case !open:
			return // and never again: the turn is not given back
		case !more && c.turn.end():
			return
		}
	}
}

// readOnce reads a chunk. more: there may be more to read.
func (c *wsConn) readOnce(from *source) (more, open bool) {
	err := c.readInto(from)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false, true
	}
	if err == nil {
		// Less than was asked for is all there is (epoll(7)), if no end is in sight and
		// nothing between us and the kernel holds more.
		more = from.n == len(from.buf) || c.ending.Load() || c.secure != nil
		err = c.session.heard(c, from.buf[:from.n])
	}
	if err != nil {
		c.session.webSocketGone(c, err)
		return false, false
	}
	return more, true
}
