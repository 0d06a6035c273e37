package store

import (
	"context"
	"sync"
	"time"
)

// What is deleted of a meeting is marked in the transaction that ends its time, and the rows go some at a
// time, so that a meeting of any size neither holds the database up nor keeps anybody from leaving.

// sweeping is where the deleting has got to. The store's calls take turns with it.
type sweeping struct {
	mu    sync.Mutex
	after string           // the meeting that was last deleted from: the next one has its turn
	from  map[string]int64 // by meeting: messages up to this revision are deleted
	rows  int              // in one batch
}

// Rows of one batch, and how long it may take: in SQLite everybody who writes waits for it.
const (
	fewestRows = 32
	mostRows   = 2000
)

// marked is a meeting of which rows are to be deleted.
type marked struct {
	meetingID                    string
	messagesGone, attendanceGone int64
	ended                        bool
}

// Sweep deletes one batch of the rows that are marked, of one meeting after another, and reports whether
// there may be more. Several nodes may do so at the same time.
func (s *Store) Sweep(ctx context.Context) (more bool, err error) {
	w := &s.sweeping
	w.mu.Lock()
	defer w.mu.Unlock()
	began := time.Now()
	found, deleted := marked{}, 0
	err = s.call(ctx, "delete what has had its time", func(ctx context.Context) (err error) {
		found, deleted, err = s.sweepOne(ctx, w)
		return err
	})
	switch {
	case err != nil:
		w.rows = max(w.rows/2, fewestRows)
		return false, err
	case found.meetingID == "":
		if more = w.after != ""; more { // from the beginning again
			w.after = ""
		}
		return more, nil
	}
	w.after = found.meetingID
	if deleted < w.rows {
		delete(w.from, found.meetingID)
		return true, nil
	}
	if took := time.Since(began); took > s.d.batchTime() {
		w.rows = max(w.rows*2/3, fewestRows)
	} else {
		w.rows = min(w.rows+w.rows/4, mostRows)
	}
	return true, nil
}

// sweepOne deletes a batch of the next meeting's rows; without one it finds none.
func (s *Store) sweepOne(ctx context.Context, w *sweeping) (m marked, deleted int, err error) {
	t, err := s.d.begin(ctx, txnOptions{}, query{
		statement{sql: s.sql.toSweep, args: []any{w.after}},
		func(r row) error { return r.Scan(&m.meetingID, &m.messagesGone, &m.attendanceGone, &m.ended) },
	})
	if err != nil {
		return m, 0, err
	}
	committed := false
	defer func() {
		if !committed {
			t.rollback(ctx)
		}
	}()
	if m.meetingID == "" {
		return m, 0, nil
	}
	last := w.from[m.meetingID]
	for _, d := range s.deletions(m, last) {
		if deleted >= w.rows {
			break
		}
		d.args = append(d.args, w.rows-deleted)
		if err := t.run(ctx, nil, query{d, func(r row) error {
			deleted++
			var rev int64
			err := r.Scan(&rev)
			last = max(last, rev)
			return err
		}}); err != nil {
			return m, deleted, err
		}
	}
	var done []statement
	if deleted < w.rows {
		// Not if it was marked again meanwhile, which the lock on its row has waited for.
		done = []statement{{sql: `UPDATE meeting_state SET to_sweep = $2 WHERE meeting_id = $1`, args: []any{m.meetingID, false}}}
	}
	if err := t.commit(ctx, done); err != nil {
		return m, deleted, err
	}
	committed = true
	w.from[m.meetingID] = last
	return m, deleted, nil
}

