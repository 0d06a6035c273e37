package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"

	"signald/migrations"
)

// readOnlyTimeout bounds the calls of a database opened for reading: a person waits for each, and no
// client of the server does.
const readOnlyTimeout = time.Minute

// OpenReadOnly opens the database at url for reading, beside a server that has it open or without one:
// it takes no owner lock, migrates nothing and writes nothing (in SQLite a -wal and a -shm file may
// appear beside the database, as for any reader). Calls that write fail. A schema that is not this
// program's is refused.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	var d dialect
	var folder schema
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		folder = sqliteSchema
		d, err = openSQLiteReadOnly(ctx, rest)
	case "postgres", "postgresql":
		folder = postgresSchema
		d, err = openPostgresReadOnly(ctx, url)
	default:
		return nil, errors.New("database url must begin with sqlite: or postgres://")
	}
	if err != nil {
		return nil, err
	}
	s := newStore(readOnly{d})
	s.timeout = readOnlyTimeout
	if err := s.checkSchema(ctx, folder); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// readOnly refuses what would write.
type readOnly struct{ dialect }

func (readOnly) begin(context.Context, txnOptions, ...query) (txn, error) {
	return nil, errors.New("the database is open for reading only")
}

// checkSchema compares the schema with the migrations that this program knows.
func (s *Store) checkSchema(ctx context.Context, want schema) error {
	files, err := migrations.FS.ReadDir(want.folder)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	newest, err := goose.NumericComponent(files[len(files)-1].Name())
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	var have int64
	err = s.read(ctx, "read the schema's version", query{
		statement{sql: `SELECT max(version_id) FROM goose_db_version`},
		func(r row) error { return r.Scan(&have) },
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case err != nil:
		return fmt.Errorf("this is no database of signald, or one that may not be read: %w", err)
	case have > newest:
		return fmt.Errorf("%w: the database has version %d, this program knows %d", ErrSchemaNewer, have, newest)
	case have < newest:
		return fmt.Errorf("the database has schema version %d, this program needs %d: start the server once, which migrates it", have, newest)
	}
	return nil
}

// openSQLiteReadOnly has one connection, which is the reader. In WAL mode it neither waits for the
// server's writer nor makes it wait.
func openSQLiteReadOnly(ctx context.Context, path string) (*sqlite, error) {
	if path == ":memory:" {
		return nil, errors.New("open SQLite: a database in memory is seen by its own server alone")
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	s := &sqlite{readers: make(chan *sqliteConn, 1)}
	s.writer = s.readers
	var err error
	s.db, err = sql.Open("sqlite", sqliteFile(path)+fmt.Sprintf("mode=ro&_pragma=busy_timeout(%d)&_pragma=query_only(1)", sqliteBusy.Milliseconds()))
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	c := &sqliteConn{readOnly: true}
	if err := s.open(ctx, c); err != nil {
		return nil, errors.Join(s.opening(err), s.db.Close())
	}
	s.give(c)
	return s, nil
}

func openPostgresReadOnly(ctx context.Context, dsn string) (*postgres, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err) // pgx leaves the password out
	}
	config.MaxConns = 1
	for name, value := range map[string]string{
		"default_transaction_read_only": "on",
		"statement_timeout":             millis(readOnlyTimeout),
		"application_name":              "signald audit",
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	p := &postgres{gates: newGates()}
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	return p, nil
}
