// Package socketio carries Socket.IO: events in order, frames out, bounded in
// every direction.
//
// It stands on github.com/zishang520/socket.io/v2 and is the only importer of
// it. The library keeps namespaces, middlewares and the life of a Socket.IO
// socket; four parts are ours and reach it through its public extension points:
//
//   - the engine (Server.Bind takes "engine.io or compatible"): sessions,
//     heartbeat, WebSocket, long-polling and the upgrade between them;
//   - the parser: refuses what is malformed before the library sees it;
//   - the adapter: encodes once and hands one frame to every outbox;
//   - the events themselves: they go from the parser to the handler on the
//     connection's own read goroutine, in the order sent, and never through the
//     library, which would start two goroutines for each and lose their order.
//
// Sources: Engine.IO protocol v4, Socket.IO protocol v5 (both by socketio on
// GitHub), RFC 6455.
package socketio
