package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/rs/zerolog"
)

// families are the socket families that the unit of deploy/ allows.
func families(t *testing.T) []string {
	t.Helper()
	unit, err := os.ReadFile("../../deploy/systemd/signald.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^RestrictAddressFamilies=(.+)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit restricts no families")
	}
	return strings.Fields(string(m[1]))
}

// The TURN server knows this host's addresses under the unit's own filter. Without them it does not start, and says why.
func TestTURNServerStartsUnderTheUnitsFilter(t *testing.T) {
	for name, c := range map[string]struct {
		families []string
		starts   bool
	}{
		"the unit's":      {families(t), true},
		"without netlink": {slices.DeleteFunc(families(t), func(f string) bool { return f == "AF_NETLINK" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestInsideTheFilter$", "-test.v")
			cmd.Env = append(os.Environ(), "SIGNALD_TEST_FAMILIES="+strings.Join(c.families, " "))
			out, err := cmd.CombinedOutput()
			started := strings.Contains(string(out), "--- PASS: TestInsideTheFilter") && err == nil
			if started != c.starts || !started && !strings.Contains(string(out), "AF_NETLINK in RestrictAddressFamilies") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestInsideTheFilter is the process that the filter is for.
func TestInsideTheFilter(t *testing.T) {
	allowed := os.Getenv("SIGNALD_TEST_FAMILIES")
	if allowed == "" {
		t.Skip("TestTURNServerStartsUnderTheUnitsFilter runs this")
	}
	if err := restrictFamilies(strings.Fields(allowed)); err != nil {
		t.Fatal(err)
	}
	config := valid(func(c *Config) {
		c.TURNListen, c.TURNTLSListen, c.TURNPublicIP = "127.0.0.1:0", "off", []string{"192.0.2.1"}
	})
	s := &server{config: config, log: zerolog.Nop()}
	if _, err := s.iceServers(t.Context(), observedStore{}); err != nil {
		t.Fatal(err)
	}
	s.relay.Close()
}

// restrictFamilies has socket(2) of other families fail, in all threads, as systemd does (seccomp(2)).
func restrictFamilies(names []string) error {
	type filter struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	const (
		load, equal, ret   = 0x20, 0x15, 0x06
		allow, refuse      = 0x7fff0000, 0x00050000 | uint32(syscall.EAFNOSUPPORT)
		number, firstParam = 0, 16 // of struct seccomp_data
		seccomp            = 317
		modeFilter, tsync  = 1, 1
		prSetNoNewPrivs    = 38
	)
	known := map[string]uint32{"AF_UNIX": syscall.AF_UNIX, "AF_INET": syscall.AF_INET, "AF_INET6": syscall.AF_INET6, "AF_NETLINK": syscall.AF_NETLINK}
	program := []filter{{load, 0, 0, number}, {equal, 1, 0, syscall.SYS_SOCKET}, {ret, 0, 0, allow}, {load, 0, 0, firstParam}}
	for _, name := range names {
		family, ok := known[name]
		if !ok {
			return errors.New("unknown family " + name)
		}
		program = append(program, filter{equal, 0, 1, family}, filter{ret, 0, 0, allow})
	}
	program = append(program, filter{ret, 0, 0, refuse})
	prog := struct {
		length uint16
		first  *filter
	}{uint16(len(program)), &program[0]}
	runtime.LockOSThread() // the filter's tsync gives all other threads what this one has
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.Syscall(seccomp, modeFilter, tsync, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return errno
	}
	return nil
}
