package store

import (
	"context"
	"fmt"
	"time"
)

// pruneBatch is how many rows are read at a time: within a call's two seconds.
const pruneBatch = 1000

// PruneAudit deletes the rows of the audit that were written before then, oldest first, up to the first
// that was not. What it answers is how many went.
//
// The chain goes on: before any row is deleted an anchor is written, which names the last of them with
// its hash, and the database lets rows go up to an anchor alone. It may be called by several servers at
// once, and when it was broken off, again.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (deleted int64, err error) {
	for _, c := range []chain{meetingChain, eventChain} {
		n, err := s.prune(ctx, c, before)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	// Meetings that were not over when their rows went.
	_, err = s.inBatches(ctx, "mark meetings that the audit knows no more", statement{sql: s.sql.toForget, args: []any{s.d.time(before)}})
	return deleted, err
}

func (s *Store) prune(ctx context.Context, c chain, before time.Time) (deleted int64, err error) {
	last, hash, err := s.lastBefore(ctx, c, before)
	if err != nil {
		return 0, err
	}
	if last > 0 {
		err = s.write(ctx, "write an anchor of the audit", statement{
			sql:  `INSERT INTO audit_anchors (chain, seq, hash, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			args: []any{c.table, last, hash, s.d.time(time.Now())},
		})
		if err != nil {
			return 0, err
		}
	}
	e, err := s.ends(ctx, c)
	if err != nil || e.lowest == 0 {
		return 0, err
	}
	// Also what was left the last time.
	for from := e.lowest - 1; from < e.anchor.Seq; {
		if err := s.Pause(ctx); err != nil {
			return deleted, err
		}
		to := from
		err := s.turn(ctx, "delete old rows of the audit", func(b *batch) error {
			for to < e.anchor.Seq && !b.over() {
				next := min(to+int64(b.rows), e.anchor.Seq)
				if _, _, err := b.touch(c.deletion(s.d.time(time.Now()), to, next)...); err != nil {
					return err
				}
				to = next
			}
			return nil
		})
		if err != nil {
			return deleted, err
		}
		deleted, from = deleted+to-from, to
	}
	return deleted, nil
}

// lastBefore is the row before the first that is not old enough; 0 if there is none.
func (s *Store) lastBefore(ctx context.Context, c chain, before time.Time) (last int64, hash []byte, err error) {
	for {
		rows, young := 0, false
		err := s.read(ctx, "look for old rows of the audit", query{
			statement{sql: `SELECT seq, hash, created_at FROM ` + c.table + ` WHERE seq > $1 ORDER BY seq LIMIT $2`, args: []any{last, pruneBatch}},
			func(r row) error {
				var seq int64
				var h []byte
				var at time.Time
				if err := r.Scan(&seq, scanBytes{&h}, scanTime{&at}); err != nil {
					return err
				}
				if young = young || !at.Before(before); !young {
					last, hash = seq, h
				}
				rows++
				return nil
			},
		})
		if err != nil || young || rows < pruneBatch {
			return last, hash, err
		}
	}
}

// deletion takes rows out. With meetings it marks the settings of those that are over: Sweep deletes them, and
// what is remembered of people with them.
func (c chain) deletion(now any, from, to int64) (list []statement) {
	if c.table == meetingChain.table {
		list = append(list, statement{
			sql: `UPDATE meeting_state SET to_sweep = true WHERE expires_at < $3
				AND meeting_id IN (SELECT meeting_id FROM meetings WHERE seq > $1 AND seq <= $2)`,
			args: []any{from, to, now},
		})
	}
	return append(list, statement{sql: `DELETE FROM ` + c.table + ` WHERE seq > $1 AND seq <= $2`, args: []any{from, to}})
}

// AuditStart tells after which row the audit of meetings begins, and since when, if older rows were
// deleted; 0 if none were.
func (s *Store) AuditStart(ctx context.Context) (seq int64, since time.Time, err error) {
	err = s.read(ctx, "read the audit's anchors", query{
		statement{sql: `SELECT seq, made_at FROM audit_anchors WHERE chain = $1 ORDER BY seq DESC LIMIT 1`, args: []any{meetingChain.table}},
		func(r row) error { return r.Scan(&seq, scanTime{&since}) },
	})
	if err != nil {
		return 0, since, fmt.Errorf("where the audit begins: %w", err)
	}
	return seq, since, nil
}
