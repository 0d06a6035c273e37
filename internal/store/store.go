// Package store is what survives a restart: meetings, their audit and who is in them, in SQLite or
// PostgreSQL alike.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// callTimeout bounds every call: with a database that hangs, callers must not pile up.
const callTimeout = 2 * time.Second

// pageRows bounds what one call reads of a list whose length depends on how many participants there are, so
// that no length exceeds callTimeout.
const pageRows = 5000

// pages reads a list to its end, a page at a time: whoever works through it reaches every row, however many
// rows at its beginning cannot be worked off. read answers the page after the given row, at first the zero
// value.
func pages[T any](s *Store, read func(last T) ([]T, error)) (all []T, err error) {
	var last T
	for {
		page, err := read(last)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < s.page {
			return all, nil
		}
		last = page[len(page)-1]
	}
}

// Store is an open database. It is safe for concurrent use, and every call is bounded by two seconds,
// waiting for a connection included.
type Store struct {
	d       dialect
	timeout time.Duration
	sql     sqlTexts
	wake    func() // nil: events are not recorded
	few     int    // rows of the audit that are sorted for an answer
	window  int    // rows of it that are looked through for one
	page    int    // rows of a list of leftovers that are read at once

	batchTime time.Duration // how long a batch of deletions may take, while others wait
	pause     pause         // between batches
	batches   atomic.Int64
	sweeping  sweeping

	closed atomic.Bool
}

// sqlTexts are the statements that are put together from a dialect's words.
type sqlTexts struct {
	lockState string
	lockHead  string

	lockEventsHead string

	abandoned string
	gone      string
	revs      string
	present   string
	nodes     string
	seen      string
	events    eventTexts

	confirm          string
	toSweep          string
	toSweepNow       string
	swept            string
	forget           string
	expireMessages   string
	expireAttendance string

	purgeBans       string
	purgeAdmissions string
	purgeSessions   string
	toForget        string
}

// Open opens the database at url ("sqlite:path", "sqlite::memory:", "postgres://…") and brings its
// schema up to date; several servers may do so at once with one PostgreSQL. It refuses a schema that is
// newer than the program (ErrSchemaNewer) and a SQLite file that another server has open (ErrInUse).
func Open(ctx context.Context, url string, log zerolog.Logger) (*Store, error) {
	var d dialect
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		d, err = openSQLite(ctx, rest, log)
	case "postgres", "postgresql":
		d, err = openPostgres(ctx, url, log)
	default:
		return nil, errors.New("database url must begin with sqlite: or postgres://")
	}
	if err != nil {
		return nil, err
	}
	return newStore(d), nil
}

