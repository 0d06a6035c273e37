// Package archtest keeps the direction of imports between the rooms of the house (docs/ARCHITECTURE.md).
package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "signald/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string // all it needs, through others too; without its tests
}

// rule says what a package may not do. It returns what it found, nothing if all is well.
type rule func(pkg) []string

// A package that does not exist breaks no rule.
var rules = []rule{
	importsNothingOfOurs("internal/fault", "internal/socketio", "internal/geo", "internal/pairs", "internal/tracing", "migrations"),
	neverNeeds("internal/rooms", "internal/store", "internal/socketio", "internal/protocol", "internal/cluster"),
	onlyImportedBy("internal/signaling", "cmd/"),
	onlyImportedBy("internal/httpapi", "cmd/"),
	onlyImportedBy("internal/webhook", "cmd/"),
	libraryOnlyIn("github.com/zishang520/", "internal/socketio"),
	libraryOnlyIn("github.com/prometheus/", "internal/metrics"),
	libraryOnlyIn("github.com/pion/", "internal/ice/relay"),
	libraryOnlyIn("go.opentelemetry.io/otel", "internal/tracing"),
}

func importsNothingOfOurs(paths ...string) rule {
	return func(p pkg) (found []string) {
		for _, path := range paths {
			if !within(p.ImportPath, module+path) {
				continue
			}
			for _, imported := range p.Imports {
				if strings.HasPrefix(imported, module) && !within(imported, module+path) {
					found = append(found, imported)
				}
			}
		}
		return found
	}
}

func neverNeeds(path string, others ...string) rule {
	return func(p pkg) (found []string) {
		if !within(p.ImportPath, module+path) {
			return nil
		}
		for _, dep := range p.Deps {
			if slices.ContainsFunc(others, func(other string) bool { return within(dep, module+other) }) {
				found = append(found, dep)
			}
		}
		return found
	}
}

// onlyImportedBy leaves tests free: an end-to-end test builds the whole house.
func onlyImportedBy(path, importer string) rule {
	return func(p pkg) (found []string) {
		if strings.HasPrefix(p.ImportPath, module+importer) || within(p.ImportPath, module+path) {
			return nil
		}
		for _, imported := range p.Imports {
			if within(imported, module+path) {
				found = append(found, imported)
			}
		}
		return found
	}
}

func libraryOnlyIn(library, path string) rule {
	return func(p pkg) (found []string) {
		if within(p.ImportPath, module+path) {
			return nil
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if strings.HasPrefix(imported, library) {
				found = append(found, imported)
			}
		}
		return found
	}
}

// within reports whether path is the package or below it.
func within(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

func TestImportsKeepTheirDirection(t *testing.T) {
	for _, p := range list(t) {
		for _, broken := range check(p) {
			t.Error(broken)
		}
	}
}

func check(p pkg) (broken []string) {
	for _, rule := range rules {
		for _, imported := range rule(p) {
			broken = append(broken, fmt.Sprintf("%s must not import %s", p.ImportPath, imported))
		}
	}
	return broken
}

func list(t *testing.T) (packages []pkg) {
	t.Helper()
	// -e: whether a package compiles is for others to say.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"...")
	cmd.Dir = "../.."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 2 {
		t.Fatalf("go list knows only %v", packages)
	}
	return packages
}

func TestRulesSeeWhatBreaksThem(t *testing.T) {
	const socketIO = "github.com/zishang520/socket.io/v2/socket"
	for _, c := range []struct {
		name   string
		p      pkg
		broken bool
	}{
		{"geo imports a part of ours", pkg{ImportPath: "signald/internal/geo", Imports: []string{"signald/internal/store"}}, true},
		{"geo imports others", pkg{ImportPath: "signald/internal/geo", Imports: []string{"net", "golang.org/x/text/language"}}, false},
		{"socketio imports its own", pkg{ImportPath: "signald/internal/socketio", Imports: []string{"signald/internal/socketio/frame"}}, false},
		{"rooms needs the store through another", pkg{ImportPath: "signald/internal/rooms", Deps: []string{"signald/internal/store"}}, true},
		{"rooms needs faults", pkg{ImportPath: "signald/internal/rooms", Deps: []string{"signald/internal/fault"}}, false},
		{"httpapi imports signaling", pkg{ImportPath: "signald/internal/httpapi", Imports: []string{"signald/internal/signaling"}}, true},
		{"cmd imports signaling", pkg{ImportPath: "signald/cmd/signald", Imports: []string{"signald/internal/signaling"}}, false},
		{"a test imports the library", pkg{ImportPath: "signald/internal/client", TestImports: []string{socketIO}}, true},
		{"socketio imports the library", pkg{ImportPath: "signald/internal/socketio", Imports: []string{socketIO}}, false},
	} {
		if got := check(c.p); (len(got) > 0) != c.broken {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
