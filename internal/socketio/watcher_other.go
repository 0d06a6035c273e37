//go:build !linux

package socketio

import (
	"net"
	"syscall"
)

// A watcher would read WebSockets without a goroutine for each. Here is none.
type watcher struct{}

// BelowTLS is for Linux, where it saves the goroutine of a WebSocket over TLS.
func BelowTLS(c net.Conn) net.Conn { return c }

func watchable(net.Conn) syscall.RawConn { return nil }

func (*wsConn) unread() bool { return false }

func newWatcher() *watcher           { return nil }
func (*watcher) watch(*wsConn) error { return nil }
func (*watcher) forget(*wsConn)      {}
func (*watcher) end()                {}
