package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/zerolog"
)

// postgresConns is the pool's size unless the url says pool_max_conns: a few nodes fit into PostgreSQL's
// usual 100.
const postgresConns = 16

type postgres struct {
	pool  *pgxpool.Pool
	gates *gates

	// lost is when a connection last turned out to be broken, in Unix nanoseconds. Those that lay idle
	// then are probably broken as well, so they are asked before they are used: after a restart of the
	// database only calls that were under way fail.
	lost atomic.Int64
}

func openPostgres(ctx context.Context, dsn string, log zerolog.Logger) (*postgres, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err) // pgx leaves the password out
	}
	if u, err := url.Parse(dsn); err != nil || !u.Query().Has("pool_max_conns") {
		config.MaxConns = postgresConns
	}
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > callTimeout {
		config.ConnConfig.ConnectTimeout = callTimeout
	}
	if err := migratePostgres(ctx, config.ConnConfig, log); err != nil {
		return nil, err
	}

	// What we no longer wait for, the database shall not go on with: neither a statement that waits for
	// a lock nor a transaction whose node froze or vanished without a word while it held one.
	for name, value := range map[string]string{
		"statement_timeout":                   millis(callTimeout),
		"idle_in_transaction_session_timeout": millis(2 * callTimeout),
		"application_name":                    "signald",
	} {
		if _, said := config.ConnConfig.RuntimeParams[name]; !said {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	p := &postgres{gates: newGates()}
	config.ShouldPing = func(_ context.Context, c pgxpool.ShouldPingParams) bool {
		idleSince := time.Now().Add(-c.IdleDuration).UnixNano()
		return c.IdleDuration > time.Second || idleSince <= p.lost.Load()
	}
	p.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	return p, nil
}

func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

func migratePostgres(ctx context.Context, config *pgx.ConnConfig, log zerolog.Logger) error {
	db := stdlib.OpenDB(*config.Copy())
	defer func() { _ = db.Close() }()
	if err := migrate(ctx, db, postgresSchema, log); err != nil {
		if unavailablePostgres(err) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	return nil
}

const postgresOID = `(SELECT oid::text FROM pg_database WHERE datname = current_database())`

func (p *postgres) words() words {
	return words{
		forUpdate: ` FOR UPDATE`, inList: `= ANY ($1)`, notInList: `<> ALL ($1)`, now: `clock_timestamp()`,
		database: []string{postgresOID + ` || ' of ' || (SELECT system_identifier::text FROM pg_control_system())`, postgresOID},

		skipLocked: ` FOR UPDATE OF e SKIP LOCKED`,
		later:      `clock_timestamp() + make_interval(secs => $2)`,
		age:        `extract(epoch FROM clock_timestamp() - at)::float8`,

		claim: `pg_try_advisory_xact_lock(hashtextextended(e.meeting_id, 0))`,

		// A few commits long.
		some: ` LIMIT 100`, rows: 100, batchTime: 5 * time.Millisecond,
	}
}

func (p *postgres) time(t time.Time) any  { return stamp(t) }
func (p *postgres) addr(a netip.Addr) any { return netip.PrefixFrom(a, a.BitLen()) }

func (p *postgres) list(s []string) any {
	if s == nil {
		return []string{} // NULL would compare as unknown
	}
	return s
}

func (p *postgres) numbers(n []int64) any { return n }

func (p *postgres) ping(ctx context.Context) error {
	return p.lostIf(p.pool.Ping(ctx))
}

// tidy does nothing: vacuuming is PostgreSQL's own affair.
func (*postgres) tidy(context.Context) error { return nil }

// settle does nothing: PostgreSQL has processes for it.
func (*postgres) settle(context.Context) error { return nil }

// close gives up on connections that stay in use: a call is bounded, so none should.
func (p *postgres) close() error {
	closed := make(chan struct{})
	go func() { p.pool.Close(); close(closed) }()
	select {
	case <-closed:
		return nil
	case <-time.After(2 * callTimeout):
		return errors.New("close PostgreSQL: connections are still in use")
	}
}

// read sends all queries at once: one round trip, also with the transaction around them.
func (p *postgres) read(ctx context.Context, queries ...query) error {
	conn, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var b pgx.Batch
	if len(queries) == 1 {
		queueAll(&b, nil, queries)
		return p.send(ctx, conn, &b, nil, queries, 0)
	}
	b.Queue(`begin isolation level repeatable read read only`)
	queueAll(&b, nil, queries)
	b.Queue(`commit`)
	err = p.send(ctx, conn, &b, nil, queries, 1)
	if err != nil {
		p.rollback(ctx, conn)
	}
	return err
}

// begin sends BEGIN and the queries at once. PostgreSQL runs them one after the other and, in read
// committed, looks at the data anew for each.
func (p *postgres) begin(ctx context.Context, o txnOptions, queries ...query) (txn, error) {
	leave, err := p.gates.enter(ctx, o.gate)
	if err != nil {
		return nil, err
	}
	conn, err := p.acquire(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	t := &postgresTxn{p: p, conn: conn, leave: leave}
	var b pgx.Batch
	b.Queue(`begin isolation level read committed read write`)
	queueAll(&b, nil, queries)
	if err := p.send(ctx, conn, &b, nil, queries, 1); err != nil {
		t.rollback(ctx)
		return nil, err
	}
	return t, nil
}

type postgresTxn struct {
	p     *postgres
	conn  *pgxpool.Conn
	leave func()
}

func (t *postgresTxn) run(ctx context.Context, writes []statement, queries ...query) error {
	var b pgx.Batch
	queueAll(&b, writes, queries)
	return t.p.send(ctx, t.conn, &b, writes, queries, 0)
}

// commit sends the writes and COMMIT at once. If a write is refused PostgreSQL skips the rest, COMMIT
// included.
func (t *postgresTxn) commit(ctx context.Context, writes []statement) error {
	var b pgx.Batch
	queueAll(&b, writes, nil)
	b.Queue(`commit`)
	if err := t.p.send(ctx, t.conn, &b, writes, nil, 0); err != nil {
		return err
	}
	t.end()
	return nil
}

func (t *postgresTxn) rollback(ctx context.Context) {
	t.p.rollback(ctx, t.conn)
	t.end()
}

func (t *postgresTxn) end() {
	t.conn.Release()
	t.leave()
}

// rollback leaves the connection usable or, if there is no time for that, closed: the pool throws away
// what comes back within a transaction.
func (p *postgres) rollback(ctx context.Context, conn *pgxpool.Conn) {
	if conn.Conn().IsClosed() || ctx.Err() != nil {
		return
	}
	_, _ = conn.Exec(ctx, `rollback`)
}

func queueAll(b *pgx.Batch, writes []statement, queries []query) {
	for _, w := range writes {
		b.Queue(w.sql, w.args...)
	}
	for _, q := range queries {
		b.Queue(q.sql, q.args...)
	}
}

// send sends a batch of `before` bare statements, the writes, the queries, and perhaps another bare
// statement, in this order, and takes the answers.
func (p *postgres) send(ctx context.Context, conn *pgxpool.Conn, b *pgx.Batch, writes []statement, queries []query, before int) error {
	results := conn.SendBatch(ctx, b)
	err := take(results, writes, queries, before)
	if closeErr := results.Close(); err == nil {
		err = closeErr // of a bare statement at the end as well
	}
	if err != nil && conn.Conn().IsClosed() {
		err = &connectionLost{err}
	}
	return p.lostIf(err)
}

func take(results pgx.BatchResults, writes []statement, queries []query, before int) error {
	for range before {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, w := range writes {
		if _, err := results.Exec(); err != nil {
			return refusedByPostgres(w, err)
		}
	}
	for _, q := range queries {
		if err := takeRows(results, q); err != nil {
			return err
		}
	}
	return nil
}

func takeRows(results pgx.BatchResults, q query) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := q.each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (p *postgres) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := p.pool.Acquire(ctx)
	return conn, p.lostIf(err)
}

// lostIf notes the time if err tells of a broken connection.
func (p *postgres) lostIf(err error) error {
	if err != nil && unavailablePostgres(err) {
		p.lost.Store(time.Now().UnixNano())
	}
	return err
}

// connectionLost is an error after which the connection was closed.
type connectionLost struct{ cause error }

func (e *connectionLost) Error() string { return "connection lost: " + e.cause.Error() }
func (e *connectionLost) Unwrap() error { return e.cause }

func (p *postgres) unavailable(err error) bool { return unavailablePostgres(err) }

// unavailablePostgres goes by SQLSTATE where PostgreSQL answered, else by what happened to the connection.
func unavailablePostgres(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return unavailableState(answer.Code)
	}
	var lost *connectionLost
	var connect *pgconn.ConnectError
	return errors.As(err, &lost) || errors.As(err, &connect) || pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

func unavailableState(code string) bool {
	switch {
	case strings.HasPrefix(code, "08"), // connection
		strings.HasPrefix(code, "53"), // out of disk, memory, connections
		strings.HasPrefix(code, "57"), // cancelled, shutting down, starting up
		strings.HasPrefix(code, "58"): // I/O
		return true
	}
	switch code {
	case "40001", "40P01", // lost against another transaction
		"55P03",                   // lock not available
		"25P02", "25P03", "25P04", // the transaction was given up
		"25006": // a standby: the primary is elsewhere
		return true
	}
	return false
}

func refusedByPostgres(w statement, err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "23505" && w.taken != nil {
		return w.taken
	}
	return err
}
