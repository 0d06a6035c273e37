package store_test

import (
	"database/sql"
	"io/fs"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // for the tests' own look at PostgreSQL
	"github.com/pressly/goose/v3"

	"signald/migrations"
)

// raw is a connection beside the store, as a person with the database's own tools would have.
func raw(t testing.TB, url string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, url = "sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func exec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// migrateTo brings the schema to a version, up or down.
func migrateTo(t testing.TB, url string, version int64) {
	t.Helper()
	folder, dialect := "postgres", goose.DialectPostgres
	if isSQLite(url) {
		folder, dialect = "sqlite", goose.DialectSQLite3
	}
	files, err := fs.Sub(migrations.FS, folder)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(dialect, raw(t, url), files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	have, err := provider.GetDBVersion(t.Context())
	if err == nil && have < version {
		_, err = provider.UpTo(t.Context(), version)
	} else if err == nil {
		_, err = provider.DownTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func isSQLite(url string) bool { return strings.HasPrefix(url, "sqlite:") }
