package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/rs/zerolog"

	"signald/migrations"
)

// schema is one dialect's migrations.
type schema struct {
	folder  string
	dialect goose.Dialect
	options []goose.ProviderOption
}

var (
	sqliteSchema   = schema{folder: "sqlite", dialect: goose.DialectSQLite3} // its file is ours alone by then
	postgresSchema = schema{folder: "postgres", dialect: goose.DialectPostgres, options: []goose.ProviderOption{
		goose.WithSessionLocker(advisoryLock{}),
	}}
)

// migrate brings the schema up to date, or says ErrSchemaNewer and leaves it alone.
func migrate(ctx context.Context, db *sql.DB, s schema, log zerolog.Logger) error {
	files, err := fs.Sub(migrations.FS, s.folder)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	provider, err := goose.NewProvider(s.dialect, db, files, append(s.options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if have > newest {
		return fmt.Errorf("%w: the database has version %d, this program knows %d: start a newer signald or restore a backup", ErrSchemaNewer, have, newest)
	}
	if have == newest {
		return nil
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	if len(results) > 0 { // else another server was faster
		log.Info().Int64("from", have).Int64("to", newest).Msg("schema migrated")
	}
	return nil
}

// advisoryLock lets one server migrate at a time. goose's own asks every five seconds at first; and it
// must ask rather than wait in PostgreSQL, since a session that waits there would hold up a
// CREATE INDEX CONCURRENTLY of the one that migrates.
type advisoryLock struct{}

const (
	advisoryLockID   = 0x7369676e616c64 // "signald"
	advisoryLockPoll = 25 * time.Millisecond
)

func (advisoryLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	tick := time.NewTicker(advisoryLockPoll)
	defer tick.Stop()
	for {
		var ok bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(advisoryLockID)).Scan(&ok); err != nil {
			return fmt.Errorf("lock the schema: %w", err)
		}
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("lock the schema: another server is migrating it: %w", ctx.Err())
		}
	}
}

func (advisoryLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(advisoryLockID)); err != nil {
		return fmt.Errorf("unlock the schema: %w", err)
	}
	return nil
}
