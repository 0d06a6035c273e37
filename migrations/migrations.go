// Package migrations is the database schema, one file per change and dialect, embedded.
package migrations

import "embed"

// FS holds sqlite/*.sql and postgres/*.sql in goose's format. Both have the same versions.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
