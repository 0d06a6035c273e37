package socketio

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
)

// Options of a Server. The zero value of a field takes the default it names.
type Options struct {
	// Path that the server answers on, with a trailing slash. Default "/socket.io/".
	Path string
	// Namespaces that clients may connect to. Default "/" alone.
	Namespaces []string

	// PingInterval is the time between a pong and the next ping. Default 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a pong may take. Default 20 s.
	PingTimeout time.Duration
	// ConnectTimeout is how long a session may be in no namespace. Default 5 s.
	ConnectTimeout time.Duration
	// UpgradeTimeout bounds the change from polling to WebSocket. Default 10 s.
	UpgradeTimeout time.Duration
	// WriteTimeout bounds one write, and how long a closing session may take to
	// read what was sent to it. Default 10 s.
	WriteTimeout time.Duration

	// MaxMessage is the largest packet or polling body, in bytes. Default 128 KiB.
	MaxMessage int
	// MaxQueued and MaxQueuedBytes bound what waits for one client; a client
	// over either is closed with ReasonSlowConsumer. Default 1,024 and 4 MiB.
	MaxQueued, MaxQueuedBytes int
	// MaxMemory bounds what all clients together have waiting, in bytes: what is to be sent to them or is
	// being sent, and messages whose end has not come. When it is used up, those with the most are closed
	// with ReasonSlowConsumer until an eighth is free; 0 is no bound. OnPressure is told when a
	// quarter is in use, and when it is down to an eighth again; one call at a time.
	MaxMemory  int
	OnPressure func(high bool)
	// Packets bounds what one client has the server read; the zero Pace is no bound. Each read from a
	// WebSocket, each frame, each POST and each packet in it counts as one; of reads and fragments of half
	// a KiB and more eight do. A client that sends more is closed with ReasonRateLimited: an application
	// answers events that come too often, but hears nothing of pongs, noops and fragments.
	Packets Pace
	// MaxSockets bounds the sessions of this server; 0 is no bound.
	MaxSockets int
	// MaxSocketsPerIP bounds the sessions of one network, and with four times as many those of one
	// site; 0 is no bound.
	MaxSocketsPerIP int
	// Owners are the network and the site that an address belongs to. Default: both are the address.
	Owners func(netip.Addr) (network, site netip.Prefix)
	// SocketsElsewhere is how many sockets a network or a site has at other servers, to count
	// together with those here; OnCount is told how many it has here, whenever that
	// changes. Both are called under the server's lock and must not block.
	SocketsElsewhere func(netip.Prefix) int
	OnCount          func(netip.Prefix, int)
	// AllowBinary keeps the attachments of binary events. By default they are dropped as they
	// come, and Event.Binary says that there were some.
	AllowBinary bool

	// Readmit reports whether a client that is one too many is to be let in all the same, by what its
	// CONNECT holds. It may take its time. Default: none is.
	Readmit func(ip netip.Addr, auth json.RawMessage) bool

	// AllowOrigin says whether a page of this origin may connect. Default: the
	// request's own host only. Requests without an Origin header always may.
	AllowOrigin func(r *http.Request, origin string) bool
	// ClientIP finds the client's address. Default: the connection's peer.
	ClientIP func(*http.Request) netip.Addr

	// OnConnect, OnEvent and OnDisconnect are called one at a time for a socket,
	// in this order, each socket in its own goroutine. OnDisconnect comes exactly
	// once for every OnConnect. A panic in them is recovered: the client's ack is
	// what OnPanic returns.
	OnConnect    func(*Socket)
	OnEvent      func(*Socket, *Event)
	OnDisconnect func(*Socket, Reason)
	// OnConfirmed is called, as OnEvent is, when the client has answered a ping that was
	// sent after what Track has marked: everything up to this mark has reached it. It is
	// not called while nothing is tracked, so an idle client costs nothing.
	OnConfirmed func(s *Socket, mark uint64)
	// OnPanic turns what a handler panicked with into the answer of the event's
	// ack. It must not panic. Default: {"ok":false,"code":"internal"}.
	OnPanic func(s *Socket, event string, recovered any, stack []byte) any

	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	def(&o.Path, "/socket.io/")
	def(&o.PingInterval, 25*time.Second)
	def(&o.PingTimeout, 20*time.Second)
	def(&o.ConnectTimeout, 5*time.Second)
	def(&o.UpgradeTimeout, 10*time.Second)
	def(&o.WriteTimeout, 10*time.Second)
	def(&o.MaxMessage, 128<<10)
	def(&o.MaxQueued, 1024)
	def(&o.MaxQueuedBytes, 4<<20)
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"/"}
	}
	if o.AllowOrigin == nil {
		o.AllowOrigin = SameOrigin
	}
	if o.ClientIP == nil {
		o.ClientIP = peerIP
	}
	if o.SocketsElsewhere == nil {
		o.SocketsElsewhere = func(netip.Prefix) int { return 0 }
	}
	if o.Owners == nil {
		o.Owners = func(ip netip.Addr) (network, site netip.Prefix) {
			p, _ := ip.Prefix(ip.BitLen()) // the zero Prefix for the zero Addr
			return p, p
		}
	}
	if o.OnCount == nil {
		o.OnCount = func(netip.Prefix, int) {}
	}
	if o.OnConnect == nil {
		o.OnConnect = func(*Socket) {}
	}
	if o.OnEvent == nil {
		o.OnEvent = func(*Socket, *Event) {}
	}
	if o.Readmit == nil {
		o.Readmit = func(netip.Addr, json.RawMessage) bool { return false }
	}
	if o.OnDisconnect == nil {
		o.OnDisconnect = func(*Socket, Reason) {}
	}
	if o.OnConfirmed == nil {
		o.OnConfirmed = func(*Socket, uint64) {}
	}
	if o.OnPanic == nil {
		o.OnPanic = func(*Socket, string, any, []byte) any {
			return map[string]any{"ok": false, "code": "internal"}
		}
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Reason says why a session ended. The first five are Socket.IO's own words.
type Reason string

// Reasons for a session's end.
const (
	ReasonTransportClose   Reason = "transport close"
	ReasonTransportError   Reason = "transport error"
	ReasonPingTimeout      Reason = "ping timeout"
	ReasonParseError       Reason = "parse error"
	ReasonClientDisconnect Reason = "client namespace disconnect"
	ReasonServerDisconnect Reason = "server namespace disconnect"
	ReasonConnectTimeout   Reason = "connect timeout"
	ReasonSlowConsumer     Reason = "slow_consumer"
	ReasonRateLimited      Reason = "rate_limited"
	ReasonShutdown         Reason = "server shutting down"
)
