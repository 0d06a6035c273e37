package socketio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/zishang520/socket.io/v2/socket"
)

// The fault tests talk to a server in a process of its own, because a fault of
// the bare library ends the process. SIGNALD_BARE=1 runs them against that
// library as it comes; docs/socketio-faults.md says which fail then.

const (
	faultServerEnv  = "SIGNALD_FAULT_SERVER" // "ours" or "bare": be the server, not the tests
	faultOptionsEnv = "SIGNALD_FAULT_OPTIONS"
)

var stateClient = &http.Client{Timeout: patience}

var bare = os.Getenv("SIGNALD_BARE") != ""

// faultOptions of both servers. A zero takes the server's default.
type faultOptions struct {
	PingInterval, PingTimeout time.Duration
	MaxMessage                int
	Work                      time.Duration // what the connection handler does before it is ready
}

// faultState is what the server says of itself.
type faultState struct {
	PID, Sessions, Sockets int // Sockets: in the library's registry
	Connects               int
	Ended                  map[string]int // by reason
	Numbers, Inversions    int
	Heap                   int64
}

// A faultServer is the child process, seen from the tests.
type faultServer struct {
	base   string // "http://127.0.0.1:…/socket.io/?EIO=4"
	origin string
	cmd    *exec.Cmd
	stderr lockedBuffer
	exited chan struct{}
}

// startFaultServer starts the child, which ends with the test.
func startFaultServer(t *testing.T, opts faultOptions, env ...string) *faultServer {
	t.Helper()
	kind, race := "ours", "GORACE=halt_on_error=1 atexit_sleep_ms=0"
	if bare {
		kind, race = "bare", "GORACE=halt_on_error=0 atexit_sleep_ms=0" // its races are known; they must not hide the rest
	}
	encoded, err := json.Marshal(opts)
	must(t, err)
	f := &faultServer{cmd: exec.Command(os.Args[0], "-test.run=^$"), exited: make(chan struct{})}
	f.cmd.Env = append(append(os.Environ(), faultServerEnv+"="+kind, faultOptionsEnv+"="+string(encoded), race), env...)
	f.cmd.Stderr = &f.stderr
	life, err := f.cmd.StdinPipe() // the child ends when it closes, should we be killed too
	must(t, err)
	out, err := f.cmd.StdoutPipe()
	must(t, err)
	must(t, f.cmd.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_ = f.cmd.Wait() // its state is asked below
		close(f.exited)
	}()
	if err != nil {
		<-f.exited
		t.Fatalf("the fault server did not start: %v\n%s", err, f.stderr.String())
	}
	f.origin = "http://" + strings.TrimSpace(address)
	f.base = f.origin + "/socket.io/?EIO=4"
	t.Cleanup(func() {
		life.Close()
		receive(t, "the end of the fault server", f.exited)
		if code := f.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the server's process ended with %d: %.2000s", code, f.stderr.String())
		}
	})
	return f
}

// lives reports whether the process that was started still serves.
func (f *faultServer) lives(t *testing.T) bool {
	t.Helper()
	select {
	case <-f.exited:
		return false
	default:
	}
	answer, err := stateClient.Get(f.origin + "/state")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return true
}

// mustLive ends the test if the process has ended.
func (f *faultServer) mustLive(t *testing.T) {
	t.Helper()
	if !f.lives(t) {
		<-f.exited
		first, _, _ := strings.Cut(f.stderr.String(), "\n")
		t.Fatalf("the server's process has ended: %s", first)
	}
}

func (f *faultServer) state(t *testing.T) (s faultState) {
	t.Helper()
	answer, err := stateClient.Get(f.origin + "/state")
	must(t, err)
	defer answer.Body.Close()
	must(t, json.NewDecoder(answer.Body).Decode(&s))
	equal(t, "pid", s.PID, f.cmd.Process.Pid)
	return s
}

// descriptors counts the process's open files.
func (f *faultServer) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.cmd.Process.Pid))
	must(t, err)
	return len(entries)
}

// rss is the process's memory, in bytes.
func (f *faultServer) rss(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", f.cmd.Process.Pid))
	must(t, err)
	var size, pages int64
	_, err = fmt.Sscan(string(b), &size, &pages)
	must(t, err)
	return pages * int64(os.Getpagesize())
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// From here on: inside the child.

// A faultMember is a connected client, of either server.
type faultMember interface {
	id() string
	emit(event string, args ...any)
	join(room string)
	toRoom(room, event string, args ...any)
}

// A faultApp is the application that both servers run.
type faultApp struct {
	mu     sync.Mutex
	state  faultState
	last   map[string]int // the number last seen of each member
	counts func() (sessions, sockets int)
}

func (a *faultApp) connected(m faultMember) {
	a.mu.Lock()
	a.state.Connects++
	a.last[m.id()] = 0
	a.mu.Unlock()
}

func (a *faultApp) ended(m faultMember, reason string) {
	a.mu.Lock()
	a.state.Ended[reason]++
	delete(a.last, m.id())
	a.mu.Unlock()
}

// on handles one event. ack is nil if none is wanted. An event of a member whose
// connection handler is still at work finds nothing prepared, and is lost.
func (a *faultApp) on(m faultMember, event string, args []any, ack func(...any)) {
	a.mu.Lock()
	_, isPrepared := a.last[m.id()]
	a.mu.Unlock()
	if !isPrepared {
		return
	}
	switch event {
	case "echo": // back to the sender
		m.emit("echo", args...)
	case "panic":
		panic("as ordered")
	case "number": // their order is what counts
		n := int(args[0].(float64))
		a.mu.Lock()
		a.state.Numbers++
		if n != a.last[m.id()]+1 {
			a.state.Inversions++
		}
		a.last[m.id()] = n
		a.mu.Unlock()
	case "join":
		m.join(args[0].(string))
	case "flood": // count, bytes: to the sender alone
		pad := strings.Repeat("x", int(args[1].(float64)))
		for range int(args[0].(float64)) {
			m.emit("flood", pad)
		}
	case "burst": // room, count, bytes
		pad := strings.Repeat("x", int(args[2].(float64)))
		for i := range int(args[1].(float64)) {
			m.toRoom(args[0].(string), "burst", i, pad)
		}
	}
	if ack != nil {
		ack(args...)
	}
}

func (a *faultApp) serveState(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	sessions, sockets := a.counts()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.PID, a.state.Sessions, a.state.Sockets, a.state.Heap = os.Getpid(), sessions, sockets, int64(mem.HeapAlloc)
	_ = json.NewEncoder(w).Encode(a.state) // the tests see what is missing
}

func runFaultServer(kind string) int {
	var opts faultOptions
	if err := json.Unmarshal([]byte(os.Getenv(faultOptionsEnv)), &opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	app := &faultApp{last: map[string]int{}}
	app.state.Ended = map[string]int{}
	var handler http.Handler
	stop := func() {}
	if kind == "bare" {
		handler = app.serveBare(opts)
	} else {
		handler, stop = app.serveOurs(opts)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", handler)
	mux.HandleFunc("/state", app.serveState)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(listener.Addr())
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}).Serve(listener) }()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
	stop()
	return 0
}

