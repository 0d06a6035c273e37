package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"signald/internal/load"
	"signald/internal/load/report"
)

type compareCommand struct {
	Ours     string `required:"" placeholder:"URL" help:"Our transport, as a plain peer." group:"Where"`
	PeerURL  string `name:"peer-url" required:"" placeholder:"URL" help:"The plain peer: join(room, ack), and say(room, data), which is msg(data) to the others." group:"Where"`
	PeerAcks bool   `help:"The plain peer answers the ack of a say, too: signald's relay is compared with that." group:"Where"`
	Signald  string `placeholder:"URL" help:"A signald, to compare its relay with the peer's; without it that is left out." group:"Where"`

	Rounds     int           `default:"3" help:"How often each is measured, in turns." group:"What"`
	Duration   time.Duration `default:"8s" help:"How long each is measured each time." group:"What"`
	Meetings   int           `default:"100" help:"Rooms." group:"What"`
	PerMeeting int           `default:"10" help:"Clients in each." group:"What"`
	Size       int           `default:"1000" help:"Bytes of a message." group:"What"`
	Window     int           `default:"4" help:"Messages on their way at a time in a room." group:"What"`
	Heavy      int           `default:"10000" help:"Sockets to weigh the servers with, once, at first: right only for servers started just before. 0: not at all." group:"What"`

	Markdown string `placeholder:"FILE" help:"Write the table there too." group:"Report"`
	JSON     string `name:"json" placeholder:"DIR" help:"Write the report of each run into this folder." group:"Report"`
}

// side is one of the two in a trial.
type side struct {
	url, peer string
	acks      bool
	runs      []*report.Report
}

// trial is one scenario, measured on both sides in turns.
type trial struct {
	name   string
	opts   load.Options
	us, it *side
	halfOf *trial // whose rate is halved; nil: as fast as it goes
}

// number is something to compare.
type number struct {
	name   string
	value  func(*report.Report) float64
	format string
}

var (
	cpu    = number{"server CPU a delivery, µs", func(r *report.Report) float64 { return r.Phase("talk").CPUADelivery() }, "%.2f"}
	rate   = number{"deliveries/s", func(r *report.Report) float64 { return r.Phase("talk").Rate() }, "%.0f"}
	median = number{"relay p50, ms", func(r *report.Report) float64 { return r.Latency("relay").P50 }, "%.2f"}
	p99    = number{"relay p99, ms", func(r *report.Report) float64 { return r.Latency("relay").P99 }, "%.2f"}
)

