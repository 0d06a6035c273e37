package load_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/load"
	"signald/internal/load/report"
	"signald/internal/testnode"
)

func options(url string, scenario string) load.Options {
	return load.Options{
		URL: url, Scenario: scenario, Peer: load.Signald, Meetings: 5, PerMeeting: 4, Duration: 300 * time.Millisecond,
		Degree: -1, SDP: 1000, Size: 500, Window: 2, Settle: 10 * time.Second,
	}
}

func run(t *testing.T, o load.Options) *report.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r, err := load.Run(ctx, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fine(t *testing.T, r *report.Report) {
	t.Helper()
	if r.Fine() && !r.Interrupted {
		return
	}
	var b strings.Builder
	_ = r.WriteTable(&b)
	t.Errorf("%s", b.String())
}

func TestLoadOnSignald(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, "SIGNALD_MAX_PEERS=200", "SIGNALD_LOG_LEVEL=warn")
	t.Run("mesh", func(t *testing.T) {
		o := options(n.URL, load.Mesh)
		o.Meetings, o.PerMeeting, o.PID = 10, 5, n.PID()
		r := run(t, o)
		fine(t, r)
		// Each pair: offer, answer, two batches of candidates each way.
		if want := int64(10 * (5 * 4 / 2) * 6); r.Delivered < want || r.Joins != 50 || r.Leaves != 50 || r.Most != 50 || r.Checks != 4 {
			t.Errorf("%d of at least %d messages, %d joins, %d leaves, at most %d, %d checks", r.Delivered, want, r.Joins, r.Leaves, r.Most, r.Checks)
		}
		// What was held for a moment, until the receiver had its join's answer, is delivered and not timed.
		timed := r.Latency("relay").Count
		if r.Latency("update").Count == 0 || r.Latency("join").Count != 50 || timed < r.Delivered/2 || timed > r.Delivered {
			t.Errorf("latencies: %+v", r.Latencies)
		}
		if r.Server == nil || r.Server.RSSJoined == 0 || r.Server.PID != n.PID() {
			t.Errorf("server: %+v", r.Server)
		}
	})
	t.Run("one-room", func(t *testing.T) {
		o := options(n.URL, load.OneRoom)
		o.Degree = 2
		r := run(t, o)
		fine(t, r)
		if r.Latency("update").Count == 0 {
			t.Errorf("latencies: %+v", r.Latencies)
		}
	})
	t.Run("churn", func(t *testing.T) {
		o := options(n.URL, load.Churn)
		o.Joins = 150
		r := run(t, o)
		fine(t, r)
		if r.Joins+r.Resumes < 150 || r.Leaves < 100 {
			t.Errorf("%d joins, %d resumed, %d left", r.Joins, r.Resumes, r.Leaves)
		}
	})
	t.Run("reconnect-storm", func(t *testing.T) {
		o := options(n.URL, load.ReconnectStorm)
		o.Duration = 0
		r := run(t, o)
		fine(t, r)
		if r.Resumes != 5*3 {
			t.Errorf("%d resumed", r.Resumes)
		}
	})
	t.Run("essay", func(t *testing.T) {
		r := run(t, options(n.URL, load.Essay))
		fine(t, r)
		if r.Joins != 20 || r.Latency("update").Count == 0 {
			t.Errorf("%d joins, %+v", r.Joins, r.Latencies)
		}
	})
	t.Run("pairs", func(t *testing.T) {
		r := run(t, options(n.URL, load.Pairs))
		fine(t, r)
		if r.Phase("talk").Delivered == 0 || r.Latency("ack").Count == 0 {
			t.Errorf("phases: %+v", r.Phases)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := options(n.URL, load.Mesh)
		o.Duration = time.Hour
		r, err := load.Run(ctx, o, func(load.Progress) { cancel() })
		if err != nil || !r.Interrupted || r.Joins == 0 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

// What a faulty server does, done by a proxy before a right one.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, "SIGNALD_LOG_LEVEL=warn")
	for name, c := range map[string]struct {
		scenario, event string
		do              fault
		want            string
	}{
		"a lost message":      {load.Mesh, `42["signal",`, drop, "misses 1 of"},
		"a doubled message":   {load.Mesh, `42["signal",`, double, "a second time"},
		"swapped messages":    {load.Pairs, `42["signal",`, swap, "got seq 2"},
		"a changed message":   {load.Mesh, `42["signal",`, change, "not as it was sent"},
		"a roster left stale": {load.Mesh, `42["update_participants",`, dropAll, "who is not there|misses p_"},
		"a map left stale":    {load.Essay, `42["update_participants",`, dropAll, "who is not there|misses u"},
		"a lost answer":       {load.Mesh, `43`, dropLate, "no answer to its signal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, n.URL, c.event, c.do)
			o := options(p, c.scenario)
			o.Meetings, o.PerMeeting, o.Settle = 1, 3, time.Second
			r := run(t, o)
			if r.Fine() || !regexp.MustCompile(c.want).MatchString(strings.Join(r.Wrong, "\n")) {
				t.Errorf("%s; errors %v, wrong:\n%s", r.Verdict(), r.Errors, strings.Join(r.Wrong, "\n"))
			}
		})
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	web.Close()
	if _, err := load.Run(t.Context(), options(web.URL, load.Mesh), nil); err == nil {
		t.Error("no error")
	}
	o := options(web.URL, load.Fanout)
	o.Peer = load.Plain
	if r := run(t, o); r.Fine() || r.ErrorCount() != 20 {
		t.Errorf("%s, %v", r.Verdict(), r.Errors)
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	for name, spoil := range map[string]func(*load.Options){
		"fanout on signald": func(o *load.Options) { o.Scenario = load.Fanout },
		"mesh on a plain":   func(o *load.Options) { o.Peer = load.Plain },
		"acks asked for":    func(o *load.Options) { o.Acks = true },
		"nobody":            func(o *load.Options) { o.PerMeeting = 0 },
		"too large an SDP":  func(o *load.Options) { o.SDP = 40 << 10 },
		"no address":        func(o *load.Options) { o.URL = "here" },
		"more than descriptors": func(o *load.Options) {
			o.Meetings, o.PerMeeting = 1<<20, 1<<10
		},
	} {
		o := options("http://127.0.0.1:1", load.Mesh)
		spoil(&o)
		if _, err := load.Run(t.Context(), o, nil); !errors.Is(err, load.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fault is what becomes of a server's frame, the nth that has the event's name.
type fault func(n int, frame []byte, earlier [][]byte) (pass [][]byte, keep [][]byte)

func drop(n int, frame []byte, _ [][]byte) (pass, keep [][]byte) {
	if n == 1 {
		return nil, nil
	}
	return [][]byte{frame}, nil
}

func dropAll(int, []byte, [][]byte) (pass, keep [][]byte) { return nil, nil }

// dropLate spares the answers to the joins.
func dropLate(n int, frame []byte, _ [][]byte) (pass, keep [][]byte) {
	if n == 10 {
		return nil, nil
	}
	return [][]byte{frame}, nil
}

func double(n int, frame []byte, _ [][]byte) (pass, keep [][]byte) {
	if n == 1 {
		return [][]byte{frame, frame}, nil
	}
	return [][]byte{frame}, nil
}

func swap(n int, frame []byte, earlier [][]byte) (pass, keep [][]byte) {
	switch {
	case n == 1:
		return nil, [][]byte{frame}
	case len(earlier) > 0:
		return [][]byte{frame, earlier[0]}, nil
	}
	return [][]byte{frame}, nil
}

func change(n int, frame []byte, _ [][]byte) (pass, keep [][]byte) {
	if n == 1 {
		frame[len(frame)-10] ^= 1
	}
	return [][]byte{frame}, nil
}

// proxy stands before a server and spoils what it says.
type proxy struct {
	to, event string
	do        fault

	mu   sync.Mutex
	seen int
}

func startProxy(t *testing.T, url, event string, do fault) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: strings.TrimPrefix(url, "http://"), event: event, do: do}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return "http://" + l.Addr().String()
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, c)
		_ = server.Close()
	})
	defer up.Wait()
	defer c.Close()
	from := bufio.NewReader(server)
	head, err := from.ReadString('\n')
	for line := head; err == nil && line != "\r\n"; head += line {
		line, err = from.ReadString('\n')
	}
	if _, werr := io.WriteString(c, head); err != nil || werr != nil {
		return
	}
	if !strings.Contains(head, " 101 ") {
		_, _ = io.Copy(c, from)
		return
	}
	var kept [][]byte
	for {
		frame, payload, err := readFrame(from)
		if err != nil {
			return
		}
		pass := [][]byte{frame}
		if strings.HasPrefix(string(payload), p.event) {
			p.mu.Lock()
			p.seen++
			n := p.seen
			p.mu.Unlock()
			pass, kept = p.do(n, frame, kept)
		}
		for _, f := range pass {
			if _, err := c.Write(f); err != nil {
				return
			}
		}
	}
}

func readFrame(r io.Reader) (frame, payload []byte, err error) {
	frame = make([]byte, 2, 256)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, nil, err
	}
	n := int(frame[1])
	if size := map[int]int{126: 2, 127: 8}[n]; size > 0 {
		frame = frame[:2+size]
		if _, err := io.ReadFull(r, frame[2:]); err != nil {
			return nil, nil, err
		}
		n = int(binary.BigEndian.Uint64(append(make([]byte, 8-size), frame[2:]...)))
	}
	header := len(frame)
	frame = append(frame, make([]byte, n)...)
	_, err = io.ReadFull(r, frame[header:])
	return frame, frame[header:], err
}
