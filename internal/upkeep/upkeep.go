// Package upkeep runs recurring tasks, each by itself: a task that fails, panics or takes long
// neither stops nor delays another one.
package upkeep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/tracing"
)

// Task runs soon after the start and then periodically.
type Task struct {
	Name  string        // a label of metrics and logs, in snake_case
	Every time.Duration // between the end of one run and the next; jitter shortens it, never lengthens it

	// MaxBackoff bounds the pause after failures, which doubles from Every; 0 means 5 s. A task
	// with a deadline of its own, such as a lease, needs less.
	MaxBackoff time.Duration

	// Run does the work. After an error the task backs off, unless the error is Partial.
	Run func(context.Context) error
}

// Partial marks the error of a run that has done all it could: some items fail, and the task
// limits by itself what they cost. The run counts as failed, but the next one is due after Every:
// the items that work do not wait for those that do not. Partial(nil) is nil.
func Partial(err error) error {
	if err == nil {
		return nil
	}
	return &partial{err}
}

type partial struct{ cause error }

func (p *partial) Error() string { return p.cause.Error() }
func (p *partial) Unwrap() error { return p.cause }

// Observer counts runs. Its method must not block.
type Observer interface {
	TaskRan(task string, took time.Duration, err error)
}

// Runner runs tasks.
type Runner struct {
	Observer Observer // nil: nobody counts
	Tracer   *tracing.Tracer
	Log      zerolog.Logger
}

const (
	defaultMaxBackoff = 5 * time.Second

	// startWithin is when the first runs begin: if all began at once, each would open a connection
	// to the database of its own.
	startWithin = 250 * time.Millisecond

	// jitter is the share of a pause by which it is shortened at most: tasks and nodes that
	// started together do not stay in step.
	jitter = 8

	// tracedFrom is how rare a task is whose runs are traced: spans of others would bury what
	// clients ask for. A run after a failure is always traced.
	tracedFrom = 10 * time.Second
)

// Run runs each task in a goroutine of its own until ctx ends and the last run has returned.
func (r Runner) Run(ctx context.Context, tasks ...Task) {
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() { r.repeat(ctx, t) })
	}
	running.Wait()
}

// repeat runs one task until ctx ends.
func (r Runner) repeat(ctx context.Context, t Task) {
	var failures int                                         // in a row, for the log
	var backoff int                                          // those of them that call for a backoff
	var since time.Time                                      // of the first failure in a row
	wait := time.NewTimer(rand.N(min(t.Every, startWithin))) //nolint:gosec // no secret
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		err := r.once(ctx, t, failures > 0)
		switch {
		case ctx.Err() != nil:
			return // what is broken off is no failure
		case err != nil && failures == 0:
			since = time.Now()
			r.Log.Warn().Err(err).Str("task", t.Name).Msg("task fails, and is tried again")
		case err == nil && failures > 0:
			r.Log.Info().Str("task", t.Name).Int("failures", failures).Dur("after_ms", time.Since(since)).Msg("task works again")
		}
		if failures++; err == nil {
			failures = 0
		}
		if backoff++; err == nil || errors.As(err, new(*partial)) {
			backoff = 0
		}
		wait.Reset(jittered(t.pause(backoff)))
	}
}

// pause is the time until the next run after so many failures in a row.
func (t Task) pause(failures int) time.Duration {
	limit := t.MaxBackoff
	if limit == 0 {
		limit = defaultMaxBackoff
	}
	limit = max(limit, t.Every)
	pause := t.Every
	for range failures {
		if pause *= 2; pause >= limit {
			return limit
		}
	}
	return pause
}

func jittered(d time.Duration) time.Duration {
	if d < jitter {
		return d
	}
	return d - rand.N(d/jitter) //nolint:gosec // no secret
}

// once runs a task. A panic is an error, and in the log with its stack.
func (r Runner) once(ctx context.Context, t Task, again bool) (err error) {
	began := time.Now()
	var span tracing.Span
	if again || t.Every >= tracedFrom {
		ctx, span = r.Tracer.Start(ctx, tracing.Internal, "task "+t.Name)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			r.Log.Error().Interface("panic", v).Str("task", t.Name).Bytes("stack", debug.Stack()).Msg("task panicked")
		}
		if err != nil {
			span.Fail("failed")
		}
		span.End()
		if r.Observer != nil && (err == nil || ctx.Err() == nil) {
			r.Observer.TaskRan(t.Name, time.Since(began), err)
		}
	}()
	return t.Run(ctx)
}
