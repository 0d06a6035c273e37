package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// What is deleted of a meeting is marked in the transaction that ends its time, and the rows go some at a
// time, so that a meeting of any size neither holds the database up nor keeps anybody from leaving.

// sweeping is where the deleting has got to.
type sweeping struct {
	mu      sync.Mutex
	after   string            // the meeting that was last deleted from: the next one has its turn
	from    map[marking]int64 // messages up to this revision are deleted: PostgreSQL would walk over what is left of them
	failing map[string]bool   // meetings that are deleted from in transactions of their own, so that others do not fail with them
}

// mostUnfinished bounds what is remembered: another node may finish what this one has begun.
const mostUnfinished = 10_000

// marking names a meeting: keys may be used again.
type marking struct {
	meetingID string
	createdAt int64
}

// marked is a meeting of which rows are to be deleted.
type marked struct {
	marking
	messagesGone, attendanceGone int64

	ended  bool // nobody comes again
	orphan bool // it is over, and the audit knows it no more
	ours   bool // no other node is at it
}

// Sweep deletes one batch of the rows that are marked, some of each meeting in turn, and reports whether
// there may be more. Pause before it. Several nodes may do so at the same time: they skip what another one
// is at. Nobody who uses a meeting waits: what goes is not looked at any more.
func (s *Store) Sweep(ctx context.Context) (more bool, err error) {
	w := &s.sweeping
	w.mu.Lock()
	defer w.mu.Unlock()
	err = s.turn(ctx, "delete what has had its time", func(b *batch) error {
		more, err = s.sweepRounds(b, w)
		return err
	})
	if err != nil || len(w.from) > mostUnfinished { // what was not committed is there again
		clear(w.from)
	}
	if len(w.failing) > mostUnfinished {
		clear(w.failing)
	}
	return more && err == nil, err
}

// sweepRounds deletes until the batch is over, or a round of all meetings finds nothing to do.
func (s *Store) sweepRounds(b *batch, w *sweeping) (more bool, err error) {
	whole, begun := w.after == "", false // the round is; something would be lost with a meeting that fails
	unfinished, done := false, map[string]bool{}
	for !b.over() {
		next, err := s.marked(b, s.sql.toSweep, w.after)
		if err != nil {
			return false, err
		}
		if len(next) == 0 { // from the beginning again
			w.after = ""
			if !unfinished {
				return begun || !whole, nil
			}
			whole, unfinished = true, false
		}
		for _, m := range next {
			if b.over() || begun && w.failing[m.meetingID] {
				return true, nil
			}
			if w.after = m.meetingID; !m.ours || done[m.meetingID] {
				continue
			}
			w.failing[m.meetingID], begun = true, true
			if done[m.meetingID], err = s.sweepOne(b, w, m); err != nil {
				return false, err
			}
			unfinished = unfinished || !done[m.meetingID]
			delete(w.failing, m.meetingID)
		}
	}
	return true, nil
}

// sweepNow deletes what it can of a meeting in one batch: of most that end, everything. What is left, or fails,
// is Sweep's.
func (s *Store) sweepNow(ctx context.Context, meetingID string) {
	w := &sweeping{from: map[marking]int64{}}
	_ = s.batch(ctx, "delete what has had its time", func(b *batch) error {
		list, err := s.marked(b, s.sql.toSweepNow, meetingID)
		for done := len(list) == 0 || !list[0].ours; !done && err == nil && !b.over(); {
			done, err = s.sweepOne(b, w, list[0])
		}
		return err
	})
}

// marked are the meetings that a query finds, by a meeting.
func (s *Store) marked(b *batch, text, meetingID string) (list []marked, err error) {
	err = b.txn.run(b.ctx, nil, query{
		statement{sql: text, args: []any{meetingID, s.d.time(time.Now())}},
		func(r row) error {
			var m marked
			var created time.Time
			err := r.Scan(&m.meetingID, scanTime{&created}, &m.messagesGone, &m.attendanceGone, &m.ended, &m.orphan, &m.ours)
			m.createdAt = created.UnixMicro()
			list = append(list, m)
			return err
		},
	})
	return list, err
}