func (c *compareCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	us, it := &side{url: c.Ours, peer: load.Plain}, &side{url: c.PeerURL, peer: load.Plain}
	base := load.Options{
		Meetings: c.Meetings, PerMeeting: c.PerMeeting, Duration: c.Duration, Warmup: 2 * time.Second,
		Size: c.Size, Window: c.Window, Loops: max(runtime.NumCPU()/2, 1), Version: version,
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d sockets in rooms of %d, %d bytes, medians of %d runs of %s in turns (lowest to highest); %s\n\n"+
		"| what | ours | peer | ours / peer |\n|---|---|---|---|\n",
		c.Meetings*c.PerMeeting, c.PerMeeting, c.Size, c.Rounds, c.Duration, time.Now().Format("2006-01-02"))

	if c.Heavy > 0 {
		if err := c.weigh(ctx, &table, us, it, stdout, stderr); err != nil {
			return err
		}
	}
	for _, t := range c.trials(base, us, it) {
		if t.halfOf != nil {
			t.opts.SendRate = middle(t.halfOf.it.runs, rate.value) / 2
		}
		if t.opts.Scenario == load.Fanout { // a message is many deliveries
			t.opts.SendRate /= float64(c.PerMeeting - 1)
		}
		if err := c.measure(ctx, t, &table, stdout, stderr); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\n%s", table.String())
	return write(c.Markdown, func(w io.Writer) error {
		_, err := io.WriteString(w, table.String())
		return err
	})
}

// trials are what is measured, in this order.
func (c *compareCommand) trials(base load.Options, us, it *side) []*trial {
	full := &trial{name: "fan-out, as fast as it goes", opts: base, us: us, it: it}
	full.opts.Scenario = load.Fanout
	pairs := &trial{name: "pairs", opts: base, us: us.again(), it: it.again()}
	pairs.opts.Scenario = load.Pairs
	list := []*trial{full, full.half(), pairs}
	if c.Signald == "" {
		return list
	}
	relay := &trial{
		name: "signald's relay with ack, the peer's message without", opts: pairs.opts,
		us: &side{url: c.Signald, peer: load.Signald}, it: it.again(),
	}
	if relay.it.acks = c.PeerAcks; c.PeerAcks {
		relay.name = "signald's relay, the peer's message, both with ack"
	}
	return append(list, relay, relay.half())
}

// half is the same at half the rate that the peer reached.
func (t *trial) half() *trial {
	return &trial{name: t.name + ", at half of what the peer can", opts: t.opts, us: t.us.again(), it: t.it.again(), halfOf: t}
}

// measure runs a trial and adds its rows.
func (c *compareCommand) measure(ctx context.Context, t *trial, table io.Writer, stdout, stderr io.Writer) error {
	for round := range c.Rounds {
		for _, s := range []*side{t.us, t.it} {
			opts := t.opts
			opts.URL, opts.Peer, opts.Acks = s.url, s.peer, s.acks
			who := "ours"
			if s == t.it {
				who = "peer"
			}
			r, err := load.Run(ctx, opts, nil)
			switch {
			case err != nil:
				return fmt.Errorf("%s, %s: %w", t.name, who, err)
			case ctx.Err() != nil:
				return ctx.Err()
			case r.Server == nil:
				return fmt.Errorf("%w: %s is no process of this machine, or not ours to see: its CPU cannot be measured", load.ErrUsage, s.url)
			}
			s.runs = append(s.runs, r)
			fmt.Fprintf(stdout, "%s, round %d, %s: %.2f µs CPU a delivery, %.0f deliveries/s, p50 %.2f ms, p99 %.2f ms, %s\n", t.name, round+1, who,
				cpu.value(r), rate.value(r), median.value(r), p99.value(r), r.Verdict())
			if c.JSON != "" {
				name := fmt.Sprintf("%s/%s-%s-%d.json", c.JSON, strings.ReplaceAll(t.name, " ", "-"), who, round+1)
				if err := errors.Join(os.MkdirAll(c.JSON, 0o755), write(name, r.WriteJSON)); err != nil { // #nosec: nothing secret
					return err
				}
			}
			if !r.Fine() {
				_ = r.WriteTable(stderr)
				if who == "ours" {
					return errNotFine
				}
			}
			select { // until the connections are gone on the other side too
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for _, n := range []number{cpu, rate, median, p99} {
		ours, peer := middle(t.us.runs, n.value), middle(t.it.runs, n.value)
		fmt.Fprintf(table, "| %s: %s | %s | %s | %.2f |\n", t.name, n.name, n.show(t.us.runs), n.show(t.it.runs), ours/peer)
	}
	return nil
}

func (n number) show(runs []*report.Report) string {
	low, high := n.value(runs[0]), n.value(runs[0])
	for _, r := range runs {
		low, high = min(low, n.value(r)), max(high, n.value(r))
	}
	f := n.format
	return fmt.Sprintf(f+" ("+f+" to "+f+")", middle(runs, n.value), low, high)
}

// weigh compares what the servers weigh with many sockets in them. It comes first:
// later runs find the memory that earlier ones have left behind.
func (c *compareCommand) weigh(ctx context.Context, table io.Writer, us, it *side, stdout, stderr io.Writer) error {
	sides := []*side{us.again(), it.again()}
	if c.Signald != "" {
		sides = append(sides, &side{url: c.Signald, peer: load.Signald})
	}
	kB := make([]float64, len(sides))
	for i, s := range sides {
		opts := load.Options{
			URL: s.url, Peer: s.peer, Scenario: load.Fanout, Meetings: max(c.Heavy/5, 1), PerMeeting: 5, Rate: 250,
			Duration: time.Second, Warmup: time.Second, SendRate: 100, Size: c.Size, Loops: max(runtime.NumCPU()/2, 1), Version: version,
		}
		if s.peer == load.Signald {
			opts.Scenario, opts.SendRate, opts.SDP, opts.Degree = load.Mesh, 0, 3000, -1
		}
		r, err := load.Run(ctx, opts, nil)
		switch {
		case err != nil:
			return fmt.Errorf("memory of %s: %w", s.url, err)
		case ctx.Err() != nil:
			return ctx.Err()
		case r.Server == nil:
			return fmt.Errorf("%w: %s is no process of this machine, or not ours to see: it cannot be weighed", load.ErrUsage, s.url)
		}
		kB[i] = r.Server.RSSASocket / 1000
		fmt.Fprintf(stdout, "memory of %s: %.1f kB RSS a socket of %d, %s\n", s.url, kB[i], r.Server.Joined, r.Verdict())
		if !r.Fine() {
			_ = r.WriteTable(stderr)
		}
	}
	row := func(name string, ours float64) {
		fmt.Fprintf(table, "| RSS a socket, kB, of %d in rooms of 5, %s | %.1f | %.1f | %.2f |\n", c.Heavy, name, ours, kB[1], ours/kB[1])
	}
	row("transport alone", kB[0])
	if len(kB) > 2 {
		row("signald with a mesh's signals", kB[2])
	}
	return nil
}

// again is the same side with no runs yet.
func (s *side) again() *side { return &side{url: s.url, peer: s.peer, acks: s.acks} }

func middle(runs []*report.Report, value func(*report.Report) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = value(r)
	}
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