// deletions are the statements that delete what is marked of a meeting, each of at most so many rows as the
// last argument says. They answer revisions of messages, or 0.
func (s *Store) deletions(m marked, from int64) []statement {
	list := []statement{{
		sql: `DELETE FROM messages WHERE meeting_id = $1 AND rev IN (
			SELECT rev FROM messages WHERE meeting_id = $1 AND rev > $2 AND rev <= $3 ORDER BY rev LIMIT $4) RETURNING rev`,
		args: []any{m.meetingID, from, m.messagesGone},
	}, {
		sql: `DELETE FROM chat_readers WHERE peer_id IN (
			SELECT peer_id FROM chat_readers WHERE meeting_id = $1 AND joined_rev < $2 LIMIT $3) RETURNING 0`,
		args: []any{m.meetingID, m.messagesGone},
	}, {
		sql: `DELETE FROM attendance WHERE peer_id IN (
			SELECT peer_id FROM attendance WHERE meeting_id = $1 AND joined_rev < $2 LIMIT $3) RETURNING 0`,
		args: []any{m.meetingID, m.attendanceGone},
	}}
	if m.ended { // nobody comes again, and what keeps people out of it is not needed
		list = append(list, statement{
			sql: `DELETE FROM bans WHERE meeting_id = $1 AND peer_id IN (
				SELECT peer_id FROM bans WHERE meeting_id = $1 LIMIT $2) RETURNING 0`,
			args: []any{m.meetingID},
		}, statement{
			sql: `DELETE FROM admissions WHERE meeting_id = $1 AND hash IN (
				SELECT hash FROM admissions WHERE meeting_id = $1 LIMIT $2) RETURNING 0`,
			args: []any{m.meetingID},
		})
	}
	return list
}

// expireAtOnce is how many rows one statement marks, or deletes, of those whose time is up.
const expireAtOnce = 500

// Expire marks the messages and the attendance of meetings that have been empty for their retention: Sweep
// deletes them. A participant that comes meanwhile loses nothing new: it holds the meeting's lock.
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	t := s.d.time(now)
	_, err := s.untilNone(ctx, "mark what has had its time",
		statement{sql: s.sql.expireMessages, args: []any{t, true, expireAtOnce}},
		statement{sql: s.sql.expireAttendance, args: []any{t, true, expireAtOnce}},
	)
	return err
}

// Purge is Expire, and deletes what has had its time and belongs to no mark: bans, admissions, readers that
// have left, the admin's sessions; and what the database's files still hold of anything that was deleted, where we can.
func (s *Store) Purge(ctx context.Context, now time.Time) error {
	if err := s.Expire(ctx, now); err != nil {
		return err
	}
	t := s.d.time(now)
	if _, err := s.untilNone(ctx, "purge",
		statement{sql: `DELETE FROM bans WHERE (meeting_id, peer_id) IN (
			SELECT meeting_id, peer_id FROM bans WHERE until < $1 LIMIT $2) RETURNING 1`, args: []any{t, expireAtOnce}},
		statement{sql: `DELETE FROM admissions WHERE (meeting_id, hash) IN (
			SELECT meeting_id, hash FROM admissions WHERE until < $1 LIMIT $2) RETURNING 1`, args: []any{t, expireAtOnce}},
		statement{sql: `DELETE FROM chat_readers WHERE peer_id IN (SELECT peer_id FROM chat_readers WHERE until < $1
			AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.reader = chat_readers.reader) LIMIT $2) RETURNING 1`, args: []any{t, expireAtOnce}},
		statement{sql: `DELETE FROM admin_sessions WHERE token_hash IN (
			SELECT token_hash FROM admin_sessions WHERE expires_at < $1 LIMIT $2) RETURNING 1`, args: []any{t, expireAtOnce}},
	); err != nil {
		return err
	}
	return s.call(ctx, "tidy up", s.d.tidy)
}

// untilNone runs each statement, in transactions of their own, until it has touched fewer rows than it may,
// and tells how many they were.
func (s *Store) untilNone(ctx context.Context, what string, statements ...statement) (touched int, err error) {
	for _, st := range statements {
		for full := true; full; {
			rows := 0
			err := s.change(ctx, what, query{st, func(row) error { rows++; return nil }})
			touched += rows
			if err != nil {
				return touched, err
			}
			full = rows >= expireAtOnce
		}
	}
	return touched, nil
}