// sweepOne deletes some of a meeting's rows, and takes the mark away when none is left and it was not marked
// again meanwhile. The settings of a meeting that is over go as well once the audit knows it no more, but not
// from a list of who was there, which is read with the host key.
func (s *Store) sweepOne(b *batch, w *sweeping, m marked) (done bool, err error) {
	rows, last, err := b.touch(s.deletions(m, w.from[m.marking])...)
	if err != nil {
		return false, err
	}
	if slices.Max(rows) >= b.rows {
		w.from[m.marking] = max(w.from[m.marking], last)
		return false, nil
	}
	delete(w.from, m.marking)
	b.last = append(b.last, statement{sql: s.sql.swept, args: []any{m.meetingID, m.messagesGone, m.attendanceGone, m.ended}})
	if m.orphan {
		b.last = append(b.last, statement{sql: s.sql.forget, args: []any{m.meetingID}})
	}
	return true, nil
}

// deletions are the statements that delete what is marked of a meeting. They answer revisions of messages, or 0.
func (s *Store) deletions(m marked, from int64) []statement {
	some := s.d.words().some
	list := []statement{{
		sql: `DELETE FROM messages WHERE meeting_id = $1 AND rev IN (
			SELECT rev FROM messages WHERE meeting_id = $1 AND rev > $2 AND rev <= $3 ORDER BY rev` + some + `) RETURNING rev`,
		args: []any{m.meetingID, from, m.messagesGone},
	}, {
		sql: `DELETE FROM chat_readers WHERE peer_id IN (
			SELECT peer_id FROM chat_readers WHERE meeting_id = $1 AND joined_rev < $2` + some + `) RETURNING 0`,
		args: []any{m.meetingID, m.messagesGone},
	}, {
		sql: `DELETE FROM attendance WHERE peer_id IN (
			SELECT peer_id FROM attendance WHERE meeting_id = $1 AND joined_rev < $2` + some + `) RETURNING 0`,
		args: []any{m.meetingID, m.attendanceGone},
	}}
	all := func(table, key string) statement {
		return statement{
			sql: `DELETE FROM ` + table + ` WHERE meeting_id = $1 AND ` + key + ` IN (
				SELECT ` + key + ` FROM ` + table + ` WHERE meeting_id = $1` + some + `) RETURNING 0`,
			args: []any{m.meetingID},
		}
	}
	if m.ended || m.orphan { // what keeps people out, or lets them in, is not needed any more
		list = append(list, all("bans", "peer_id"), all("admissions", "hash"))
	}
	if m.orphan {
		list = append(list, all("waiting", "ticket_id"))
	}
	return list
}

// Expire marks the messages and the attendance of meetings that have been empty for their retention: Sweep
// deletes them. A participant that comes meanwhile loses nothing new: it holds the meeting's lock.
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	t := s.d.time(now)
	_, err := s.inBatches(ctx, "mark what has had its time",
		statement{sql: s.sql.expireMessages, args: []any{t}},
		statement{sql: s.sql.expireAttendance, args: []any{t}},
	)
	return err
}

// Purge is Expire, and deletes what has had its time and belongs to no mark: bans, admissions, the admin's
// sessions; and what the database's files still hold of anything that was deleted, where we can.
func (s *Store) Purge(ctx context.Context, now time.Time) error {
	t := s.d.time(now)
	_, err := s.inBatches(ctx, "purge",
		statement{sql: s.sql.expireMessages, args: []any{t}},
		statement{sql: s.sql.expireAttendance, args: []any{t}},
		statement{sql: s.sql.purgeBans, args: []any{t}},
		statement{sql: s.sql.purgeAdmissions, args: []any{t}},
		statement{sql: s.sql.purgeSessions, args: []any{t}},
	)
	return errors.Join(err, s.call(ctx, "tidy up", s.d.tidy))
}

// expired is a statement that deletes some rows of a table, whose key is this, that fulfil a condition as e.
func expired(w words, table, key, condition string) string {
	return `DELETE FROM ` + table + ` WHERE (` + key + `) IN (SELECT ` + key + ` FROM ` + table + ` e WHERE ` + condition +
		w.some + w.skipLocked + `) RETURNING 0`
}