// ourMember keeps rooms itself: this package has none.
type ourMember struct {
	*Socket
	rooms *faultRooms
}

type faultRooms struct {
	mu      sync.Mutex
	members map[string][]*Socket
}

func (m ourMember) id() string                  { return m.ID() }
func (m ourMember) emit(ev string, args ...any) { _ = m.Emit(ev, args...) }

func (m ourMember) join(room string) {
	m.rooms.mu.Lock()
	defer m.rooms.mu.Unlock()
	m.rooms.members[room] = append(m.rooms.members[room], m.Socket)
}

func (m ourMember) toRoom(room, ev string, args ...any) {
	f, err := Encode(ev, args...)
	if err != nil {
		panic(err)
	}
	m.rooms.mu.Lock()
	defer m.rooms.mu.Unlock()
	for _, member := range m.rooms.members[room] {
		member.Send(f)
	}
}

func (r *faultRooms) leaveAll(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, members := range r.members {
		r.members[name] = slices.DeleteFunc(members, func(m *Socket) bool { return m == s })
	}
}

func (a *faultApp) serveOurs(opts faultOptions) (http.Handler, func()) {
	rooms := &faultRooms{members: map[string][]*Socket{}}
	s := New(Options{
		PingInterval: opts.PingInterval, PingTimeout: opts.PingTimeout, MaxMessage: opts.MaxMessage,
		WriteTimeout: 2 * time.Second,
		Log:          zerolog.Nop(),
		OnConnect: func(s *Socket) {
			work(opts.Work)
			a.connected(ourMember{s, rooms})
		},
		OnEvent: func(s *Socket, e *Event) {
			args := make([]any, len(e.Args))
			for i := range e.Args {
				_ = json.Unmarshal(e.Args[i], &args[i]) // valid, as checked by the parser
			}
			a.on(ourMember{s, rooms}, e.Name, args, e.Ack)
		},
		OnDisconnect: func(s *Socket, reason Reason) {
			rooms.leaveAll(s)
			a.ended(ourMember{s, rooms}, string(reason))
		},
	})
	a.counts = func() (int, int) { return s.Count(), s.lib.io.Sockets().Sockets().Len() }
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // late clients are of no interest
	}
}

// work is what a connection handler does that asks a database.
func work(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

type bareMember struct {
	*socket.Socket
	io *socket.Server
}

func (m bareMember) id() string                  { return string(m.Id()) }
func (m bareMember) emit(ev string, args ...any) { _ = m.Emit(ev, args...) }
func (m bareMember) join(room string)            { m.Join(socket.Room(room)) }
func (m bareMember) toRoom(room, ev string, args ...any) {
	_ = m.io.To(socket.Room(room)).Emit(ev, args...)
}

// serveBare serves with the library alone, used as its README shows.
func (a *faultApp) serveBare(opts faultOptions) http.Handler {
	o := socket.DefaultServerOptions()
	o.SetServeClient(false)
	if opts.PingInterval > 0 {
		o.SetPingInterval(opts.PingInterval)
	}
	if opts.PingTimeout > 0 {
		o.SetPingTimeout(opts.PingTimeout)
	}
	o.SetMaxHttpBufferSize(128 << 10)
	if opts.MaxMessage > 0 {
		o.SetMaxHttpBufferSize(int64(opts.MaxMessage))
	}
	server := socket.NewServer(nil, o)
	handler := server.ServeHandler(o)
	_ = server.On("connection", func(clients ...any) {
		m := bareMember{clients[0].(*socket.Socket), server}
		work(opts.Work)
		a.connected(m)
		for _, name := range []string{"echo", "panic", "number", "join", "flood", "burst"} {
			_ = m.On(name, func(args ...any) {
				var ack func(...any)
				if n := len(args); n > 0 {
					if answer, ok := args[n-1].(socket.Ack); ok {
						args, ack = args[:n-1], func(v ...any) { answer(v, nil) }
					}
				}
				a.on(m, name, args, ack)
			})
		}
		_ = m.On("disconnect", func(args ...any) { a.ended(m, fmt.Sprint(args[0])) })
	})
	a.counts = func() (int, int) { return int(server.Engine().ClientsCount()), server.Sockets().Sockets().Len() }
	return handler
}
