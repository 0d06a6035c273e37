package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"signald/internal/audit"
	"signald/internal/fault"
	"signald/internal/store"
)

type auditPage struct {
	Items       []audit.Item `json:"items"`
	NextCursor  string       `json:"next_cursor"`
	Attribution string       `json:"attribution,omitempty" doc:"of the places, as their licence asks"`
}

const (
	auditPageRows     = 500 // of JSON, at most
	auditWriteTimeout = 30 * time.Second
)

var auditFilters = []param{
	{"from", "Created then or later: RFC 3339, or a date."},
	{"to", "Created before: RFC 3339, or a date."},
	{"ip", "The creator's address, or a network as 192.0.2.0/24."},
	{"country", "A code of two letters."},
	{"city", "Whole, in any case."},
	{"q", "The beginning of the name, in any case, or of the key."},
}

func (a *API) auditRoutes() []route {
	return []route{{
		method: "GET", path: "/api/v1/admin/audit", name: "listAudit",
		summary: "Who created which meeting, when, from where; newest first.",
		about: "As JSON in pages: `next_cursor` of one is the `cursor` of the next, and empty on the last; another page may hold less than `limit`. " +
			"`ndjson` and `csv` stream every row that fits; an answer that is broken off is not whole.",
		access: onlyAdmin,
		query: append(slices.Clone(auditFilters), []param{
			{"limit", "Rows: 1 to 500 in a page, else 50; of a stream the first so many."},
			{"cursor", "Where to go on."},
			{"format", "json (the default), ndjson or csv."},
			{"bom", "1: a byte order mark before CSV, for Excel."},
		}...),
		answers: answers{http.StatusOK: auditPage{}}, also: []string{"application/x-ndjson", "text/csv"},
		handler: http.HandlerFunc(a.audit),
	}}
}

// audit answers with creations, newest first: a page of JSON, or all rows as NDJSON or CSV.
func (a *API) audit(w http.ResponseWriter, r *http.Request) {
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		a.json(a.auditPage).ServeHTTP(w, r)
	case "ndjson", "csv":
		w.Header().Set("Cache-Control", "no-store")
		if err := a.auditStream(w, r, format); err != nil {
			a.fail(w, r, err)
		}
	default:
		w.Header().Set("Cache-Control", "no-store")
		a.fail(w, r, fault.Invalid("format", "format is json, ndjson or csv."))
	}
}

func (a *API) auditPage(r *http.Request) (int, any, error) {
	q, err := a.filter(r)
	if err != nil {
		return 0, nil, err
	}
	if q.Limit, err = audit.Limit(r.URL.Query(), auditPageRows); err != nil {
		return 0, nil, err
	}
	page, err := a.store.Audit(r.Context(), q)
	if err != nil {
		return 0, nil, auditFault(err)
	}
	out := auditPage{Items: make([]audit.Item, len(page.Items)), NextCursor: page.NextCursor, Attribution: a.places.Attribution()}
	for i, m := range page.Items {
		out.Items[i] = audit.ItemOf(m)
	}
	return http.StatusOK, out, nil
}

func auditFault(err error) error {
	if errors.Is(err, store.ErrBadCursor) {
		return fault.Invalid("cursor", "cursor is not one that this server gave.")
	}
	return translate(err)
}

// auditStream writes rows a page at a time, so that memory holds one page however many there are. After
// the first page an error can only be told by breaking the answer off.
func (a *API) auditStream(w http.ResponseWriter, r *http.Request, format string) error {
	q, err := a.filter(r)
	if err != nil {
		return err
	}
	limit, err := audit.Limit(r.URL.Query(), audit.MaxRows)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // of the connection, which may be used again
	out, begun := audit.NewWriter(format, w), false
	err = audit.Walk(r.Context(), a.store, q, limit, func(items []audit.Item) error {
		if a.opts.Draining() && begun {
			return errDraining
		}
		if !begun {
			begun = true
			auditHeader(w.Header(), format)
			if format == "csv" && r.URL.Query().Get("bom") == "1" {
				_, _ = w.Write([]byte(audit.BOM)) // what comes next says if it fails
			}
		}
		_ = control.SetWriteDeadline(time.Now().Add(auditWriteTimeout)) // a recorder has none
		if err := out.Write(items); err != nil {
			return err
		}
		_ = control.Flush()
		if r.Method == http.MethodHead {
			return errHeadOnly
		}
		return nil
	})
	switch {
	case errors.Is(err, errHeadOnly):
		return nil
	case err != nil && !begun:
		return auditFault(err)
	case err == nil:
		err = out.Close()
	}
	if err != nil {
		a.opts.Log.Debug().Err(err).Msg("audit broken off")
		panic(http.ErrAbortHandler) // else the client would take what it has for everything
	}
	return nil
}

var (
	errDraining = errors.New("the server is about to stop")
	errHeadOnly = errors.New("a HEAD request has no body")
)

func auditHeader(h http.Header, format string) {
	if format == "ndjson" {
		h.Set("Content-Type", "application/x-ndjson; charset=utf-8")
		return
	}
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="audit-`+time.Now().UTC().Format("20060102-150405")+`.csv"`)
}
