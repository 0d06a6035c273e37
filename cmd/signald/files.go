package main

import (
	"os"
	"sync"
	"time"
)

// files knows how many file descriptors the process has open. Looking costs some milliseconds with
// 20,000 of them, so it looks once a second.
type files struct {
	limit int

	mu   sync.Mutex // held while it looks: others wait for the same answer
	at   time.Time
	open int
}

const (
	countEvery = time.Second
	// nearlyAll is the part of the descriptors from which on new clients had better go elsewhere:
	// the database, the other nodes and those who are here need the rest.
	nearlyAll = 0.9
)

// Short reports whether nearly all descriptors are in use; never where that cannot be seen.
func (f *files) Short() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.IsZero() || time.Since(f.at) >= countEvery {
		list, err := os.Open("/proc/self/fd")
		if err != nil {
			return false
		}
		names, _ := list.Readdirnames(-1) // what it has read counts
		_ = list.Close()
		f.at, f.open = time.Now(), len(names)
	}
	return float64(f.open) > nearlyAll*float64(f.limit)
}
