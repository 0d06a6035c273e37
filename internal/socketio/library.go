package socketio

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	epacket "github.com/zishang520/engine.io-go-parser/packet"
	"github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// newLibrary makes the library's server and puts our engine, parser and adapter
// into it.
func newLibrary(s *Server) *library {
	opts := socket.DefaultServerOptions()
	opts.SetParser(strictParser{})
	opts.SetAdapter(adapterBuilder{})
	opts.SetServeClient(false)
	opts.SetConnectTimeout(s.opts.ConnectTimeout + time.Second) // the session's own comes first
	l := &library{io: socket.NewServer(nil, opts), engine: engine.MakeBaseServer()}
	l.io.Bind(l.engine)
	for _, name := range s.opts.Namespaces {
		nsp := l.io.Of(name, nil)
		nsp.Use(func(lib *socket.Socket, next func(*socket.ExtendedError)) {
			if r := lib.Conn().(*conn).session.refusal; r != nil {
				next(socket.NewExtendedError(r.Message, r))
				return
			}
			next(nil)
		})
		_ = nsp.On("connection", func(args ...any) { // never fails, says its source
			lib := args[0].(*socket.Socket)
			if !lib.Conn().(*conn).session.connected(lib) {
				lib.Disconnect(false) // its session has ended meanwhile
			}
		})
	}
	return l
}

type library struct {
	io     *socket.Server
	engine engine.BaseServer
}

// open introduces a session to the library.
func (l *library) open(s *session) *conn {
	c := &conn{session: s}
	l.engine.Emit("connection", c)
	return c
}

// conn is a session as the library sees it: an engine.Socket. The embedded
// interfaces are nil: what the library does not call is not there.
type conn struct {
	engine.Socket
	session *session

	// set while the library makes its client, before the session starts; read-only after
	onData, onClose events.Listener
}

func (c *conn) On(name events.EventName, listeners ...events.Listener) error {
	if name == "data" {
		c.onData = listeners[0]
	}
	return nil
}

func (c *conn) Once(name events.EventName, listeners ...events.Listener) error {
	if name == "close" {
		c.onClose = listeners[0]
	}
	return nil
}

// RemoveListener does nothing: a session that has ended receives no more, and
// tells its end once.
func (c *conn) RemoveListener(events.EventName, events.Listener) bool { return true }

func (c *conn) Id() string                      { return c.session.id }
func (c *conn) Protocol() int                   { return 4 }
func (c *conn) RemoteAddress() string           { return c.session.ip.String() }
func (c *conn) Request() *types.HttpContext     { return noRequest }
func (c *conn) Transport() transports.Transport { return nil }
func (c *conn) Close(bool)                      { c.session.finish(ReasonServerDisconnect) }

func (c *conn) ReadyState() string {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.session.state == open {
		return "open"
	}
	return "closed"
}

// Write sends a packet that the library made: the answers to CONNECT, and broadcasts.
func (c *conn) Write(data io.Reader, _ *epacket.Options, _ engine.SendCallback) engine.Socket {
	b, _ := io.ReadAll(data) // from memory, and never empty
	kind := parser.PacketType(b[0])
	if kind == parser.DISCONNECT { // said to a client that has just said it
		return c
	}
	c.session.send(textFrame("4" + string(b)))
	if kind == parser.CONNECT_ERROR {
		c.session.connected(nil)
		if c.session.refusal != nil {
			c.session.finish(ReasonServerDisconnect)
		}
	}
	return c
}

func (c *conn) receive(p *parser.Packet) { c.onData(p) }
func (c *conn) closed(reason string)     { c.onClose(reason) }

// noRequest stands for every session's request, so that none is kept alive for
// the library's sake: what we want of it, the session has.
var noRequest = func() *types.HttpContext {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // ends the goroutine that the context comes with
	r := (&http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}).WithContext(ctx)
	return types.NewHttpContext(discard{}, r)
}()

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// strictParser encodes for the library, and passes it packets that parsePacket
// has already read.
type strictParser struct{}

func (strictParser) NewEncoder() parser.Encoder { return encoder{} }
func (strictParser) NewDecoder() parser.Decoder { return &decoder{} }

type encoder struct{}

// Encode makes the text of a packet. One that cannot be encoded is left out: the
// library's own are made of strings.
func (encoder) Encode(p *parser.Packet) []types.BufferInterface {
	w := newFrameWriter(64)
	w.WriteByte(byte(p.Type))
	if p.Nsp != "" {
		writeNamespace(w, p.Nsp)
	}
	if p.Data != nil {
		if err := w.json(p.Data); err != nil {
			return nil
		}
	}
	return []types.BufferInterface{types.NewStringBuffer(w.Bytes()[maxHeader:])}
}

type decoder struct {
	events.EventEmitter
	onDecoded events.Listener
}

func (d *decoder) On(name events.EventName, listeners ...events.Listener) error {
	if name == "decoded" {
		d.onDecoded = listeners[0]
	}
	return nil
}

func (d *decoder) RemoveListener(events.EventName, events.Listener) bool { return true }
func (d *decoder) Destroy()                                              {}

func (d *decoder) Add(data any) error {
	p, ok := data.(*parser.Packet)
	if !ok {
		return errors.New("socketio: the decoder takes packets, not text")
	}
	d.onDecoded(p)
	return nil
}

// adapterBuilder makes adapters that keep no rooms (who is in a meeting is not
// the transport's to know) and send one frame to every outbox.
type adapterBuilder struct{}

func (adapterBuilder) New(nsp socket.Namespace) socket.Adapter {
	a := &adapter{Adapter: socket.MakeAdapter()}
	a.Prototype(a)
	a.Construct(nsp)
	return a
}

type adapter struct{ socket.Adapter }

func (*adapter) AddAll(socket.SocketId, *types.Set[socket.Room]) {}
func (*adapter) Del(socket.SocketId, socket.Room)                {}
func (*adapter) DelAll(socket.SocketId)                          {}

// Broadcast sends the packet to everyone in the namespace.
func (a *adapter) Broadcast(p *parser.Packet, _ *socket.BroadcastOptions) {
	p.Nsp = a.Nsp().Name()
	for _, text := range (encoder{}).Encode(p) {
		f := textFrame("4" + text.String())
		a.Nsp().Sockets().Range(func(_ socket.SocketId, lib *socket.Socket) bool {
			lib.Conn().(*conn).session.send(f)
			return true
		})
	}
}
