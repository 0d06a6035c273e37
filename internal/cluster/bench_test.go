package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"signald/internal/rooms"
	"signald/internal/testredis"
)

// medium is one of the ways that Redis offers to tell other nodes something.
type medium struct {
	name   string
	listen func(context.Context, *redis.Client) func() (string, error) // waits for one message
	say    func(context.Context, redis.Pipeliner, string)
}

var media = []medium{
	{
		"pubsub",
		func(ctx context.Context, c *redis.Client) func() (string, error) {
			return receiver(ctx, c.Subscribe(ctx, "bench"))
		},
		func(ctx context.Context, p redis.Pipeliner, body string) { p.Publish(ctx, "bench", body) },
	},
	{
		"sharded",
		func(ctx context.Context, c *redis.Client) func() (string, error) {
			return receiver(ctx, c.SSubscribe(ctx, "bench"))
		},
		func(ctx context.Context, p redis.Pipeliner, body string) { p.SPublish(ctx, "bench", body) },
	},
	{
		"stream",
		streamReader,
		func(ctx context.Context, p redis.Pipeliner, body string) {
			p.XAdd(ctx, &redis.XAddArgs{Stream: "bench", MaxLen: 10_000, Approx: true, Values: []any{"b", body}})
		},
	},
}

func receiver(ctx context.Context, s *redis.PubSub) func() (string, error) {
	_, _ = s.Receive(ctx) // that it listens
	return func() (string, error) {
		m, err := s.ReceiveMessage(ctx)
		if err != nil {
			return "", err
		}
		return m.Payload, nil
	}
}

func streamReader(ctx context.Context, c *redis.Client) func() (string, error) {
	last := "0"
	var waiting []redis.XMessage
	return func() (string, error) {
		if len(waiting) == 0 {
			got, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{"bench", last}, Count: 256, Block: 0}).Result()
			if err != nil {
				return "", err
			}
			waiting = got[0].Messages
			last = waiting[len(waiting)-1].ID
		}
		next := waiting[0]
		waiting = waiting[1:]
		body, _ := next.Values["b"].(string)
		return body, nil
	}
}

func options(b *testing.B, server *testredis.Server) *redis.Options {
	b.Helper()
	opts, err := redis.ParseURL(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	return opts
}

// BenchmarkWire measures what 1 kB from one node to another takes: one at a time, for
// the latency, and in batches of 64 as under load, for the processor. docs/BENCHMARKS.md
// has the results.
func BenchmarkWire(b *testing.B) {
	body := strings.Repeat("x", 1<<10)
	for _, m := range media {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprint(m.name, "/", batch), func(b *testing.B) {
				server := testredis.New(b)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				defer cancel()
				out, in := redis.NewClient(options(b, server)), redis.NewClient(options(b, server))
				defer func() { _, _ = out.Close(), in.Close() }()
				next := m.listen(ctx, in)
				var took []time.Duration
				redisBefore, selfBefore := cpu(b, server.PID()), cpu(b, os.Getpid())
				b.ResetTimer()
				for sent := 0; sent < b.N; sent += batch {
					began := time.Now()
					p := out.Pipeline()
					for range batch {
						m.say(ctx, p, body)
					}
					if _, err := p.Exec(ctx); err != nil {
						b.Fatal(err)
					}
					for range batch {
						if _, err := next(); err != nil {
							b.Fatal(err)
						}
					}
					took = append(took, time.Since(began))
				}
				b.StopTimer()
				per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N) }
				b.ReportMetric(per(cpu(b, server.PID())-redisBefore), "redis-cpu-ns/op")
				b.ReportMetric(per(cpu(b, os.Getpid())-selfBefore), "nodes-cpu-ns/op")
				if slices.Sort(took); batch == 1 {
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				}
			})
		}
	}
}

// cpu is the processor time that a process has used.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		b.Skip("no /proc")
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// BenchmarkOutage counts what is lost when the listener is cut off for a second, and
// when Redis is killed and is back, empty, after a second, with 1,000 messages a second.
// Refused is what the sender was told of; lost is what Redis took and nobody heard.
func BenchmarkOutage(b *testing.B) {
	for _, m := range media {
		for _, outage := range []string{"cut", "killed"} {
			b.Run(m.name+"/"+outage, func(b *testing.B) {
				var refused, lost int
				for range b.N {
					r, l := lose(b, m, outage == "killed")
					refused, lost = refused+r, lost+l
				}
				b.ReportMetric(float64(refused)/float64(b.N), "refused/outage")
				b.ReportMetric(float64(lost)/float64(b.N), "lost/outage")
				b.ReportMetric(0, "ns/op") // says nothing here
			})
		}
	}
}

