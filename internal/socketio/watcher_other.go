//go:build !linux

package socketio

// A watcher would read WebSockets without a goroutine for each. Here is none.
type watcher struct{}

func newWatcher() *watcher           { return nil }
func (*watcher) watch(*wsConn) error { return nil }
func (*watcher) forget(*wsConn)      {}
func (*watcher) end()                {}
