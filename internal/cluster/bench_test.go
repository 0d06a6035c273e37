package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signald/internal/testredis"
)

// BenchmarkWire measures what Redis offers for 1 kB from one node to another: one at
// a time, for the latency, and in batches of 64 as under load, for what it costs
// Redis. docs/ARCHITECTURE.md has the results.
func BenchmarkWire(b *testing.B) {
	body := strings.Repeat("x", 1<<10)
	for name, w := range map[string]struct {
		listen func(context.Context, *redis.Client) func() error // waits for one message
		say    func(context.Context, redis.Pipeliner)
	}{
		"pubsub": {
			func(ctx context.Context, c *redis.Client) func() error {
				return receiver(ctx, c.Subscribe(ctx, "bench"))
			},
			func(ctx context.Context, p redis.Pipeliner) { p.Publish(ctx, "bench", body) },
		},
		"sharded": {
			func(ctx context.Context, c *redis.Client) func() error {
				return receiver(ctx, c.SSubscribe(ctx, "bench"))
			},
			func(ctx context.Context, p redis.Pipeliner) { p.SPublish(ctx, "bench", body) },
		},
		"stream": {
			streamReader,
			func(ctx context.Context, p redis.Pipeliner) {
				p.XAdd(ctx, &redis.XAddArgs{Stream: "bench", MaxLen: 10_000, Approx: true, Values: []any{"b", body}})
			},
		},
	} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprint(name, "/", batch), func(b *testing.B) {
				server := testredis.New(b)
				opts, err := redis.ParseURL(server.URL)
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				out, in := redis.NewClient(opts), redis.NewClient(opts)
				defer func() { _, _ = out.Close(), in.Close() }()
				next := w.listen(ctx, in)
				before := cpu(b, server.PID())
				b.ResetTimer()
				for sent := 0; sent < b.N; sent += batch {
					p := out.Pipeline()
					for range batch {
						w.say(ctx, p)
					}
					if _, err := p.Exec(ctx); err != nil {
						b.Fatal(err)
					}
					for range batch {
						if err := next(); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StopTimer()
				used := cpu(b, server.PID()) - before
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
			})
		}
	}
}

func receiver(ctx context.Context, s *redis.PubSub) func() error {
	_, _ = s.Receive(ctx) // that it listens
	return func() error {
		_, err := s.ReceiveMessage(ctx)
		return err
	}
}

func streamReader(ctx context.Context, c *redis.Client) func() error {
	last, waiting := "0", 0
	return func() error {
		if waiting == 0 {
			got, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{"bench", last}, Count: 256, Block: 0}).Result()
			if err != nil {
				return err
			}
			messages := got[0].Messages
			last, waiting = messages[len(messages)-1].ID, len(messages)
		}
		waiting--
		return nil
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
