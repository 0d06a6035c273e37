package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/rs/zerolog"
)

// listenToSignals reads again on SIGHUP what may change while the server runs, until ctx ends. SIGUSR1 and SIGUSR2, which
// would end the process, are for nothing: log rotation and monitoring send them by habit.
func (s *server) listenToSignals(ctx context.Context) {
	hangup, ignored := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	signal.Notify(ignored, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(hangup)
	defer signal.Stop(ignored)
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-ignored:
			s.log.Info().Stringer("signal", sig).Msg("a signal without a meaning was ignored")
		case <-hangup:
			s.reload()
		}
	}
}

// reload reads files again: certificate, GeoIP, keys of join tokens, level of the log. What cannot be read stays as it was.
func (s *server) reload() {
	said := s.log.Info()
	failed := func(setting string, err error) {
		s.log.Warn().Str("setting", setting).Err(err).Msg("not read again, what was in force stays")
	}
	if files := s.certificates.files; files != nil {
		if err := files.reload(); err != nil {
			failed("SIGNALD_TLS_CERT", err)
		} else {
			said.Time("certificate_until", files.current.Load().Leaf.NotAfter)
		}
	}
	if len(s.config.GeoIPDB) > 0 {
		s.places.Reload() // which says what it cannot read
		said.Strs("geoip", s.config.GeoIPDB)
	}
	if keys, err := s.config.tokens.Reload(); err != nil {
		failed("SIGNALD_TOKEN_KEYS", err)
	} else if keys > 0 {
		said.Int("token_keys", keys)
	}
	if s.config.LogLevelFile != "" {
		if err := s.config.level.read(s.config.LogLevelFile); err != nil {
			failed("SIGNALD_LOG_LEVEL_FILE", err)
		} else {
			said.Stringer("log_level", s.config.level.get())
		}
	}
	said.Msg("files of the settings read again")
}

// level is the least important level that is logged. It hooks into a logger of all levels.
type level struct{ now atomic.Int32 }

func (l *level) get() zerolog.Level { return zerolog.Level(l.now.Load()) }

// read takes the level from a file that has it and nothing else.
func (l *level) read(path string) error {
	word, err := readSecret(path)
	if err != nil {
		return err
	}
	word = strings.TrimSpace(word)
	if words := tagOf("LogLevel", "oneof"); !slices.Contains(strings.Split(words, ","), word) {
		return fmt.Errorf("%s: %q is none of %s", path, word, words)
	}
	to, err := zerolog.ParseLevel(word)
	if err == nil {
		l.now.Store(int32(to))
	}
	return err
}

// Run drops what is less important.
func (l *level) Run(e *zerolog.Event, of zerolog.Level, _ string) {
	if of < l.get() && of != zerolog.NoLevel {
		e.Discard()
	}
}
