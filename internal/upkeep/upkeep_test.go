package upkeep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/upkeep"
)

// runs counts what an Observer is told.
type runs struct {
	mu     sync.Mutex
	ok     map[string]int
	failed map[string]int
}

func (r *runs) TaskRan(task string, _ time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.ok[task]++
	} else {
		r.failed[task]++
	}
}

// during runs tasks for a time of the bubble, and returns what was counted and logged.
func during(t *testing.T, d time.Duration, tasks ...upkeep.Task) (*runs, string) {
	t.Helper()
	counted := &runs{ok: map[string]int{}, failed: map[string]int{}}
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	upkeep.Runner{Observer: counted, Log: zerolog.New(zerolog.SyncWriter(&log))}.Run(ctx, tasks...)
	return counted, log.String()
}

func TestTaskThatFailsStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted, log := during(t, 20500*time.Millisecond,
			upkeep.Task{Name: "good", Every: time.Second, Run: func(context.Context) error { return nil }},
			upkeep.Task{Name: "bad", Every: time.Second, Run: func(context.Context) error { return errors.New("permission denied") }},
			upkeep.Task{Name: "panics", Every: time.Second, Run: func(context.Context) error { panic("a bug") }},
			upkeep.Task{Name: "hangs", Every: time.Second, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		)
		if n := counted.ok["good"]; n < 20 || n > 24 {
			t.Errorf("the good task ran %d times in 20 s", n)
		}
		// Without jitter soon after 0, 2, 6, 11, 16 s: it backs off, and not for ever.
		for _, task := range []string{"bad", "panics"} {
			if n := counted.failed[task]; n < 5 || n > 6 {
				t.Errorf("the %s task ran %d times, want 5 or 6", task, n)
			}
		}
		if counted.failed["hangs"] != 0 {
			t.Errorf("counted %v", counted.failed)
		}
		if n := strings.Count(log, "permission denied"); n != 1 {
			t.Errorf("the cause is in the log %d times:\n%s", n, log)
		}
	})
}

func TestFailureIsOneWarningAndTheEndOfItOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		counted, log := during(t, time.Minute, upkeep.Task{Name: "purge", Every: 2 * time.Second, Run: func(context.Context) error {
			if age := time.Since(began); age > 10*time.Second && age < 30*time.Second {
				return errors.New("disk full")
			}
			return nil
		}})
		var levels []string
		for line := range strings.Lines(log) {
			switch {
			case strings.Contains(line, `"level":"warn"`) && strings.Contains(line, "disk full") && strings.Contains(line, `"task":"purge"`):
				levels = append(levels, "warn")
			case strings.Contains(line, `"level":"info"`) && strings.Contains(line, "works again"):
				levels = append(levels, "info")
			default:
				t.Errorf("another line: %s", line)
			}
		}
		if len(levels) != 2 || levels[0] != "warn" || levels[1] != "info" {
			t.Errorf("the log:\n%s", log)
		}
		if counted.failed["purge"] < 3 || counted.ok["purge"] < 10 {
			t.Errorf("counted %v and %v", counted.ok, counted.failed)
		}
	})
}

// A rare task is not tried more rarely when it fails, nor so often that it does harm.
func TestRareTaskIsTriedAsOftenAsItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted, _ := during(t, 10*time.Hour, upkeep.Task{Name: "prune", Every: time.Hour, Run: func(context.Context) error { return errors.New("not now") }})
		if n := counted.failed["prune"]; n < 10 || n > 12 {
			t.Errorf("it was tried %d times in ten hours", n)
		}
	})
}

// times runs a task for a while and returns the pauses between its runs.
func times(t *testing.T, d time.Duration, task upkeep.Task) (pauses []time.Duration) {
	t.Helper()
	var last time.Time
	run := task.Run
	task.Run = func(ctx context.Context) error {
		if !last.IsZero() {
			pauses = append(pauses, time.Since(last))
		}
		last = time.Now()
		return run(ctx)
	}
	during(t, d, task)
	return pauses
}

func TestPausesAreJitteredAndNeverLongerThanTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pauses := times(t, 10*time.Minute, upkeep.Task{Name: "good", Every: time.Second, Run: func(context.Context) error { return nil }})
		shortest, longest := slices.Min(pauses), slices.Max(pauses)
		if longest > time.Second || shortest < 875*time.Millisecond || longest-shortest < 50*time.Millisecond {
			t.Errorf("pauses from %v to %v", shortest, longest)
		}
	})
}

// Tasks that all began in the same moment would need as many connections to the database.
func TestFirstRunsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		moments := map[time.Duration]bool{}
		task := upkeep.Task{Name: "first", Every: time.Hour, Run: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			moments[time.Since(began)] = true
			return nil
		}}
		during(t, time.Second, slices.Repeat([]upkeep.Task{task}, 20)...)
		if len(moments) != 20 {
			t.Errorf("20 tasks began in %d moments within a second", len(moments))
		}
	})
}

func TestBackoffEndsAtTheTasksOwnBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(context.Context) error { return errors.New("away") }
		for bound, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Second: time.Second, 3 * time.Second: 3 * time.Second} {
			pauses := times(t, time.Minute, upkeep.Task{Name: "lease", Every: time.Second, MaxBackoff: bound, Run: fails})
			if longest := slices.Max(pauses); longest > want || longest < want*7/8 {
				t.Errorf("bound %v: a pause of %v", bound, longest)
			}
		}
	})
}

// Some items fail for good: the others are not to be looked after more rarely for that.
func TestPartialFailureIsOneWarningWithoutBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("one meeting cannot be changed")
		counted, log := during(t, 20500*time.Millisecond, upkeep.Task{Name: "reap", Every: time.Second, Run: func(context.Context) error {
			return fmt.Errorf("reap: %w", upkeep.Partial(denied))
		}})
		if n := counted.failed["reap"]; n < 20 || counted.ok["reap"] != 0 {
			t.Errorf("failed %d times in 20 s, ok %d times", n, counted.ok["reap"])
		}
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, denied.Error()) {
			t.Errorf("the log:\n%s", log)
		}
		if upkeep.Partial(nil) != nil || !errors.Is(upkeep.Partial(denied), denied) {
			t.Error("Partial changes what the error is")
		}
	})
}

func TestRunWaitsForTheLastRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := false
		during(t, time.Second, upkeep.Task{Name: "slow", Every: time.Second, Run: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			finished = true
			return nil
		}})
		if !finished {
			t.Error("Run returned while a task was at work")
		}
	})
}
