package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLocksAreNamed has the page on locks (docs/ARCHITECTURE.md) name each type with a mutex, as
// `package.Type`, or its package, as `package.*`. What is taken under what is for its author to say.
func TestLocksAreNamed(t *testing.T) {
	page, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Locks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := func(pkg, name string) bool {
		return strings.Contains(section, "`"+pkg+".*`") || strings.Contains(section, "`"+pkg+"."+name+"`") ||
			strings.Contains(section, "`"+pkg+"."+name+".") || strings.Contains(section, "`"+name+".")
	}
	found := 0
	for _, root := range []string{"../../internal", "../../cmd/signald"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || isForTests(path) {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, name := range withMutex(file) {
				if found++; !named(file.Name.Name, name) {
					t.Errorf("%s: the page on locks does not name %s.%s", path, file.Name.Name, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("%d types with a mutex: are they looked for rightly?", found)
	}
}

// isForTests: programs and servers that no production process has.
func isForTests(path string) bool {
	for _, dir := range []string{"/test", "/e2e/", "/load/", "/client/", "/benchpeer/", "/faultproxy/", "/storetest/"} {
		if strings.Contains(filepath.ToSlash(path), dir) {
			return true
		}
	}
	return false
}

// withMutex lists the struct types of a file that have a mutex.
func withMutex(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		of, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := of.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				if is, ok := field.Type.(*ast.SelectorExpr); ok && (is.Sel.Name == "Mutex" || is.Sel.Name == "RWMutex") {
					names = append(names, of.Name.Name)
					break
				}
			}
		}
		return true
	})
	return names
}
