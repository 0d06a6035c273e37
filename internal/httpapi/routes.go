package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"signald/internal/fault"
)

// route is one row of the API: what answers, who may ask, and what the description at /api/openapi.json
// says of it. A new endpoint needs no more than a row.
type route struct {
	method, path string
	name         string // operationId
	summary      string
	about        string // what else there is to know

	access  access
	query   []param
	body    any          // a value of the JSON body's type; nil: none is read
	answers answers      // but for errors
	also    []string     // other media types than JSON that the answer may have
	errors  []fault.Code // beside those that its access and its body bring along
	unpaced bool         // it is answered however often it is asked

	handler http.Handler
}

// access is who may use a route.
type access int

const (
	public      access = iota
	participant        // Bearer: a resume token, which the handler looks at
	tokenInBody        // likewise, where no header can be set
	onlyAdmin          // seen to before the handler
)

// answers are, by status, values of the types of the bodies; nil: there is no body.
type answers map[int]any

// param is a parameter of the query; its path's are known by the path.
type param struct{ name, about string }

// routes are the whole API.
func (a *API) routes() []route {
	return slices.Concat(a.meetingRoutes(), a.attendeeRoutes(), a.auditRoutes(), a.adminRoutes(), a.healthRoutes(), []route{{
		method: "GET", path: "/api/openapi.json", name: "describe", summary: "This description.",
		answers: answers{http.StatusOK: map[string]any{}}, handler: http.HandlerFunc(a.describe),
	}})
}

// handle makes the routes' handlers known. The mux is of their own: below a pattern for every path, no
// method would be a wrong one.
func (a *API) handle(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		handler := r.handler
		if r.access == onlyAdmin {
			handler = a.forAdmin(a.onlyKnown(r.query, handler))
		}
		mux.Handle(r.method+" "+r.path, handler)
	}
	return mux
}

// forAdmin lets nobody but the admin through.
func (a *API) forAdmin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.admin(r); err != nil {
			w.Header().Set("Cache-Control", "no-store")
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// onlyKnown refuses a parameter that there is not: a filter with a misspelt name would let everything through.
func (a *API) onlyKnown(params []param, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.URL.Query() {
			if !slices.ContainsFunc(params, func(p param) bool { return p.name == name }) {
				w.Header().Set("Cache-Control", "no-store")
				a.fail(w, r, fault.Invalid(name, unknownParam(name, params)))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func unknownParam(name string, params []param) string {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
	}
	if len(names) == 0 {
		return fmt.Sprintf("There is no parameter %.40q here, nor any other.", name)
	}
	return fmt.Sprintf("There is no parameter %.40q here, only %s.", name, strings.Join(names, ", "))
}

// codes are the errors that a route may answer with.
func (r route) codes() []fault.Code {
	codes := slices.Clone(r.errors)
	if !r.unpaced {
		codes = append(codes, fault.RateLimited)
	}
	if r.body != nil {
		codes = append(codes, fault.InvalidPayload, fault.PayloadTooLarge)
	}
	switch r.access {
	case public:
	case participant, tokenInBody:
		codes = append(codes, fault.Unauthorized)
	case onlyAdmin:
		codes = append(codes, fault.InvalidPayload, fault.Unauthorized, fault.Forbidden, fault.RateLimited)
	}
	if r.access != public || len(r.errors) > 0 || r.body != nil { // it does something, which may go wrong
		codes = append(codes, fault.Unavailable, fault.Internal)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}
