package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

const (
	auditLimit    = 50
	auditMaxLimit = 500
)

// Audit answers one page of the audit, newest first; ErrBadCursor. A page goes on where the one before
// ended, by the order of creation: whatever is created meanwhile, each row comes once.
func (s *Store) Audit(ctx context.Context, q AuditQuery) (AuditPage, error) {
	before, err := readCursor(q.Cursor)
	if err != nil {
		return AuditPage{}, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = auditLimit
	}
	limit = min(limit, auditMaxLimit)

	where, err := s.auditFilter(q, before)
	if err != nil {
		return AuditPage{}, err
	}
	var page AuditPage
	err = s.read(ctx, "read the audit", query{
		// One more than asked for, to know whether there is a next page.
		statement{
			sql:  `SELECT ` + meetingColumns + ` FROM meetings m WHERE ` + where.text() + ` ORDER BY m.seq DESC LIMIT ` + where.arg(limit+1),
			args: where.args,
		},
		func(r row) error {
			var m Meeting
			if err := r.Scan(meetingDest(&m)...); err != nil {
				return err
			}
			page.Items = append(page.Items, m)
			return nil
		},
	})
	if err != nil {
		return AuditPage{}, err
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		page.NextCursor = writeCursor(page.Items[limit-1].Seq)
	}
	return page, nil
}

func (s *Store) auditFilter(q AuditQuery, before int64) (*conditions, error) {
	var t texts
	t.indexed("country", q.Country)
	t.indexed("city", q.City)
	t.indexed("q", q.Q)
	if t.err != nil {
		return nil, t.err
	}
	c := &conditions{}
	c.and(`m.seq < ` + c.arg(before))
	if !q.From.IsZero() {
		c.and(`m.created_at >= ` + c.arg(s.d.time(q.From)))
	}
	if !q.To.IsZero() {
		c.and(`m.created_at < ` + c.arg(s.d.time(q.To)))
	}
	if q.IP.IsValid() {
		first, last := addrRange(q.IP)
		c.and(`m.creator_ip >= ` + c.arg(s.d.addr(first)) + ` AND m.creator_ip <= ` + c.arg(s.d.addr(last)))
	}
	if q.Country != "" {
		c.and(`m.country = ` + c.arg(q.Country))
	}
	if q.City != "" {
		c.and(`m.city_fold = ` + c.arg(fold(q.City)))
	}
	if q.Q != "" {
		c.and(`(` + c.prefix(`m.name_fold`, fold(q.Q)) + ` OR ` + c.prefix(`m.meeting_id`, q.Q) + `)`)
	}
	return c, nil
}

// conditions is a WHERE clause under construction. Only constant text and parameter numbers get into it.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *conditions) and(part string) { c.parts = append(c.parts, part) }

func (c *conditions) text() string { return strings.Join(c.parts, " AND ") }

// prefix is a range, so that nothing in the prefix is a wildcard and an index serves it.
func (c *conditions) prefix(column, prefix string) string {
	s := `(` + column + ` >= ` + c.arg(prefix)
	if after, ok := afterPrefix(prefix); ok {
		s += ` AND ` + column + ` < ` + c.arg(after)
	}
	return s + `)`
}

// addrRange is the first and the last address of p, IPv4 as such.
func addrRange(p netip.Prefix) (first, last netip.Addr) {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	first = p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ = netip.AddrFromSlice(b)
	return first, last
}

// A cursor is the last row's seq behind a version byte.
const cursorVersion = 1

func writeCursor(seq int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{cursorVersion}, uint64(seq)))
}

func readCursor(s string) (before int64, err error) {
	if s == "" {
		return math.MaxInt64, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 9 || b[0] != cursorVersion {
		return 0, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	seq := int64(binary.BigEndian.Uint64(b[1:]))
	if seq <= 0 {
		return 0, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	return seq, nil
}
