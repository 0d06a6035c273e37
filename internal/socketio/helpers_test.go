package socketio

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a test waits for what must come. It is long because it
// is only spent when something is broken.
const patience = 20 * time.Second

// TestMain is also the entrance of the child processes of the fault tests.
func TestMain(m *testing.M) {
	if kind := os.Getenv(faultServerEnv); kind != "" {
		os.Exit(runFaultServer(kind))
	}
	code := m.Run()
	for _, clean := range atExit {
		clean()
	}
	os.Exit(code)
}

// atExit is done after the last test.
var atExit []func()

// serve runs a server on a free port of the loopback and returns it with the URL
// that clients open, which ends in "?EIO=4".
func serve(t testing.TB, opts Options) (*Server, string) {
	t.Helper()
	s := New(opts)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		stopAtOnce(s)
		web.Close()
	})
	return s, web.URL + s.opts.Path + "?EIO=4"
}

// stopAtOnce closes all sessions and waits for everything that the server started.
func stopAtOnce(s *Server) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(now) // its error is that now has passed
	s.running.Wait()
}

// eventually waits until what becomes true.
func eventually(t testing.TB, what string, isTrue func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !isTrue(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// receive waits for the next value of a channel.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("not in %v: %s", patience, what)
		panic("unreachable")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// A wsClient is a Socket.IO client over a WebSocket that says exactly what it is
// told to.
type wsClient struct {
	conn  *websocket.Conn
	hello map[string]any // the open packet
}

// dial opens a session over a WebSocket.
func dial(base string) (*wsClient, error) {
	c, err := dialRaw(base)
	if err != nil {
		return nil, err
	}
	open, err := c.read()
	if err == nil && !strings.HasPrefix(open, "0") {
		err = fmt.Errorf("opened with %q", open)
	}
	if err == nil {
		err = json.Unmarshal([]byte(open[1:]), &c.hello)
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// dialRaw opens a WebSocket and reads nothing from it.
func dialRaw(base string) (*wsClient, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	conn, answer, err := d.Dial("ws"+strings.TrimPrefix(base, "http")+"&transport=websocket", nil)
	if err != nil {
		if answer != nil {
			err = fmt.Errorf("%w: %s", err, answer.Status)
		}
		return nil, err
	}
	return &wsClient{conn: conn}, nil
}

// dialConnected opens a session and connects the default namespace.
func dialConnected(base string) (*wsClient, error) {
	c, err := dial(base)
	if err != nil {
		return nil, err
	}
	if err := c.send("40"); err != nil {
		return nil, err
	}
	answer, err := c.next()
	if err == nil && !strings.HasPrefix(answer, "40{") {
		err = fmt.Errorf("CONNECT answered %q", answer)
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

func mustDial(t testing.TB, base string) *wsClient { return mustOpen(t, base, dial) }

func mustConnect(t testing.TB, base string) *wsClient { return mustOpen(t, base, dialConnected) }

func mustOpen(t testing.TB, base string, open func(string) (*wsClient, error)) *wsClient {
	t.Helper()
	c, err := open(base)
	must(t, err)
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *wsClient) send(packet string) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience)) // cannot fail
	return c.conn.WriteMessage(websocket.TextMessage, []byte(packet))
}

func (c *wsClient) sendBinary(data []byte) error {
	return c.conn.WriteMessage(websocket.BinaryMessage, data)
}

// read returns the next message, pings too.
func (c *wsClient) read() (string, error) { return c.readWithin(patience) }

func (c *wsClient) readWithin(d time.Duration) (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(d)) // cannot fail
	_, b, err := c.conn.ReadMessage()
	return string(b), err
}

// next returns the next message that is not a ping, and answers those.
func (c *wsClient) next() (string, error) {
	for deadline := time.Now().Add(patience); ; {
		m, err := c.readWithin(time.Until(deadline))
		if err != nil || m != "2" {
			return m, err
		}
		if err := c.send("3"); err != nil {
			return "", err
		}
	}
}

// wants reads the next message and compares.
func (c *wsClient) wants(t testing.TB, want string) {
	t.Helper()
	got, err := c.next()
	if err != nil {
		t.Fatalf("wanted %q: %v", want, err)
	}
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// wantsPrefix is wants for a message whose end is not known.
func (c *wsClient) wantsPrefix(t testing.TB, want string) string {
	t.Helper()
	got, err := c.next()
	if err != nil {
		t.Fatalf("wanted %q…: %v", want, err)
	}
	if !strings.HasPrefix(got, want) {
		t.Fatalf("got %q, want %q…", got, want)
	}
	return got
}

// says sends the packets, each as a message.
func (c *wsClient) says(t testing.TB, packets ...string) {
	t.Helper()
	for _, p := range packets {
		must(t, c.send(p))
	}
}

// wantsEnd reads until the server has closed the connection. It answers pings,
// or any session would end some time.
func (c *wsClient) wantsEnd(t testing.TB) {
	t.Helper()
	m, err := c.next()
	if isTimeout(err) {
		t.Fatal("the server did not close the connection")
	}
	if err == nil {
		t.Fatalf("got %q, want the end of the connection", m)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A poller is a client over long-polling.
type poller struct {
	base, sid string
	web       *http.Client
}

// openPolling opens a session over long-polling.
func openPolling(t testing.TB, base string) *poller {
	t.Helper()
	p := &poller{base: base + "&transport=polling", web: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	t.Cleanup(p.web.CloseIdleConnections)
	status, open := p.get(t)
	if status != http.StatusOK || !strings.HasPrefix(open, "0") {
		t.Fatalf("handshake answered %d %q", status, open)
	}
	var hello struct{ SID string }
	must(t, json.Unmarshal([]byte(open[1:]), &hello))
	p.sid = hello.SID
	return p
}

// connectPolling opens a session and connects the default namespace.
func connectPolling(t testing.TB, base string) *poller {
	t.Helper()
	p := openPolling(t, base)
	p.posts(t, "40")
	if got := p.gets(t); !strings.HasPrefix(got, "40{") {
		t.Fatalf("CONNECT answered %q", got)
	}
	return p
}

func (p *poller) url() string {
	if p.sid == "" {
		return p.base
	}
	return p.base + "&sid=" + url.QueryEscape(p.sid)
}

func (p *poller) do(method, body string) (int, string, error) {
	r, err := http.NewRequest(method, p.url(), strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	answer, err := p.web.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

func (p *poller) get(t testing.TB) (int, string) {
	t.Helper()
	status, body, err := p.do(http.MethodGet, "")
	must(t, err)
	return status, body
}

func (p *poller) post(t testing.TB, body string) (int, string) {
	t.Helper()
	status, answer, err := p.do(http.MethodPost, body)
	must(t, err)
	return status, answer
}

// gets polls until something other than a ping comes, and answers those.
func (p *poller) gets(t testing.TB) string {
	t.Helper()
	for {
		status, body := p.get(t)
		if status != http.StatusOK {
			t.Fatalf("poll answered %d %q", status, body)
		}
		if body != "2" {
			return body
		}
		p.posts(t, "3")
	}
}

// posts sends what must be accepted.
func (p *poller) posts(t testing.TB, body string) {
	t.Helper()
	if status, answer := p.post(t, body); status != http.StatusOK || answer != "ok" {
		t.Fatalf("POST of %.40q answered %d %q", body, status, answer)
	}
}

// polling answers the poll that it starts, when it comes.
type polled struct {
	status int
	body   string
	err    error
}

func (p *poller) goGet() <-chan polled {
	c := make(chan polled, 1)
	go func() {
		status, body, err := p.do(http.MethodGet, "")
		c <- polled{status, body, err}
	}()
	return c
}

// dialUpgrade opens a WebSocket for the poller's session.
func (p *poller) dialUpgrade(t testing.TB) *wsClient {
	t.Helper()
	base, _, _ := strings.Cut(p.base, "&")
	c, err := dialRaw(base + "&sid=" + url.QueryEscape(p.sid))
	must(t, err)
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// A rawClient writes WebSocket frames by hand, as early as the protocol allows
// or against its rules.
type rawClient struct {
	net.Conn
	r *bufio.Reader
}

// dialTCP sends the request for a WebSocket and reads the answer's head.
func dialTCP(base string) (*rawClient, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	c := &rawClient{Conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(patience)) // cannot fail
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	fmt.Fprintf(conn, "GET %s&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", u.RequestURI(), u.Host, base64.StdEncoding.EncodeToString(key[:]))
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, fmt.Errorf("upgrade answered %s", answer.Status)
	}
	return c, nil
}

// sendFrames writes masked text frames in one system call.
func (c *rawClient) sendFrames(packets ...string) error {
	var b []byte
	for _, p := range packets {
		b = append(b, maskedFrame(opText, []byte(p))...)
	}
	_, err := c.Write(b)
	return err
}

// next returns the payload of the server's next frame.
func (c *rawClient) next() (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return "", err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(c.r, long[:]); err != nil {
			return "", err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.r, b)
	return string(b), err
}

// maskedFrame is a client's whole frame (RFC 6455, section 5.2).
func maskedFrame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...) // a mask of zeros changes nothing
}
