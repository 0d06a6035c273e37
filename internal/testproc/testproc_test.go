package testproc_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"signald/internal/testproc"
)

const crashVariable = "TESTPROC_CRASH"

// TestCrashedTestLeavesNothingBehind starts itself anew; the copy starts a server and is killed.
func TestCrashedTestLeavesNothingBehind(t *testing.T) {
	if os.Getenv(crashVariable) != "" {
		startAndDie(t)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), crashVariable+"=1")
	out, err := again.Output()
	if err == nil {
		t.Fatal("the copy was not killed")
	}
	var folder string
	var pid int
	if _, err := fmt.Sscanf(strings.TrimSpace(string(out)), "%s %d", &folder, &pid); err != nil {
		t.Fatalf("the copy said %q: %v", out, err)
	}
	err = testproc.Until(5*time.Second, func() error {
		if syscall.Kill(pid, 0) == nil {
			return errors.New("the server still runs")
		}
		if _, err := os.Stat(folder); err == nil {
			return errors.New("the folder is still there")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func startAndDie(t *testing.T) {
	folder, err := testproc.Folder("signald-testproc", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := testproc.Start(folder, nil, "KILL", "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(folder, s.Pid)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
