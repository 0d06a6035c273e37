package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// BoundAudit sets how many rows of the audit are sorted, and how many looked through, for one answer.
func (s *Store) BoundAudit(few, window int) { s.few, s.window = few, window }

// ReadPagesOf sets how many rows of a list are read at once.
func (s *Store) ReadPagesOf(rows int) { s.page = rows }

// ExplainAudit is how the database goes about a page of the audit.
func (s *Store) ExplainAudit(ctx context.Context, q AuditQuery) string {
	ordered, ranges, err := s.auditFilter(q)
	if err != nil {
		return err.Error()
	}
	statements := []statement{auditPlain(ordered, auditLimit+1, meetingColumns)}
	if len(ranges) > 0 {
		statements = []statement{
			auditCount(ranges, s.few), auditSorted(ordered, ranges, auditLimit+1, meetingColumns),
			auditWindowEnd(ordered, s.window), auditInWindow(ordered, ranges, s.window, auditLimit+1, meetingColumns),
		}
	}
	explain := `EXPLAIN `
	if _, lite := s.d.(*sqlite); lite {
		explain = `EXPLAIN QUERY PLAN `
	}
	var b strings.Builder
	for i, st := range statements {
		fmt.Fprintf(&b, "    statement %d\n", i+1)
		err := s.read(ctx, "explain", query{statement{sql: explain + st.sql, args: st.args}, func(r row) error {
			var line string
			var skip any
			if r.Scan(&line) != nil {
				if err := r.Scan(&skip, &skip, &skip, &line); err != nil {
					return err
				}
			}
			if !strings.Contains(line, "Output:") {
				b.WriteString("    " + line + "\n")
			}
			return nil
		}})
		if err != nil {
			return err.Error()
		}
	}
	return b.String()
}

// Deleted is as if deleting had taken so long, and answers for how long others have the database now.
func (s *Store) Deleted(took time.Duration) time.Duration {
	s.pause.earn(took)
	return s.pause.left()
}

// BoundBatches sets how long a batch of deletions may take.
func (s *Store) BoundBatches(d time.Duration) { s.batchTime = d }
