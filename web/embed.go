// Package web holds the built page inside the binary.
package web

import (
	"embed"
	"io/fs"
)

// dist is made by `npm run build`. Only dist/.gitkeep is committed, so the Go code builds without
// Node, with an empty page.
//
//go:embed all:dist
var dist embed.FS

// FS is the built page: index.html, favicon.svg and the hashed files below assets/.
// index.html is absent if the page was not built.
func FS() fs.FS {
	page, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // only for an invalid path, and "dist" is none
	}
	return page
}
