package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// usage is what a process has used.
type usage struct {
	cpu float64 // seconds
	rss int64   // bytes
}

// usageOf reads /proc. CPU comes in ticks of 10 ms.
func usageOf(pid int) (usage, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, false
	}
	end := strings.LastIndexByte(string(b), ')') // the command may hold anything
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 22 {
		return usage{}, false
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	pages, err3 := strconv.ParseInt(f[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return usage{}, false
	}
	return usage{float64(user+system) / 100, pages * int64(os.Getpagesize())}, true
}

func commandOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// listener finds the process that listens on a TCP port here; 0 if it cannot.
func listener(port int) int {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return 0
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		fds, err := os.ReadDir(p + "/fd")
		if err != nil {
			continue // not ours to see
		}
		for _, fd := range fds {
			link, err := os.Readlink(p + "/fd/" + fd.Name())
			if err == nil && inodes[link] {
				pid, _ := strconv.Atoi(filepath.Base(p))
				return pid
			}
		}
	}
	return 0
}

// ownCPU is what this process has used, in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// raiseDescriptors makes room for n descriptors, as far as it may.
func raiseDescriptors(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("the limit of descriptors: %w", err)
	}
	want := uint64(n)
	if limit.Cur >= want {
		return nil
	}
	raised := limit
	raised.Cur = max(min(want, limit.Max), limit.Cur)
	if want > limit.Max { // root may
		more := syscall.Rlimit{Cur: want, Max: want}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
			return nil
		}
		return fmt.Errorf("%d descriptors are needed and the hard limit is %d: raise it (as root: ulimit -Hn %d) or ask for fewer sockets", n, limit.Max, n)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("raise the limit of descriptors to %d: %w", want, err)
	}
	return nil
}
