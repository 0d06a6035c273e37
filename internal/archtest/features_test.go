package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The features page names tests; whoever renames one is told here.
func TestFeaturesNameTestsThatExist(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "grep", "-rhoE", "--include=*_test.go", `^func ((Test|Fuzz)[A-Za-z0-9_]+)`, filepath.Join(root, "internal"), filepath.Join(root, "cmd")).Output()
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, line := range strings.Fields(string(out)) {
		exists[line] = true
	}
	cases, err := os.ReadFile(filepath.Join(root, "internal/store/storetest/storetest.go"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "web/e2e/*.ts"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no browser tests", err)
	}
	quoted := string(cases)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		quoted += string(b)
	}
	for _, page := range []string{"FEATURES.md", "SECURITY.md", "OPERATIONS.md"} {
		doc, err := os.ReadFile(filepath.Join(root, "docs", page))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(doc), -1) {
			if !exists[m[1]] {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^\|.*$`).FindAllString(string(doc), -1) {
			prose := regexp.MustCompile("`[^`]*`").ReplaceAllString(m, "")
			for _, q := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(prose, -1) {
				if page != "SECURITY.md" && !strings.Contains(quoted, q[1]) {
					t.Errorf("%s names %q, which is not there", page, q[1])
				}
			}
		}
	}
}
