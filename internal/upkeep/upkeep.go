// Package upkeep runs what has to be done again and again, each task by itself: a task that
// fails, panics or takes long neither stops nor delays another one.
package upkeep

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/tracing"
)

// Task is one thing to do, once at the start and then again and again.
type Task struct {
	Name  string        // a label of metrics and logs, in snake_case
	Every time.Duration // between the end of one run and the next

	// Run does it. An error means that something is left to do; it is tried again, sooner or
	// later than Every as the backoff says.
	Run func(context.Context) error
}

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
	// maxBackoff bounds the time between two tries of a task that fails and is due more often.
	maxBackoff = 5 * time.Second

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
	var failures int
	var since time.Time // of the first failure in a row
	wait := time.NewTimer(0)
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
		wait.Reset(t.pause(failures))
	}
}

// pause is the time until the next run after so many failures in a row.
func (t Task) pause(failures int) time.Duration {
	pause := t.Every
	for range failures {
		if pause *= 2; pause >= maxBackoff {
			return max(t.Every, maxBackoff)
		}
	}
	return pause
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
