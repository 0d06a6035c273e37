// Package testproc runs a server for tests that cannot outlive them.
package testproc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is a running server under a guard: a shell that waits for our end of a pipe to close. The
// kernel closes it when the test process ends, in whatever way, and then the guard kills the server and
// removes its folder. (A parent-death signal would not do: it follows the thread that forked, and is
// lost when the server changes its user.)
type Server struct {
	Pid int

	guard  *exec.Cmd
	pipe   io.WriteCloser
	folder string
}

// The guard's arguments: signal, folder, command. What it is told before the pipe closes: keep, to leave
// the folder.
const guard = `
signal=$1; folder=$2; shift 2
"$@" >>"$folder/server.log" 2>&1 &
pid=$!
echo $pid
exec >/dev/null
read -r word
kill -s "$signal" $pid 2>/dev/null
kill -s CONT $pid 2>/dev/null
wait $pid
[ "$word" = keep ] || rm -rf "$folder"
`

// Folder makes a temporary folder for owner; nil is whoever we are.
func Folder(name string, owner *syscall.Credential) (string, error) {
	folder, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return "", err
	}
	if owner == nil {
		return folder, nil
	}
	if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
}

// Start runs the command in folder, which goes with it; its output is in folder's server.log. signal, by
// name, is how it is stopped.
func Start(folder string, owner *syscall.Credential, signal string, command ...string) (*Server, error) {
	cmd := exec.Command("/bin/sh", slices.Concat([]string{"-c", guard, "guard", signal, folder}, command)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+folder)
	// A group of its own, so that a Ctrl-C at the terminal leaves the guard time to clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: owner}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{guard: cmd, pipe: pipe, folder: folder}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		s.Pid, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", command[0], err), s.Stop(false))
	}
	return s, nil
}

// Stop ends the server and waits until it is gone; keep leaves its folder for another Start.
func (s *Server) Stop(keep bool) error {
	if keep {
		if _, err := io.WriteString(s.pipe, "keep\n"); err != nil {
			return err
		}
	}
	if err := s.pipe.Close(); err != nil {
		return err
	}
	_ = s.guard.Wait() // its status tells whether rm was asked for, nothing else
	return nil
}

// Signal sends the server a signal: SIGSTOP freezes it, SIGKILL ends it.
func (s *Server) Signal(sig syscall.Signal) error { return syscall.Kill(s.Pid, sig) }

// Log is the end of what the server said.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.folder, "server.log"))
	return string(b[max(0, len(b)-2000):])
}

// Until asks ready every few milliseconds until it says nil.
func Until(limit time.Duration, ready func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var givenPorts sync.Map

// FreePort is a port on loopback that was free a moment ago. It is below those that systems take for
// outgoing connections, so that a server which a test stops finds its port free when it comes back. No port
// is given twice: who was given it may not listen yet.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 12_000 + rand.IntN(20_000) //nolint:gosec // no secret
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
			continue
		}
		if err = l.Close(); err != nil {
			return 0, err
		}
		if _, twice := givenPorts.LoadOrStore(port, true); !twice {
			return port, nil
		}
		err = errors.New("no port that was not given before")
	}
	return 0, err
}

// Find is the path of a program: from PATH or the newest match of the patterns.
func Find(program string, patterns ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(pattern, program))
		if err == nil && len(found) > 0 {
			return slices.Max(found), nil
		}
	}
	return "", fmt.Errorf("%s is not installed", program)
}

// Unprivileged is the named user's credential when we are root, and nil otherwise.
func Unprivileged(name string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
