package httpapi_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"signald/internal/httpapi"
)

const descriptionPath = "/api/openapi.json"

// described is the API as the server describes it.
var described = sync.OnceValues(func() (routers.Router, error) {
	w := httptest.NewRecorder()
	httpapi.New(nil, nil, nil, thePage, http.NotFoundHandler(), httpapi.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, descriptionPath, http.NoBody))
	document, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(document)
})

// isDescribed checks an answer against the description. The site's every answer comes by here.
func isDescribed(t testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	api, err := described()
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := api.FindRoute(r)
	if err != nil || w.Code == http.StatusMethodNotAllowed {
		return // the page, or what does not exist
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			ExcludeResponseBody:   !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json"), // lines and tables have no schema
		},
	})
	if err != nil {
		t.Errorf("%s %s answers %d, not as described: %v", r.Method, r.URL.Path, w.Code, err)
	}
}

func describedBy(t *testing.T, s *site, path string) *openapi3.T {
	t.Helper()
	got := s.want(t, get(path), 200, "")
	document, err := openapi3.NewLoader().LoadFromData(got.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context(), openapi3.EnableSchemaFormatValidation(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	return document
}

func TestDescriptionIsOpenAPI(t *testing.T) {
	document := describedBy(t, onSQLite(t, nil), descriptionPath)
	if !document.IsOpenAPI31OrLater() {
		t.Errorf("version %s", document.OpenAPI)
	}
	ids := map[string]bool{}
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || op.Security == nil {
				t.Errorf("%s %s: %q %q has no name of its own, no summary or no security", method, path, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
		}
	}
	below := describedBy(t, onSQLite(t, func(o *httpapi.Options) { o.BasePath = "/meet" }), "/meet"+descriptionPath)
	if len(below.Servers) != 1 || below.Servers[0].URL != "/meet" {
		t.Errorf("below a path: %v", below.Servers)
	}
}

// operations calls f for every route of the description, with its path's parameters filled in.
func operations(t *testing.T, s *site, f func(method, path string, op *openapi3.Operation)) {
	t.Helper()
	document := describedBy(t, s, descriptionPath)
	for _, path := range slices.Sorted(maps.Keys(document.Paths.Map())) {
		for method, op := range document.Paths.Value(path).Operations() {
			f(method, path, op)
		}
	}
}

// publicRoutes may be used by anyone. A route that is to be one of them is added here, on purpose.
var publicRoutes = []string{
	"GET /api/openapi.json",
	"GET /api/v1/meetings/{id}",
	"GET /healthz",
	"GET /readyz",
	"POST /api/v1/meetings",
}

func TestEveryRouteIsPublicOrWantsACredential(t *testing.T) {
	s := onSQLite(t, nil)
	var found []string
	operations(t, s, func(method, path string, op *openapi3.Operation) {
		row := method + " " + path
		if slices.Contains(publicRoutes, row) {
			found = append(found, row)
			if len(*op.Security) > 0 {
				t.Errorf("%s is public and wants a credential", row)
			}
			return
		}
		r := request{method: method, path: strings.ReplaceAll(path, "{id}", "x")}
		s.want(t, r, http.StatusUnauthorized, "unauthorized")
		if len(*op.Security) > 0 {
			s.want(t, r.bearer("wrong"), http.StatusUnauthorized, "unauthorized")
		}
		if op.Responses.Status(http.StatusUnauthorized) == nil {
			t.Errorf("%s: the description says nothing of 401", row)
		}
	})
	slices.Sort(found)
	if !slices.Equal(found, publicRoutes) {
		t.Errorf("public are %v, want %v", found, publicRoutes)
	}
}

func TestEveryDescribedRouteAnswers(t *testing.T) {
	s := onSQLite(t, nil)
	operations(t, s, func(method, path string, _ *openapi3.Operation) {
		got := s.do(t, request{method: method, path: strings.ReplaceAll(path, "{id}", "x")})
		if code := got.text("code"); code == "not_found" || code == "method_not_allowed" {
			t.Errorf("%s %s: %s", method, path, code)
		}
	})
}

// Outside of the table only the page may be registered; what is in the table is in the description.
func TestEveryRegisteredRouteIsDescribed(t *testing.T) {
	page := []string{"/", "/api/", "/healthz", "/readyz", "GET /assets/", "GET /m/{key}", "GET /admin", "/socket.io/{$}"}
	files, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0) //nolint:staticcheck // only calls are looked at, no types
	if err != nil {
		t.Fatal(err)
	}
	registered := 0
	ast.Inspect(files["httpapi"], func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "Handle" && method.Sel.Name != "HandleFunc" {
			return true
		}
		registered++
		pattern, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			return true // the table's
		}
		if path, _ := strconv.Unquote(pattern.Value); !slices.Contains(page, path) {
			t.Errorf("%s is registered outside of the table of routes", path)
		}
		return true
	})
	if registered < len(page) {
		t.Errorf("%d calls seen: is this still how routes are registered?", registered)
	}
}
