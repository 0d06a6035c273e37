package socketio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The real socket.io-client, as the page uses it, in Node. testdata/client has
// the program that it runs in.

const clientVersion = "4.8.4"

// modulesFolder is where socket.io-client is installed: web/, or else a folder of
// our own with what web/package-lock.json names, so as never to write into web/
// while somebody builds there.
var modulesFolder = sync.OnceValues(func() (string, error) {
	web, err := filepath.Abs("../../web")
	if err != nil {
		return "", err
	}
	if installedVersion(web) == clientVersion {
		return web, nil
	}
	fmt.Println("socket.io-client " + clientVersion + " is not in web/node_modules: installing it for this run")
	folder, err := os.MkdirTemp("", "socketio-client-")
	if err != nil {
		return "", err
	}
	atExit = append(atExit, func() { _ = os.RemoveAll(folder) })
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(web, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
			return "", err
		}
	}
	install := exec.Command("npm", "ci", "--omit=dev", "--no-audit", "--no-fund")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("these tests need Node, and npm ci in web/ or a registry to install from: %w\n%s", err, out)
	}
	return folder, nil
})

// installedVersion of socket.io-client, read whole: its folder may be half there.
func installedVersion(folder string) string {
	cmd := exec.Command("node", "-p", `require("socket.io-client") && require("socket.io-client/package.json").version`)
	cmd.Dir = folder
	out, _ := cmd.Output() // an error is an answer: none
	return strings.TrimSpace(string(out))
}

// A nodeClient is the process of one client.
type nodeClient struct {
	t      *testing.T
	orders io.Writer
	said   chan []any
}

// startNode starts a client of the server at url.
func startNode(t *testing.T, url string, options map[string]any) *nodeClient {
	t.Helper()
	folder, err := modulesFolder()
	must(t, err)
	encoded, err := json.Marshal(options)
	must(t, err)
	url, _, _ = strings.Cut(url, "/socket.io/") // a path would name a namespace
	cmd := exec.Command("node", "testdata/client/driver.mjs", folder, url, string(encoded))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	orders, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	n := &nodeClient{t: t, orders: orders, said: make(chan []any, 1000)}
	go func() {
		defer close(n.said)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line []any
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				line = []any{"not JSON", lines.Text()}
			}
			n.said <- line
		}
	}()
	t.Cleanup(func() {
		orders.Close() // which ends it
		for range n.said {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the client ended: %v\n%s", err, stderr.String())
		}
	})
	n.says("version", clientVersion)
	return n
}

func (n *nodeClient) order(what ...any) {
	n.t.Helper()
	line, err := json.Marshal(what)
	must(n.t, err)
	_, err = n.orders.Write(append(line, '\n'))
	must(n.t, err)
}

// says waits for the next line and compares it.
func (n *nodeClient) says(want ...any) {
	n.t.Helper()
	got := compact(receive(n.t, compact(want), n.said))
	if w := compact(want); got != w {
		n.t.Fatalf("the client says %s, want %s", got, w)
	}
}

// saysInAnyOrder waits for as many lines and compares them as a set.
func (n *nodeClient) saysInAnyOrder(want ...any) {
	n.t.Helper()
	var g, w []string
	for _, line := range want {
		w = append(w, compact(line))
		g = append(g, compact(receive(n.t, compact(line), n.said)))
	}
	slices.Sort(g)
	slices.Sort(w)
	equal(n.t, "the client says", strings.Join(g, " "), strings.Join(w, " "))
}

func compact(v any) string {
	b, _ := json.Marshal(v) // of what came out of JSON
	return string(b)
}

// echoOptions are those of a server for these clients.
func echoOptions() Options {
	return Options{
		OnConnect: func(s *Socket) { _ = s.Emit("hello", s.Auth()) },
		OnEvent: func(s *Socket, e *Event) {
			args := make([]any, len(e.Args))
			for i, a := range e.Args {
				args[i] = a
			}
			switch {
			case e.Name == "panic":
				panic("as ordered")
			case e.Name == "close":
				_ = s.Emit("goodbye")
				s.Close(ReasonServerDisconnect)
			case e.Name == "stay away":
				_ = s.Emit("goodbye")
				s.Disconnect()
			case e.WantsAck():
				e.Ack(args...)
			default:
				_ = s.Emit(e.Name+" back", args...)
			}
		},
	}
}

