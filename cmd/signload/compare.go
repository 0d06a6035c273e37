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
	Ours    string `required:"" placeholder:"URL" help:"Our transport, as a plain peer." group:"Where"`
	PeerURL string `name:"peer-url" required:"" placeholder:"URL" help:"The plain peer: join(room, ack), and say(room, data), which is msg(data) to the others." group:"Where"`
	Signald string `placeholder:"URL" help:"A signald, to compare its relay with the peer's; without it that is left out." group:"Where"`

	Rounds     int           `default:"3" help:"How often each is measured, in turns." group:"What"`
	Duration   time.Duration `default:"8s" help:"How long each is measured each time." group:"What"`
	Meetings   int           `default:"100" help:"Rooms." group:"What"`
	PerMeeting int           `default:"10" help:"Clients in each." group:"What"`
	Size       int           `default:"1000" help:"Bytes of a message." group:"What"`
	Window     int           `default:"4" help:"Messages on their way at a time in a room." group:"What"`

	Markdown string `placeholder:"FILE" help:"Write the table there too." group:"Report"`
	JSON     string `name:"json" placeholder:"DIR" help:"Write the report of each run into this folder." group:"Report"`
}

// side is one of the two in a trial.
type side struct {
	url, peer string
	runs      []*report.Report
}

// trial is one scenario, measured on both sides in turns.
type trial struct {
	name    string
	opts    load.Options
	us, it  *side
	numbers []number
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

	full := &trial{name: "fan-out, as fast as it goes", opts: base, us: us, it: it, numbers: []number{cpu, rate, median, p99}}
	full.opts.Scenario = load.Fanout
	if err := c.measure(ctx, full, &table, stdout, stderr); err != nil {
		return err
	}
	weight(&table, us, it)

	half := &trial{
		name: "fan-out, at half of what the peer can", opts: full.opts,
		us: &side{url: us.url, peer: us.peer}, it: &side{url: it.url, peer: it.peer}, numbers: []number{cpu, rate, median, p99},
	}
	half.opts.SendRate = middle(it.runs, rate.value) / 2 / float64(c.PerMeeting-1)
	if err := c.measure(ctx, half, &table, stdout, stderr); err != nil {
		return err
	}

	pairs := &trial{
		name: "pairs", opts: base, us: &side{url: us.url, peer: us.peer}, it: &side{url: it.url, peer: it.peer},
		numbers: []number{cpu, rate, median, p99},
	}
	pairs.opts.Scenario = load.Pairs
	if err := c.measure(ctx, pairs, &table, stdout, stderr); err != nil {
		return err
	}
	if c.Signald != "" {
		relay := *pairs
		relay.name, relay.us, relay.it = "signald relays a signal with ack, the peer a message without",
			&side{url: c.Signald, peer: load.Signald}, &side{url: it.url, peer: it.peer}
		if err := c.measure(ctx, &relay, &table, stdout, stderr); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\n%s", table.String())
	return write(c.Markdown, func(w io.Writer) error {
		_, err := io.WriteString(w, table.String())
		return err
	})
}

// measure runs a trial and adds its rows.
func (c *compareCommand) measure(ctx context.Context, t *trial, table io.Writer, stdout, stderr io.Writer) error {
	for round := range c.Rounds {
		for _, s := range []*side{t.us, t.it} {
			opts := t.opts
			opts.URL, opts.Peer = s.url, s.peer
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
	for _, n := range t.numbers {
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

// weight compares memory: what came with the sockets of the first run. Later ones
// find the memory that it has left behind.
func weight(table io.Writer, us, it *side) {
	of := func(s *side) float64 { return s.runs[0].Server.RSSASocket / 1000 }
	fmt.Fprintf(table, "| RSS a socket, kB (right only for servers started just before) | %.1f | %.1f | %.2f |\n", of(us), of(it), of(us)/of(it))
}

func middle(runs []*report.Report, value func(*report.Report) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = value(r)
	}
	slices.SortFunc(values, cmp.Compare)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
