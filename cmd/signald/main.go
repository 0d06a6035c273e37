// Command signald is the signaling server: one binary, alone on a laptop or many
// behind a balancer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
)

// version is set when the binary is built.
var version = "dev"

type commands struct {
	Serve   serveCommand     `cmd:"" help:"Run the server until it is told to stop."`
	Config  configCommand    `cmd:"" help:"Print the settings in force, secrets masked."`
	Client  clientCommand    `cmd:"" name:"client-address" help:"Print whose a request is, behind the proxies of these settings."`
	Health  healthCommand    `cmd:"" name:"healthcheck" help:"Ask the running server of these settings whether it is ready; exit code 1 if not."`
	Migrate migrateCommand   `cmd:"" help:"Bring the database's schema up to date, as the server does when it starts, and end."`
	Token   tokenCommand     `cmd:"" help:"Make a join token, as an application does for who has signed in there."`
	Audit   auditCommand     `cmd:"" help:"Read who created which meeting, in the database itself."`
	Hash    hashCommand      `cmd:"" help:"Read the admin's token from standard input and print its hash for SIGNALD_ADMIN_TOKEN."`
	Version kong.VersionFlag `help:"Print the version."`
}

type serveCommand struct {
	Config `embed:""`
}

type configCommand struct {
	Config `embed:""`
}

type clientCommand struct {
	Config `embed:""`

	From         string `arg:"" help:"The address that a request comes from."`
	ForwardedFor string `arg:"" optional:"" help:"Its header X-Forwarded-For."`
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	code := -1
	parser, err := kong.New(&c,
		kong.Name("signald"),
		kong.Description("Signaling for conferences in which browsers send each other audio and video directly.\nEvery setting is a flag and an environment variable."),
		kong.Vars{"version": "signald " + version},
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n; panic(errExit) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "signald:", err)
		return 1
	}
	problems := readEnvironment()
	command, manual, err := parse(parser, args)
	sub, isAudit := strings.CutPrefix(command, "audit ")
	if len(problems) > 0 && !errors.Is(err, errExit) && !isAudit {
		err = errors.Join(append(problems, err)...)
	}
	switch {
	case errors.Is(err, errExit):
		return code
	case err != nil:
		fmt.Fprintf(stderr, "signald: %v\nTry '%s --help'.\n", err, manual)
		return 2
	}
	switch {
	case isAudit:
		return c.Audit.run(ctx, sub, stdout, stderr)
	case command == "healthcheck":
		return c.Health.run(ctx, stdout, stderr)
	case command == "migrate":
		return c.Migrate.run(ctx, stdout, stderr)
	case command == "hash":
		return c.Hash.run(os.Stdin, stdout, stderr)
	case command == "token":
		return c.Token.run(stdout, stderr)
	case strings.HasPrefix(command, "client-address"):
		return c.Client.run(stdout, stderr)
	case command == "config":
		c.Config.print(stdout)
		return 0
	}
	return c.Serve.run(ctx, stdout, stderr)
}

var errExit = errors.New("help or version was printed")

// parse turns kong's way of exiting into an error. The manual is that of the
// command as far as it was understood.
func parse(parser *kong.Kong, args []string) (command, manual string, err error) {
	manual = parser.Model.Name
	defer func() {
		if v := recover(); v != nil && !errors.Is(asError(v), errExit) {
			panic(v)
		} else if v != nil {
			err = errExit
		}
	}()
	ctx, err := parser.Parse(args)
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		ctx = wrong.Context
	}
	if ctx != nil {
		manual = strings.TrimSpace(manual + " " + strings.Join(strings.Fields(ctx.Command()), " "))
	}
	if err != nil {
		return "", manual, err
	}
	return ctx.Command(), manual, nil
}

func asError(v any) error {
	err, _ := v.(error)
	return err
}

// run serves until a signal. The second one ends the process at once.
func (s *serveCommand) run(ctx context.Context, stdout, stderr io.Writer) int {
	s.level = &level{}
	log := s.logger(stderr)
	if s.LogLevelFile != "" {
		if err := s.level.read(s.LogLevelFile); err != nil {
			log.Error().Err(err).Msg("could not start: SIGNALD_LOG_LEVEL_FILE")
			return 1
		}
	}
	for _, name := range misspelt() {
		log.Warn().Str("variable", name).Msg("there is no such setting")
	}
	if s.BehindProxy && len(s.TrustedProxies) == 0 {
		log.Warn().Msg("a proxy is in front and SIGNALD_TRUSTED_PROXIES is empty: everybody has the proxy's address, in the audit and for the limits")
	}
	if wide := s.wideProxies(); len(wide) > 0 {
		log.Warn().Strs("networks", wide).Msg("a wide network is trusted as proxies")
	}
	limitMemory(log)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := build(ctx, &s.Config, log)
	if err != nil {
		log.Error().Err(err).Msg("could not start")
		return 1
	}
	defer srv.Close()
	fmt.Fprintf(stdout, "signald %s is ready: open %s\n", version, srv.URL())
	systemd := func(state string) {
		if err := tellSystemd(state); err != nil {
			log.Warn().Err(err).Msg("systemd does not listen")
		}
	}
	systemd(systemdReady)
	err = srv.Serve(ctx, func() {
		stop() // from here on a signal has its usual effect
		systemd(systemdStopping)
	})
	if err != nil {
		log.Error().Err(err).Msg("stopped")
		return 1
	}
	log.Info().Msg("stopped")
	return 0
}

func (c *Config) logger(w io.Writer) zerolog.Logger {
	if c.LogFormat == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05"}
	}
	if c.level != nil && c.LogLevelFile != "" {
		return zerolog.New(w).Level(zerolog.DebugLevel).Hook(c.level).With().Timestamp().Logger()
	}
	level, _ := zerolog.ParseLevel(c.LogLevel) // checked by kong
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}