const outageLasts = time.Second

func lose(b *testing.B, m medium, kill bool) (refused, lost int) {
	b.Helper()
	server := testredis.New(b)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	opts := options(b, server)
	opts.MaxRetries, opts.DialerRetries = -1, 1 // an error is an error at once
	redis.SetLogger(quiet{zerolog.Nop()})
	cable := &cable{}
	heard := *opts
	heard.Dialer = cable.dial
	out, in := redis.NewClient(opts), redis.NewClient(&heard)
	defer func() { _, _ = out.Close(), in.Close() }()

	// The listener, which goes on after errors.
	next := m.listen(ctx, in)
	var mu sync.Mutex
	got := map[string]bool{}
	ended := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		for ctx.Err() == nil {
			body, err := next()
			switch {
			case err != nil:
				time.Sleep(5 * time.Millisecond)
			case body == "end":
				close(ended)
				return
			default:
				mu.Lock()
				got[body] = true
				mu.Unlock()
			}
		}
	})

	taken := map[string]bool{}
	say := func(body string) error {
		p := out.Pipeline()
		m.say(ctx, p, body)
		_, err := p.Exec(ctx)
		return err
	}
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	send := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); <-every.C {
			body := strconv.Itoa(len(taken) + refused)
			if say(body) == nil {
				taken[body] = true
			} else {
				refused++
			}
		}
	}
	send(outageLasts / 2)
	if kill {
		server.Stop()
	} else {
		cable.cut(true)
	}
	send(outageLasts)
	if kill {
		server.Start()
	} else {
		cable.cut(false)
	}
	send(outageLasts / 2)
	for waiting := true; waiting; {
		_ = say("end") // until it arrives
		select {
		case <-ended:
			waiting = false
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			b.Fatal("the listener did not come back")
		}
	}
	listening.Wait()
	for body := range taken {
		if !got[body] {
			lost++
		}
	}
	return refused, lost
}

// cable is what a client of Redis dials over, to be cut.
type cable struct {
	mu     sync.Mutex
	severe bool
	conns  []net.Conn
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severe {
		_ = conn.Close()
		return nil, syscall.ECONNREFUSED
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cable) cut(severe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.severe = severe
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// BenchmarkNodes measures what 1 kB from one node to another takes, of all that a node does with it, while 64 are on the way.
func BenchmarkNodes(b *testing.B) {
	server := testredis.New(b)
	arrived := make(chan struct{}, 64)
	to := benchNode(b, server.URL, "to", arrived)
	from := benchNode(b, server.URL, "from", nil)
	<-to.Watch("m")
	for range cap(arrived) {
		arrived <- struct{}{}
	}
	hint := rooms.Speech{From: "p", Frame: []byte(strings.Repeat("x", 1<<10))}
	before := cpu(b, os.Getpid())
	b.ResetTimer()
	for range b.N {
		<-arrived
		from.Hint("m", hint)
	}
	for range cap(arrived) {
		<-arrived
	}
	b.ReportMetric(float64((cpu(b, os.Getpid())-before).Nanoseconds())/float64(b.N), "nodes-cpu-ns/op")
}

// arrivals is a Handler that only notes hints.
type arrivals struct {
	Handler
	arrived chan<- struct{}
}

func (a arrivals) Hint(string, rooms.Speech) { a.arrived <- struct{}{} }
func (arrivals) Missed()                     {}

func benchNode(b *testing.B, url, id string, arrived chan<- struct{}) *Node {
	b.Helper()
	n, err := New(Options{URL: url, NodeID: id, Keys: testKeys, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		n.Run(ctx, arrivals{arrived: arrived})
		close(done)
	}()
	b.Cleanup(func() { cancel(); <-done })
	for !n.Up() {
		time.Sleep(time.Millisecond)
	}
	return n
}
