package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"signald/internal/fault"
)

// declared are the values of the Code constants, as the source has them.
func declared(t *testing.T) (codes []fault.Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			s, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, fault.Code(s))
		}
		return true
	})
	if len(codes) < 20 {
		t.Fatalf("only %d codes in the source", len(codes))
	}
	return codes
}

func TestEveryCodeHasAStatusAndASentence(t *testing.T) {
	codes := declared(t)
	listed := fault.Codes()
	if len(listed) != len(codes) {
		t.Errorf("%d codes, %d with a meaning", len(codes), len(listed))
	}
	for _, code := range codes {
		if !slices.Contains(listed, code) {
			t.Errorf("%s has no meaning", code)
			continue
		}
		if s := code.Status(); s < 400 || s > 599 || http.StatusText(s) == "" {
			t.Errorf("%s: status %d", code, s)
		}
		m := fault.New(code).Message
		if m == "" || !unicode.IsUpper(rune(m[0])) || !strings.HasSuffix(m, ".") {
			t.Errorf("%s: %q is no sentence", code, m)
		}
		if retry := fault.New(code).RetryAfterMS; retry > 0 && code.Status() != 429 && code.Status() != 503 {
			t.Errorf("%s: %d with a time to retry", code, code.Status())
		}
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(string(code)) {
			t.Errorf("%q is no name of a code", code)
		}
	}
}

// TestDocumentListsEveryCode: with its status, and no others.
func TestDocumentListsEveryCode(t *testing.T) {
	b, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## Errors\n")
	if !found {
		t.Fatal("no section Errors")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[fault.Code]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\| [^|]+ \\|$").FindAllStringSubmatch(section, -1) {
		status, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		documented[fault.Code(row[1])] = status
	}
	for _, code := range fault.Codes() {
		if documented[code] != code.Status() {
			t.Errorf("%s is %d, documented %d", code, code.Status(), documented[code])
		}
		delete(documented, code)
	}
	for code := range documented {
		t.Errorf("%s is documented only", code)
	}
}

func TestAnUnknownCodeIsOurFault(t *testing.T) {
	if s := fault.Code("no_such").Status(); s != http.StatusInternalServerError {
		t.Errorf("status %d", s)
	}
}

func TestCodeOf(t *testing.T) {
	known := fault.New(fault.MeetingFull)
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{nil, ""},
		{io.EOF, fault.Internal},
		{known, fault.MeetingFull},
		{fmt.Errorf("join: %w", known), fault.MeetingFull},
		{errors.Join(io.EOF, known), fault.MeetingFull},
		{fault.New(fault.Unavailable).Because(known), fault.Unavailable},
	} {
		if got := fault.CodeOf(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestErrorsAreComparedByCode(t *testing.T) {
	err := fmt.Errorf("join: %w", fault.New(fault.RateLimited).WithMessage("Slowly.").RetryAfter(time.Minute))
	if !errors.Is(err, fault.New(fault.RateLimited)) {
		t.Error("not the same code")
	}
	if errors.Is(err, fault.New(fault.Internal)) || errors.Is(err, io.EOF) {
		t.Error("another error is the same")
	}
}

func TestCausesAreForTheLogAlone(t *testing.T) {
	err := fault.New(fault.Unavailable).Because(io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("the log does not see the cause: %v", err)
	}
	b, jsonErr := json.Marshal(err)
	if jsonErr != nil || strings.Contains(string(b), "EOF") {
		t.Errorf("the client sees %s, %v", b, jsonErr)
	}
}

func TestJSON(t *testing.T) {
	internal := fault.New(fault.Internal)
	internal.Ref = "0a1b"
	for _, c := range []struct {
		err  *fault.Error
		want string
	}{
		{fault.Invalid("name", "name is missing."), `{"ok":false,"code":"invalid_payload","message":"name is missing.","field":"name"}`},
		{fault.New(fault.RateLimited).WithMessage("Wait.").RetryAfter(1500 * time.Millisecond), `{"ok":false,"code":"rate_limited","message":"Wait.","retry_after_ms":1500}`},
		{internal.WithMessage("Sorry."), `{"ok":false,"code":"internal","message":"Sorry.","ref":"0a1b"}`},
		{fault.New(fault.MeetingNotFound).WithMessage("No."), `{"ok":false,"code":"meeting_not_found","message":"No.","error":"会议不存在"}`},
	} {
		if b, err := json.Marshal(c.err); err != nil || string(b) != c.want {
			t.Errorf("%s, %v; want %s", b, err, c.want)
		}
	}
}

func TestRetryIsNeverTooEarly(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-time.Second: 1, 0: 1, time.Microsecond: 1, time.Millisecond: 1, 1001 * time.Microsecond: 2, 20 * time.Millisecond: 20, time.Second: 1000,
	} {
		if got := fault.New(fault.RateLimited).RetryAfter(d).RetryAfterMS; got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}
