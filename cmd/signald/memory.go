package main

import (
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
)

const (
	mebibyte = 1 << 20

	// Queues of connections may take this part of the memory, up to maxQueued: an honest client has
	// nothing waiting but for moments, and 6 kB for each of 20,000 is more than that.
	shareOfQueues = 8
	maxQueued     = 128 * mebibyte

	// gcUnderPressure is how much garbage there may be while queues are full, in percent of what is in
	// use. Queues hold bytes, which need no scanning: collecting often costs little then, and garbage
	// would double the memory that they take.
	gcUnderPressure = 10
)

// limitMemory has the collector keep below the limit of the container (cgroup v1 and v2), unless
// GOMEMLIMIT says otherwise: without it Go does not know of the limit, and is killed at it.
func limitMemory(log zerolog.Logger) {
	if _, err := memlimit.Set(); err != nil {
		log.Warn().Err(err).Msg("memory limit of the container not known")
	}
}

// memory is how much the process may take: by GOMEMLIMIT, the container's limit, or the machine.
func memory() int64 {
	limit := uint64(debug.SetMemoryLimit(-1)) //nolint:gosec // never negative
	for _, of := range []memlimit.Provider{memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := of(); err == nil {
			limit = min(limit, n)
		}
	}
	return int64(limit) //nolint:gosec // not above what it was
}

// queued is how many bytes all connections may have waiting.
func (c *Config) queued() int {
	if c.MaxQueued > 0 {
		return c.MaxQueued * mebibyte
	}
	return int(min(memory()/shareOfQueues, maxQueued))
}

// collectOften follows socketio's OnPressure.
func collectOften() func(high bool) {
	usual := 100
	return func(high bool) {
		if high {
			usual = debug.SetGCPercent(gcUnderPressure)
		} else {
			debug.SetGCPercent(usual)
		}
	}
}
