package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"
	sqlitedriver "modernc.org/sqlite"
	sqlitecode "modernc.org/sqlite/lib"
)

const (
	sqliteReaders = 4

	// Only a person's tool can hold the file's lock. SQLite's own wait for it heeds no context, so it is
	// short, and begin waits again.
	sqliteBusy = 200 * time.Millisecond

	// In WAL mode NORMAL loses nothing when the process dies, FULL nothing when the power fails either.
	// Creations take FULL, for the audit; who was in a meeting need not outlive the machine.
	sqliteNormal  = `PRAGMA synchronous = NORMAL`
	sqliteDurable = `PRAGMA synchronous = FULL`
)

// sqlite has one connection that writes and a few that read beside it. In memory the one does both.
type sqlite struct {
	db    *sql.DB
	owner *ownerLock // nil in memory

	writer  chan *sqliteConn // those at rest, taken by whoever uses one and given back
	readers chan *sqliteConn // in memory the same channel
}

// sqliteConn is used by one goroutine at a time. Its connection is nil after it broke, until it is taken
// the next time.
type sqliteConn struct {
	readOnly bool
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func openSQLite(ctx context.Context, path string, log zerolog.Logger) (_ *sqlite, err error) {
	s := &sqlite{}
	dsn := "file::memory:?"
	if path != ":memory:" {
		if s.owner, err = ownFile(path); err != nil {
			return nil, err
		}
		dsn = sqliteFile(path) + "_pragma=journal_mode(WAL)&"
	}
	// What is deleted is overwritten with zeros, whole pages, too: it may be what somebody said.
	dsn += fmt.Sprintf("_pragma=busy_timeout(%d)&_pragma=secure_delete(1)&_pragma=foreign_keys(1)&_pragma=synchronous(NORMAL)", sqliteBusy.Milliseconds())
	s.db, err = sql.Open("sqlite", dsn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite: %w", err), s.owner.release())
	}
	// In memory another connection would be another, empty database.
	s.db.SetMaxOpenConns(1)
	if err := migrate(ctx, s.db, sqliteSchema, log); err != nil {
		return nil, errors.Join(s.opening(err), s.db.Close(), s.owner.release())
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(s.opening(err), s.db.Close(), s.owner.release())
	}
	return s, nil
}

// sqliteFile is the beginning of a DSN, parameters may follow.
func sqliteFile(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + "?"
}

func (s *sqlite) opening(err error) error {
	if s.unavailable(err) {
		return fmt.Errorf("open SQLite: %w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("open SQLite: %w", err)
}

// connect opens every connection now, so that Open says if one cannot be had.
func (s *sqlite) connect(ctx context.Context) error {
	s.writer = make(chan *sqliteConn, 1)
	s.readers = s.writer
	conns := []*sqliteConn{{}}
	if s.owner != nil {
		s.db.SetMaxOpenConns(1 + sqliteReaders)
		s.readers = make(chan *sqliteConn, sqliteReaders)
		for range sqliteReaders {
			conns = append(conns, &sqliteConn{readOnly: true})
		}
	}
	for _, c := range conns {
		if err := s.open(ctx, c); err != nil {
			return err
		}
		s.give(c)
	}
	return nil
}

func (s *sqlite) open(ctx context.Context, c *sqliteConn) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	if c.readOnly {
		if _, err := conn.ExecContext(ctx, `PRAGMA query_only = 1`); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	c.conn, c.prepared = conn, map[string]*sql.Stmt{}
	return nil
}

// take waits for a connection at rest.
func (s *sqlite) take(ctx context.Context, pool chan *sqliteConn) (*sqliteConn, error) {
	select {
	case c := <-pool:
		if c.conn == nil {
			if err := s.open(ctx, c); err != nil {
				pool <- c
				return nil, err
			}
		}
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *sqlite) give(c *sqliteConn) {
	if c.readOnly {
		s.readers <- c
	} else {
		s.writer <- c
	}
}

func (s *sqlite) words() words {
	return words{
		inList:    `IN (SELECT value FROM json_each($1))`,
		notInList: `NOT IN (SELECT value FROM json_each($1))`,
		now:       `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`,
		database:  []string{`''`}, // a file has one server
		later:     `CAST((unixepoch('subsec') + $2) * 1000000 AS INTEGER)`,
		age:       `(unixepoch('subsec') - at / 1e6)`,

		claim: `true`,

		// Short: there is one writer, and every join waits for it.
		some: ` LIMIT 8`, rows: 8, batchTime: 700 * time.Microsecond,
	}
}

func (s *sqlite) time(t time.Time) any { return t.UnixMicro() }

// addr begins with the family, so that addresses of one family are neighbours in the index and a prefix
// is a range.
func (s *sqlite) addr(a netip.Addr) any {
	family := byte(6)
	if a.Is4() {
		family = 4
	}
	return append([]byte{family}, a.AsSlice()...)
}

func (s *sqlite) list(l []string) any {
	if l == nil {
		l = []string{}
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

func (s *sqlite) numbers(l []int64) any {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // numbers always encode
	}
	return string(b)
}

func (s *sqlite) ping(ctx context.Context) error {
	return s.read(ctx, query{statement{sql: `SELECT 1 FROM meetings_head`}, func(row) error { return nil }})
}

// close waits for the calls under way, which are bounded.
func (s *sqlite) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	var errs []error
	pools := []chan *sqliteConn{s.writer}
	if s.readers != s.writer {
		pools = append(pools, s.readers)
	}
	for _, pool := range pools {
		for range cap(pool) {
			select {
			case c := <-pool:
				errs = append(errs, c.close())
			case <-ctx.Done():
				errs = append(errs, errors.New("close SQLite: a connection is still in use"))
			}
		}
	}
	return errors.Join(append(errs, s.db.Close(), s.owner.release())...)
}

// tidy has the log written into the file and cut off: it holds what has been deleted since. While others read
// it is put off to the next time.
func (s *sqlite) tidy(ctx context.Context) error {
	c, err := s.take(ctx, s.writer)
	if err != nil {
		return err
	}
	defer s.give(c)
	return c.query(ctx, query{statement{sql: `PRAGMA wal_checkpoint(TRUNCATE)`}, func(row) error { return nil }})
}

// settle writes the log into the file beside the others' work, before it is so long that a join has to.
func (s *sqlite) settle(ctx context.Context) error {
	if s.owner == nil {
		return nil
	}
	c, err := s.take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer s.give(c)
	return c.query(ctx, query{statement{sql: `PRAGMA wal_checkpoint(PASSIVE)`}, func(row) error { return nil }})
}

func (s *sqlite) read(ctx context.Context, queries ...query) error {
	c, err := s.take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer s.give(c)
	if len(queries) == 1 {
		return c.query(ctx, queries[0])
	}
	// The view is that of the first query until the transaction ends.
	if err := c.begin(ctx, `BEGIN`); err != nil {
		return err
	}
	defer s.rollback(c)
	return c.queryAll(ctx, queries)
}

// begin takes the writer; with BEGIN IMMEDIATE the write lock is had at once, not at the first write,
// when it would be too late to wait for it.
func (s *sqlite) begin(ctx context.Context, o txnOptions, queries ...query) (txn, error) {
	c, err := s.take(ctx, s.writer)
	if err != nil {
		return nil, err
	}
	t := &sqliteTxn{s: s, conn: c, durable: o.durable}
	if o.durable {
		if _, err := c.conn.ExecContext(ctx, sqliteDurable); err != nil {
			t.end()
			return nil, err
		}
	}
	for {
		err := c.begin(ctx, `BEGIN IMMEDIATE`)
		if err == nil {
			break
		}
		if sqliteCode(err)&0xff != sqlitecode.SQLITE_BUSY || ctx.Err() != nil {
			t.end()
			return nil, err
		}
	}
	if err := c.queryAll(ctx, queries); err != nil {
		t.rollback(ctx)
		return nil, err
	}
	return t, nil
}

type sqliteTxn struct {
	s       *sqlite
	conn    *sqliteConn
	durable bool
}

func (t *sqliteTxn) run(ctx context.Context, writes []statement, queries ...query) error {
	for _, w := range writes {
		if err := t.conn.exec(ctx, w); err != nil {
			return err
		}
	}
	return t.conn.queryAll(ctx, queries)
}

func (t *sqliteTxn) commit(ctx context.Context, writes []statement) error {
	for _, w := range writes {
		if err := t.conn.exec(ctx, w); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// An interrupted COMMIT would leave open what became of it.
	if err := t.conn.exec(context.WithoutCancel(ctx), statement{sql: `COMMIT`}); err != nil {
		return err
	}
	t.end()
	return nil
}

func (t *sqliteTxn) rollback(context.Context) {
	t.s.rollback(t.conn)
	t.end()
}

func (t *sqliteTxn) end() {
	if t.durable && t.conn.conn != nil {
		_, _ = t.conn.conn.ExecContext(context.Background(), sqliteNormal) // if it fails we are only slower
	}
	t.s.give(t.conn)
}

// rollback ends c's transaction, whatever came before. SQLite may have rolled back by itself (disk full,
// I/O error), and then ROLLBACK fails and means nothing; but a connection that may still be in a
// transaction is not used again. In memory it holds all the data and is kept: should it still be in a
// transaction, every BEGIN fails, and nothing is ever added to what was left behind.
func (s *sqlite) rollback(c *sqliteConn) {
	err := c.exec(context.Background(), statement{sql: `ROLLBACK`})
	if err == nil || s.owner == nil {
		return
	}
	_ = c.closePrepared()                                        // first, since each needs the connection
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn }) // the driver's own goes as well
	c.conn = nil
}

// begin heeds no context, and need not: it waits sqliteBusy at most. Given up in the moment in which it
// succeeds, the driver says that it was interrupted, and the transaction is open all the same: the next
// one on this connection could not begin, nor any other ever after.
func (c *sqliteConn) begin(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.exec(context.WithoutCancel(ctx), statement{sql: text})
}

func (c *sqliteConn) close() error {
	if c.conn == nil {
		return nil
	}
	return errors.Join(c.closePrepared(), c.conn.Close())
}

func (c *sqliteConn) closePrepared() error {
	var errs []error
	for _, p := range c.prepared {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

func (c *sqliteConn) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if p := c.prepared[text]; p != nil {
		return p, nil
	}
	p, err := c.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.prepared[text] = p
	return p, nil
}

func (c *sqliteConn) exec(ctx context.Context, w statement) error {
	p, err := c.prepare(ctx, w.sql) //nolint:sqlclosecheck // kept as long as the connection
	if err != nil {
		return err
	}
	_, err = p.ExecContext(ctx, w.args...)
	return refusedBySQLite(w, err)
}

func (c *sqliteConn) query(ctx context.Context, q query) error {
	p, err := c.prepare(ctx, q.sql) //nolint:sqlclosecheck // kept as long as the connection
	if err != nil {
		return err
	}
	rows, err := p.QueryContext(ctx, q.args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := q.each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *sqliteConn) queryAll(ctx context.Context, queries []query) error {
	for _, q := range queries {
		if err := c.query(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func refusedBySQLite(w statement, err error) error {
	switch sqliteCode(err) {
	case sqlitecode.SQLITE_CONSTRAINT_UNIQUE, sqlitecode.SQLITE_CONSTRAINT_PRIMARYKEY:
		if w.taken != nil {
			return w.taken
		}
	}
	return err
}

func (s *sqlite) unavailable(err error) bool {
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) {
		return true
	}
	switch sqliteCode(err) & 0xff { // the rest is detail
	case sqlitecode.SQLITE_BUSY, sqlitecode.SQLITE_LOCKED, sqlitecode.SQLITE_FULL, sqlitecode.SQLITE_IOERR,
		sqlitecode.SQLITE_CANTOPEN, sqlitecode.SQLITE_NOMEM, sqlitecode.SQLITE_INTERRUPT,
		sqlitecode.SQLITE_READONLY, sqlitecode.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// sqliteCode is SQLite's extended result code, 0 if err is not SQLite's.
func sqliteCode(err error) int {
	var answer *sqlitedriver.Error
	if errors.As(err, &answer) {
		return answer.Code()
	}
	return 0
}
