package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/pion/logging"
)

const (
	firstMessage   = 10 * time.Second // TLS handshake included
	streamSilence  = 12 * time.Minute // an allocation is refreshed at least every ten
	writeTimeout   = 10 * time.Second
	streamsPerIP   = 256
	streamsPerSite = 4 * streamsPerIP
	streamsAtOnce  = 4096
	largestMessage = 1500 // the library's buffer has 1600
	// The library takes what is shorter for the beginning of something longer. Media is never so short.
	smallestMessage = 9
)

// packets is the UDP socket. The library stops for ever at the first error, so it is
// told of one only: the end.
type packets struct{ net.PacketConn }

func (p packets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err == nil || errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
	}
}

// streams is a listener whose connections are counted, and end if they are silent.
// Of it too the library hears no error but the end.
type streams struct {
	net.Listener
	server *Server
}

func (l *streams) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil: // no file descriptors: until there are some again
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if c := l.server.stream(conn); c != nil {
			return c, nil
		}
		l.server.stats.RefusedStreams.Add(1)
		_ = conn.Close() // one too many
	}
}

// stream is a TCP or TLS connection of a client. It hands the library one whole
// message at a time, none longer than its buffer: lengths near 65535 make pion/turn
// 5.1.2 loop for ever.
type stream struct {
	net.Conn
	server *Server
	leave  func() // gives its place back
	once   sync.Once

	// Of the library's reader.
	buffer  []byte
	started bool
}

func (s *Server) stream(conn net.Conn) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	leave, _, ok := s.places.Enter(addrOf(conn.RemoteAddr()))
	if !ok {
		return nil
	}
	c := &stream{Conn: conn, server: s, leave: leave}
	s.streams[c] = struct{}{}
	s.running.Add(1)
	return c
}

func (c *stream) Close() error {
	c.once.Do(func() {
		s := c.server
		s.mu.Lock()
		delete(s.streams, c)
		s.mu.Unlock()
		c.leave()
		_ = c.Conn.Close() // nobody asks
		s.running.Done()
	})
	return nil
}

var errNotTURN = errors.New("not TURN")

// Read reads one message. b is the library's buffer.
func (c *stream) Read(b []byte) (int, error) {
	patience := streamSilence
	if !c.started {
		patience = firstMessage
	}
	_ = c.SetReadDeadline(time.Now().Add(patience)) // a closed connection says so below
	for {
		size, err := messageSize(c.buffer)
		if err != nil {
			return 0, err
		}
		if size > 0 && len(c.buffer) >= size {
			c.started = true
			n := copy(b, c.buffer[:size])
			c.buffer = append(c.buffer[:0], c.buffer[size:]...)
			if n < smallestMessage {
				continue
			}
			return n, nil
		}
		n, err := c.Conn.Read(b)
		if err != nil {
			return 0, err
		}
		c.buffer = append(c.buffer, b[:n]...)
	}
}

// messageSize is how long the message is that b begins with; 0: more of it is needed
// to know.
func messageSize(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	switch b[0] >> 6 {
	case 0: // STUN
		if len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != 0x2112A442 || size%4 != 0 {
			return 0, errNotTURN
		}
		size += 20
	case 1: // ChannelData, padded over streams
		size = 4 + (size+3)&^3
	default:
		return 0, errNotTURN
	}
	if size > largestMessage {
		return 0, errNotTURN
	}
	return size, nil
}

// Write gives up on who does not read.
func (c *stream) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // a closed connection says so below
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close() // half a message is none
	}
	return n, err
}

// silence is the library's log: what it says is about clients' mistakes, with their
// addresses.
type silence struct{}

func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }
func (silence) Trace(string)                           {}
func (silence) Tracef(string, ...any)                  {}
func (silence) Debug(string)                           {}
func (silence) Debugf(string, ...any)                  {}
func (silence) Info(string)                            {}
func (silence) Infof(string, ...any)                   {}
func (silence) Warn(string)                            {}
func (silence) Warnf(string, ...any)                   {}
func (silence) Error(string)                           {}
func (silence) Errorf(string, ...any)                  {}
