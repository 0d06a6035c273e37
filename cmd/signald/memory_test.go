package main

import (
	"runtime/debug"
	"testing"

	"github.com/rs/zerolog"
)

func TestQueuesHaveAnEighthOfTheMemoryAtMost(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, c := range []struct {
		limit, setting int64
		want           int
	}{
		{256 * mebibyte, 0, 32 * mebibyte},
		{512 * mebibyte, 0, 64 * mebibyte},
		{512 * mebibyte, 300, 300 * mebibyte},
	} {
		debug.SetMemoryLimit(c.limit)
		if got := (&Config{MaxQueued: int(c.setting)}).queued(); got != c.want {
			t.Errorf("of %d bytes with setting %d: %d, want %d", c.limit, c.setting, got, c.want)
		}
	}
	debug.SetMemoryLimit(before)
	if got := (&Config{}).queued(); got <= 0 || got > maxQueued {
		t.Errorf("of this machine: %d", got)
	}
}

func TestGarbageIsCollectedOftenWhileQueuesAreFull(t *testing.T) {
	const usual = 123
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	follow := collectOften()
	for _, high := range []bool{true, false, true, false} {
		follow(high)
		want := usual
		if high {
			want = gcUnderPressure
		}
		if got := debug.SetGCPercent(want); got != want {
			t.Errorf("with pressure %v: %d", high, got)
		}
	}
}

// The limit of a container is read from /sys/fs/cgroup, which only root can set up: the library tests that.
func TestExplicitLimitIsRespected(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "300MiB") // what the runtime has read at start
	debug.SetMemoryLimit(300 * mebibyte)
	limitMemory(zerolog.Nop())
	if got := debug.SetMemoryLimit(-1); got != 300*mebibyte {
		t.Errorf("GOMEMLIMIT became %d", got)
	}
}