func TestRealClientOverEachTransport(t *testing.T) {
	t.Parallel()
	_, base := serve(t, echoOptions())
	for name, transports := range map[string][]string{
		"WebSocket only":      {"websocket"},
		"polling only":        {"polling"},
		"polling and upgrade": {"polling", "websocket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, base, map[string]any{"transports": transports, "auth": map[string]any{"token": "王"}})
			begins := []any{[]any{"connect"}, []any{"event", "hello", map[string]any{"token": "王"}}}
			if len(transports) == 2 {
				begins = append(begins, []any{"upgrade", "websocket"})
			}
			n.saysInAnyOrder(begins...) // the upgrade may come between the others
			n.order("transport")
			n.says("transport", transports[len(transports)-1])
			large := strings.Repeat("x", 100<<10)
			n.order("emit", "a", 1, nil, "zwei", []any{true}, large)
			n.says("event", "a back", 1, nil, "zwei", []any{true}, large)
			n.order("ack", "b", map[string]any{"x": []any{}})
			n.says("ack", nil, map[string]any{"x": []any{}})
			for i := range 100 { // in order
				n.order("ack", "n", i)
			}
			for i := range 100 {
				n.says("ack", nil, i)
			}
			n.order("ack", "panic")
			n.says("ack", nil, map[string]any{"ok": false, "code": "internal"})
			n.order("disconnect")
			n.says("disconnect", "io client disconnect", false)
			n.order("connect") // by hand
			n.saysInAnyOrder(begins...)
		})
	}
}

func TestRealClientSeesWhyItIsDisconnected(t *testing.T) {
	t.Parallel()
	ended := make(chan Reason, 10)
	opts := echoOptions()
	opts.OnDisconnect = func(_ *Socket, r Reason) { ended <- r }
	_, base := serve(t, opts)
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			n := startNode(t, base, map[string]any{"transports": []string{transport}, "reconnection": false})
			n.says("connect")
			n.says("event", "hello", map[string]any{})
			n.order("emit", "close")
			n.says("event", "goodbye") // before the end, which would hold it back
			n.says("disconnect", "transport close", true)
			equal(t, "server's reason", receive(t, "OnDisconnect", ended), ReasonServerDisconnect)

			n = startNode(t, base, map[string]any{"transports": []string{transport}})
			n.says("connect")
			n.says("event", "hello", map[string]any{})
			n.order("emit", "stay away")
			n.says("event", "goodbye")
			n.says("disconnect", "io server disconnect", false) // it does not come back by itself
			equal(t, "server's reason", receive(t, "OnDisconnect", ended), ReasonServerDisconnect)

			n = startNode(t, base, map[string]any{"transports": []string{transport}, "reconnection": false})
			n.says("connect")
			n.says("event", "hello", map[string]any{})
			n.order("emit", "binary", map[string]any{"bytes": []int{1, 2, 3}}) // its bytes are dropped by default, and it stays
			got := receive(t, "event", n.said)
			if got[0] != "event" || got[1] != "binary back" {
				t.Errorf("after a binary event the client says %v", got)
			}
			n.order("disconnect")
			n.says("disconnect", "io client disconnect", false)
			equal(t, "server's reason", receive(t, "OnDisconnect", ended), ReasonClientDisconnect)

			n = startNode(t, base, map[string]any{"transports": []string{transport}})
			n.says("connect")
			n.says("event", "hello", map[string]any{})
			n.order("disconnect")
			n.says("disconnect", "io client disconnect", false)
			equal(t, "server's reason", receive(t, "OnDisconnect", ended), ReasonClientDisconnect)
		})
	}
}

func TestRealClientIsToldWhyItIsRefused(t *testing.T) {
	t.Parallel()
	for code, opts := range map[string]Options{
		"server_full":      {MaxSockets: 1},
		"too_many_from_ip": {MaxSocketsPerIP: 1},
	} {
		for _, transport := range []string{"websocket", "polling"} {
			t.Run(code+" over "+transport, func(t *testing.T) {
				t.Parallel()
				s, base := serve(t, opts)
				first := mustConnect(t, base)
				n := startNode(t, base, map[string]any{"transports": []string{transport}})
				got := receive(t, "connect_error", n.said)
				if len(got) != 4 || got[0] != "connect_error" || got[2].(map[string]any)["code"] != code || got[1] != got[2].(map[string]any)["message"] {
					t.Errorf("the client says %v", got)
				}
				eventually(t, "only the first is left", func() bool { return s.Count() == 1 })
				must(t, first.conn.Close())
				eventually(t, "a free place", func() bool { return s.Count() == 0 })
				n.order("connect")
				n.says("connect")
			})
		}
	}
}

func TestRealClientComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := New(echoOptions())
			web := httptest.NewServer(s)
			address := web.Listener.Addr().String()
			n := startNode(t, web.URL, map[string]any{"transports": []string{transport}})
			n.says("connect")
			n.says("event", "hello", map[string]any{})
			must(t, s.Shutdown(t.Context()))
			n.says("disconnect", "transport close", true) // and will try again
			web.Close()

			again := New(echoOptions())
			listener, err := net.Listen("tcp", address)
			must(t, err)
			server := &http.Server{Handler: again}
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(func() {
				stopAtOnce(again)
				_ = server.Close()
			})
			for {
				got := receive(t, "connect", n.said)
				if got[0] == "connect_error" { // while nobody listened
					continue
				}
				equal(t, "the client says", compact(got), compact([]any{"connect"}))
				break
			}
			n.says("event", "hello", map[string]any{})
			n.order("ack", "b", 2)
			n.says("ack", nil, 2)
		})
	}
}
