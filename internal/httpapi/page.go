package httpapi

import (
	"io/fs"
	"net/http"
	"path"
	"strings"

	"signald/internal/fault"
)

// notBuilt is answered by a binary without the page.
const notBuilt = `<!doctype html><meta charset="utf-8"><title>signald</title>` +
	`<p>The page is not built into this binary. Run <code>make build</code>, then start <code>bin/signald serve</code>.`

// page answers with one of the built pages, whose links lead to where it is served.
func (a *API) page(name string) http.HandlerFunc {
	text, err := fs.ReadFile(a.files, name)
	if err != nil {
		text = []byte(notBuilt)
	}
	text = rebase(text, a.opts.BasePath)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // the client may be gone
	}
}

// asset serves what the build named by its content: it never changes.
func (a *API) asset(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	a.file(w, r)
}

// root serves the page, and the few files beside it.
func (a *API) root(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.fail(w, r, fault.New(fault.MethodNotAllowed))
		return
	}
	if r.URL.Path == "/" || r.URL.Path == "/index.html" {
		a.start(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	a.file(w, r)
}

func (a *API) file(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	info, err := fs.Stat(a.files, name)
	if err != nil || info.IsDir() || strings.HasSuffix(name, ".html") { // pages have their own paths
		w.Header().Del("Cache-Control")
		http.NotFound(w, r)
		return
	}
	http.ServeFileFS(w, r, a.files, name)
}
