// Command signload puts a signaling server under load, checks what it does
// meanwhile, and reports.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"signald/internal/load"
)

// version is set when the binary is built.
var version = "dev"

type commands struct {
	Run     runCommand       `cmd:"" help:"Put a server under load and report."`
	Compare compareCommand   `cmd:"" help:"Measure two servers in turns, and write a table of ratios."`
	Version kong.VersionFlag `help:"Print the version."`
}

type runCommand struct {
	URL      string `name:"url" required:"" help:"Address of the server. Example: http://127.0.0.1:8080." group:"Where"`
	Peer     string `enum:"signald,plain,essay" default:"signald" help:"What is there: signald; plain: a bare Socket.IO server with join(room, ack) and say(room, data), which is msg(data) to the others; essay: protocol 1 without anything else." group:"Where"`
	Insecure bool   `help:"Do not check the server's certificate." group:"Where"`
	PID      int    `name:"pid" help:"Process of the server, for its CPU and memory. Without it: whoever listens on the port here." group:"Where"`

	Scenario   string        `enum:"mesh,one-room,churn,reconnect-storm,essay,fanout,pairs" default:"mesh" help:"mesh: all join and offer to each other. one-room: all in one meeting. churn: they leave and come back all the time. reconnect-storm: the network is lost for all at once. essay: protocol 1. fanout: one says, a room hears (needs --peer=plain). pairs: rooms of two, one message after the other." group:"What"`
	Meetings   int           `default:"100" help:"Meetings, or rooms." group:"What"`
	PerMeeting int           `default:"5" help:"Clients in each; one-room has all in one, pairs two by two." group:"What"`
	Duration   time.Duration `default:"60s" help:"How long it goes on once all have joined." group:"What"`
	Rate       float64       `help:"Joins a second; 0: as fast as it goes." group:"What"`
	Joins      int           `help:"churn: end after so many joins instead of after --duration." group:"What"`
	SDP        int           `name:"sdp" default:"3000" help:"Bytes of an SDP." group:"What"`
	Degree     int           `default:"-1" help:"To how many peers a newcomer offers; -1: to all, but 4 in one-room." group:"What"`
	Size       int           `default:"1000" help:"fanout, pairs: bytes of a message." group:"What"`
	SendRate   float64       `help:"fanout, pairs: messages a second; 0: as fast as it goes." group:"What"`
	Window     int           `default:"4" help:"fanout, pairs: messages on their way at a time in a room (pairs: for a client), when as fast as it goes; at most 32." group:"What"`
	Acks       bool          `help:"fanout, pairs on a plain peer: ask for an ack of each message, as signald gives." group:"What"`
	Warmup     time.Duration `default:"2s" help:"fanout, pairs: talking before it is measured." group:"What"`

	Settle  time.Duration `default:"15s" help:"How long rosters and messages may take to be right once all is quiet." group:"How"`
	Timeout time.Duration `default:"20s" help:"How long a connection or an answer may take." group:"How"`
	Loops   int           `help:"Event loops, each on a core; 0: half the cores." group:"How"`
	Profile string        `placeholder:"FILE" help:"Write a CPU profile of the load tool itself." group:"How"`

	JSON string `name:"json" placeholder:"FILE" help:"Write the report as JSON." group:"Report"`
	HTML string `name:"html" placeholder:"FILE" help:"Write the report as a page with plots." group:"Report"`
}

func main() {
	debug.SetGCPercent(400) // little garbage, and the cores are shared with the server
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

var errExit = errors.New("help or version was printed")

// run is main without the process: it returns the exit code: 0 fine, 1 errors,
// 2 asked for wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once

	var c commands
	code := -1
	parser, err := kong.New(&c,
		kong.Name("signload"),
		kong.Description("Load for signaling servers: clients as browsers are, hundreds to 20,000 of them, each of which\nknows what it should be told. Exit code: 0 all was right, 1 errors, 2 asked for wrongly."),
		kong.Vars{"version": "signload " + version},
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n; panic(errExit) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "signload:", err)
		return 1
	}
	command, err := parse(parser, args)
	switch {
	case errors.Is(err, errExit):
		return code
	case err != nil:
		fmt.Fprintf(stderr, "signload: %v\nTry 'signload run --help'.\n", err)
		return 2
	}
	if command == "compare" {
		err = c.Compare.run(ctx, stdout, stderr)
	} else {
		err = c.Run.run(ctx, stdout, stderr)
	}
	switch {
	case errors.Is(err, errNotFine):
		return 1
	case errors.Is(err, load.ErrUsage):
		fmt.Fprintln(stderr, "signload:", err)
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "signload:", err)
		return 1
	}
	return 0
}

// parse turns kong's way of exiting into an error.
func parse(parser *kong.Kong, args []string) (command string, err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if exit, ok := v.(error); !ok || !errors.Is(exit, errExit) {
			panic(v)
		}
		err = errExit
	}()
	ctx, err := parser.Parse(args)
	if err != nil {
		return "", err
	}
	return ctx.Command(), nil
}

// errNotFine: the run has told what was wrong.
var errNotFine = errors.New("not all was right")

func (c *runCommand) options() load.Options {
	o := load.Options{
		URL: c.URL, Scenario: c.Scenario, Peer: c.Peer, Meetings: c.Meetings, PerMeeting: c.PerMeeting,
		Duration: c.Duration, Warmup: c.Warmup, Rate: c.Rate, Joins: c.Joins, SDP: c.SDP, Degree: c.Degree,
		Size: c.Size, SendRate: c.SendRate, Window: c.Window, Acks: c.Acks, Settle: c.Settle, CallTimeout: c.Timeout,
		Loops: c.Loops, PID: c.PID, Insecure: c.Insecure, Version: version,
	}
	if o.Degree < 0 && o.Scenario == load.OneRoom {
		o.Degree = 4
	}
	if o.Loops == 0 {
		o.Loops = max(runtime.NumCPU()/2, 1)
	}
	return o
}

func (c *runCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // the profile is written by then
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	opts := c.options()
	fmt.Fprintf(stdout, "signload %s: %s at %s (%s), %d sockets\n", version, c.Scenario, c.URL, c.Peer, opts.Meetings*opts.PerMeeting)
	bar := newProgress(stderr)
	r, err := load.Run(ctx, opts, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	err = errors.Join(
		r.WriteTable(stdout),
		write(c.JSON, r.WriteJSON),
		write(c.HTML, r.WriteHTML),
	)
	if err == nil && !r.Fine() {
		err = errNotFine
	}
	return err
}

func write(path string, to func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := to(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