func newStore(d dialect) *Store {
	w := d.words()
	s := &Store{
		d:       d,
		timeout: callTimeout,
		few:     auditFew,
		window:  auditWindow,
		page:    pageRows,

		batchTime: w.batchTime,

		sql: sqlTexts{
			lockState:      `SELECT ` + stateColumns + ` FROM meeting_state s WHERE meeting_id = $1` + w.forUpdate,
			lockHead:       `SELECT seq, hash FROM meetings_head WHERE one = 1` + w.forUpdate,
			lockEventsHead: `SELECT seq, hash FROM audit_events_head WHERE one = 1` + w.forUpdate,

			abandoned: `SELECT ` + presenceColumns + ` FROM participants WHERE node_id ` + w.notInList + ` AND state = '` + Online + `'
				AND (meeting_id, peer_id) > ($2, $3) ORDER BY meeting_id, peer_id LIMIT $4`,
			gone: `SELECT meeting_id, ticket_id, conn_id FROM waiting WHERE node_id ` + w.notInList + `
				AND ticket_id > $2 ORDER BY ticket_id LIMIT $3`,
			revs:    `SELECT meeting_id, rev FROM meeting_state WHERE meeting_id ` + w.inList,
			present: `SELECT peer_id FROM participants WHERE peer_id ` + w.inList,
			nodes:   `SELECT node_id, seen_at FROM nodes`,
			seen: `INSERT INTO nodes (node_id, started_at, seen_at) VALUES ($1, ` + w.now + `, ` + w.now + `)
				ON CONFLICT (node_id) DO UPDATE SET seen_at = ` + w.now,
			events: newEventTexts(w),

			confirm: `UPDATE participants SET previous_hash = NULL WHERE previous_hash IS NOT NULL
				AND peer_id ` + w.inList + ` AND conn_id ` + strings.ReplaceAll(w.inList, "$1", "$2"),

			toSweep:    toSweep(w, `>`),
			toSweepNow: toSweep(w, `=`),
			swept: `UPDATE meeting_state SET to_sweep = false WHERE meeting_id IN (SELECT e.meeting_id FROM meeting_state e
				WHERE e.meeting_id = $1 AND e.messages_gone = $2 AND e.attendance_gone = $3 AND ` + ended + ` = $4` + w.skipLocked + `)`,
			forget: `DELETE FROM meeting_state WHERE meeting_id IN (SELECT e.meeting_id FROM meeting_state e WHERE e.meeting_id = $1 AND NOT e.to_sweep
				AND NOT EXISTS (SELECT 1 FROM participants t WHERE t.meeting_id = $1)
				AND NOT EXISTS (SELECT 1 FROM messages t WHERE t.meeting_id = $1)
				AND NOT EXISTS (SELECT 1 FROM attendance t WHERE t.meeting_id = $1)
				AND NOT EXISTS (SELECT 1 FROM chat_readers t WHERE t.meeting_id = $1)` + w.skipLocked + `)`,
			expireMessages:   expire(w, "messages"),
			expireAttendance: expire(w, "attendance"),

			purgeBans:       expired(w, "bans", "meeting_id, peer_id", "e.until < $1"),
			purgeAdmissions: expired(w, "admissions", "meeting_id, hash", "e.until < $1"),
			purgeSessions:   expired(w, "admin_sessions", "token_hash", "e.expires_at < $1"),

			toForget: `UPDATE meeting_state SET to_sweep = true WHERE meeting_id IN (SELECT e.meeting_id FROM meeting_state e
				WHERE e.expires_at < $1 AND NOT e.to_sweep AND e.messages_until IS NULL AND e.attendance_until IS NULL
				AND NOT EXISTS (SELECT 1 FROM meetings m WHERE m.meeting_id = e.meeting_id)
				AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.meeting_id = e.meeting_id)` + w.some + w.skipLocked + `) RETURNING 0`,
		},
	}
	s.sweeping.from, s.sweeping.failing = map[marking]int64{}, map[string]bool{}
	return s
}

// ended is a meeting e that was ended for everyone.
const ended = `coalesce(e.expires_at <= e.created_at, false)`

// toSweep asks for marked meetings, by how they compare to $1.
func toSweep(w words, than string) string {
	return `SELECT e.meeting_id, e.created_at, e.messages_gone, e.attendance_gone, ` + ended + `,
		coalesce(e.expires_at < $2 AND NOT EXISTS (SELECT 1 FROM meetings m WHERE m.meeting_id = e.meeting_id), false), ` + w.claim + `
		FROM (SELECT * FROM meeting_state e WHERE e.to_sweep AND e.meeting_id ` + than + ` $1 ORDER BY e.meeting_id LIMIT 16) e ORDER BY e.meeting_id`
}

// expire marks what is kept of meetings whose time for it is up.
func expire(w words, what string) string {
	return `UPDATE meeting_state SET ` + what + `_gone = rev, ` + what + `_until = NULL, to_sweep = true WHERE meeting_id IN (
		SELECT e.meeting_id FROM meeting_state e WHERE e.` + what + `_until < $1` + w.some + w.skipLocked + `) RETURNING 0`
}

// Close ends the store; calls after it answer ErrUnavailable. It waits for those under way.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.d.close()
}

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	return s.call(ctx, "ping the database", s.d.ping)
}

func (s *Store) read(ctx context.Context, what string, queries ...query) error {
	return s.call(ctx, what, func(ctx context.Context) error { return s.d.read(ctx, queries...) })
}

// write runs the statements in one transaction.
func (s *Store) write(ctx context.Context, what string, writes ...statement) error {
	return s.call(ctx, what, func(ctx context.Context) error {
		t, err := s.d.begin(ctx, txnOptions{})
		if err != nil {
			return err
		}
		if err := t.commit(ctx, writes); err != nil {
			t.rollback(ctx)
			return err
		}
		return nil
	})
}

// call runs fn within the store's timeout and puts a name to what went wrong.
func (s *Store) call(ctx context.Context, what string, fn func(context.Context) error) error {
	if s.closed.Load() {
		return fmt.Errorf("%s: closed: %w", what, ErrUnavailable)
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.name(ctx, what, fn(bounded))
}

// name turns a driver's error into one of ours. ctx is the caller's: that he gave up is not the
// database's fault.
func (s *Store) name(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case isOurs(err):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", what, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded), s.closed.Load(), s.d.unavailable(err):
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
