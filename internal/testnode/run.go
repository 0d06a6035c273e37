package testnode

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// Result of a command.
type Result struct {
	Code   int
	Output string // what it wrote to standard output, then to standard error
}

// Run runs a command of signald to its end.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	r := Result{Output: string(out)}
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		r.Code, r.Output = failed.ExitCode(), r.Output+string(failed.Stderr)
	case err != nil:
		t.Fatal(err)
	}
	return r
}
