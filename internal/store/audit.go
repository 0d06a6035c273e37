package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	auditLimit    = 50
	auditMaxLimit = 500
)

// Audit answers one page of the audit, newest first; ErrBadCursor. A page goes on where the one before
// ended, by the time of creation: whatever is created meanwhile, each row comes once. It may hold fewer
// rows than wanted, even none, though it is not the last: see auditRows.
func (s *Store) Audit(ctx context.Context, q AuditQuery) (AuditPage, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = auditLimit
	}
	limit = min(limit, auditMaxLimit)
	var page AuditPage
	// One more than asked for, to know whether there is a next page.
	next, err := s.auditRows(ctx, q, limit+1, meetingColumns, func(r row) error {
		var m Meeting
		if err := r.Scan(meetingDest(&m)...); err != nil {
			return err
		}
		page.Items = append(page.Items, m)
		return nil
	})
	if err != nil {
		return AuditPage{}, err
	}
	page.NextCursor = next
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		page.NextCursor = writeCursor(last.CreatedAt, last.Seq)
	}
	return page, nil
}

// AuditPoint is when and where a meeting was created.
type AuditPoint struct {
	CreatedAt     time.Time
	Country, City *string
	Lat, Lon      *float64
}

// AuditPoints are those of the newest rows that fit q, at most limit, newest first; q.Limit counts not.
// They may be fewer though there are more.
func (s *Store) AuditPoints(ctx context.Context, q AuditQuery, limit int) (points []AuditPoint, more bool, err error) {
	next, err := s.auditRows(ctx, q, limit+1, `m.created_at, m.country, m.city, m.lat, m.lon`, func(r row) error {
		var p AuditPoint
		if err := r.Scan(scanTime{&p.CreatedAt}, &p.Country, &p.City, &p.Lat, &p.Lon); err != nil {
			return err
		}
		points = append(points, p)
		return nil
	})
	if len(points) > limit {
		return points[:limit], true, err
	}
	return points, next != "", err
}

const (
	auditFew    = 20_000
	auditWindow = 25_000
)

// auditRows reads the newest rows that fit q, at most limit.
//
// Time, country, city and a whole address have indexes in the order of the answer. A network and the
// beginning of a text are ranges of an index in another order: what fits has to be sorted, and that may
// be most of the audit. So if more fit than is quickly sorted, they are looked for among the next rows
// in order, where what is common is found at once; and if those are not enough, next is the cursor to go
// on from. So no answer takes long, however large the audit is.
func (s *Store) auditRows(ctx context.Context, q AuditQuery, limit int, columns string, each func(row) error) (next string, err error) {
	ordered, ranges, err := s.auditFilter(q)
	if err != nil {
		return "", err
	}
	found := 0
	read := func(st statement) error {
		return s.read(ctx, "read the audit", query{st, func(r row) error { found++; return each(r) }})
	}
	if len(ranges) == 0 {
		return "", read(auditPlain(ordered, limit, columns))
	}
	fit := 0
	count := query{auditCount(ranges, s.few), func(r row) error { return r.Scan(&fit) }}
	if err := s.read(ctx, "read the audit", count); err != nil {
		return "", err
	}
	if fit <= s.few {
		return "", read(auditSorted(ordered, ranges, limit, columns))
	}
	var end string
	last := query{auditWindowEnd(ordered, s.window), func(r row) error {
		var at time.Time
		var seq int64
		err := r.Scan(scanTime{&at}, &seq)
		end = writeCursor(at, seq)
		return err
	}}
	if err := s.read(ctx, "read the audit", last); err != nil {
		return "", err
	}
	if err := read(auditInWindow(ordered, ranges, s.window, limit, columns)); err != nil || found >= limit {
		return "", err
	}
	return end, nil
}

const newestFirst = ` ORDER BY m.created_at DESC, m.seq DESC LIMIT `

func auditPlain(ordered []condition, limit int, columns string) statement {
	c := &conditions{}
	text := `SELECT ` + columns + ` FROM meetings m` + c.where(ordered) + newestFirst + c.arg(limit)
	return statement{sql: text, args: c.args}
}

func auditCount(ranges []condition, few int) statement {
	c := &conditions{}
	text := `SELECT count(*) FROM (SELECT 1 AS one FROM meetings m` + c.where(ranges) + ` LIMIT ` + c.arg(few+1) + `) few`
	return statement{sql: text, args: c.args}
}

func auditSorted(ordered, ranges []condition, limit int, columns string) statement {
	c := &conditions{}
	text := `WITH m AS MATERIALIZED (SELECT * FROM meetings m` + c.where(ranges) + `) SELECT ` + columns + ` FROM m` +
		c.where(ordered) + newestFirst + c.arg(limit)
	return statement{sql: text, args: c.args}
}

func auditWindowEnd(ordered []condition, window int) statement {
	c := &conditions{}
	text := `SELECT m.created_at, m.seq FROM meetings m` + c.where(ordered) + newestFirst + `1 OFFSET ` + c.arg(window-1)
	return statement{sql: text, args: c.args}
}

func auditInWindow(ordered, ranges []condition, window, limit int, columns string) statement {
	c := &conditions{}
	text := `SELECT ` + columns + ` FROM (SELECT * FROM meetings m` + c.where(ordered) + newestFirst + c.arg(window) + `) m` +
		c.where(ranges) + newestFirst + c.arg(limit)
	return statement{sql: text, args: c.args}
}

// auditFilter puts q into conditions: those whose index has the order of the answer, and ranges of
// other indexes.
func (s *Store) auditFilter(q AuditQuery) (ordered, ranges []condition, err error) {
	var t texts
	t.indexed("country", q.Country)
	t.indexed("city", q.City)
	t.indexed("q", q.Q)
	if t.err != nil {
		return nil, nil, t.err
	}
	if ordered, err = s.period(q.From, q.To, q.Cursor); err != nil {
		return nil, nil, err
	}
	if q.IP.IsValid() {
		first, last := addrRange(q.IP)
		switch {
		case q.OrIP.IsValid():
			ranges = append(ranges, func(c *conditions) string {
				return `(m.creator_ip BETWEEN ` + c.arg(s.d.addr(first)) + ` AND ` + c.arg(s.d.addr(last)) + ` OR m.creator_ip = ` + c.arg(s.d.addr(q.OrIP)) + `)`
			})
		case first != last:
			ranges = append(ranges, func(c *conditions) string {
				return `m.creator_ip BETWEEN ` + c.arg(s.d.addr(first)) + ` AND ` + c.arg(s.d.addr(last))
			})
		default:
			ordered = append(ordered, func(c *conditions) string { return `m.creator_ip = ` + c.arg(s.d.addr(first)) })
		}
	}
	if q.Country != "" {
		ordered = append(ordered, func(c *conditions) string { return `m.country = ` + c.arg(q.Country) })
	}
	if q.City != "" {
		city := func(c *conditions) string { return `m.city_fold = ` + c.arg(fold(q.City)) }
		if q.Country == "" {
			ordered = append(ordered, city)
		} else { // the index of one finds none in the order of both, when the city is another country's
			ranges = append(ranges, city)
		}
	}
	if q.Q != "" {
		ranges = append(ranges, func(c *conditions) string {
			return `(` + c.prefix(`m.name_fold`, fold(q.Q)) + ` OR ` + c.prefix(`m.meeting_id`, q.Q) + `)`
		})
	}
	return ordered, ranges, nil
}

// period is the time from and to, and what a cursor has left of it; ErrBadCursor.
func (s *Store) period(from, to time.Time, cursor string) (list []condition, err error) {
	if cursor != "" {
		at, seq, err := readCursor(cursor)
		if err != nil {
			return nil, err
		}
		list = append(list, func(c *conditions) string {
			return `(m.created_at, m.seq) < (` + c.arg(s.d.time(at)) + `, ` + c.arg(seq) + `)`
		})
	}
	if !from.IsZero() {
		list = append(list, func(c *conditions) string { return `m.created_at >= ` + c.arg(s.d.time(from)) })
	}
	if !to.IsZero() {
		list = append(list, func(c *conditions) string { return `m.created_at < ` + c.arg(s.d.time(to)) })
	}
	return list, nil
}

// condition puts its values into c and answers its text.
type condition func(c *conditions) string

// conditions are a statement's values so far. Only constant text and their numbers get into the statement.
type conditions struct{ args []any }

func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

// where is the clause of a list; nothing if that is empty.
func (c *conditions) where(list []condition) string {
	if len(list) == 0 {
		return ""
	}
	parts := make([]string, len(list))
	for i, cond := range list {
		parts[i] = cond(c)
	}
	return ` WHERE ` + strings.Join(parts, " AND ")
}

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

// A cursor is the last row's time and seq behind a version byte.
const cursorVersion = 2

func writeCursor(at time.Time, seq int64) string {
	b := binary.BigEndian.AppendUint64([]byte{cursorVersion}, uint64(at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, uint64(seq)))
}

func readCursor(s string) (at time.Time, seq int64, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 17 || b[0] != cursorVersion {
		return at, 0, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	at, seq = time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))), int64(binary.BigEndian.Uint64(b[9:]))
	if year := at.UTC().Year(); seq <= 0 || year < 0 || year > 9999 { // those that PostgreSQL has, too
		return at, 0, fmt.Errorf("%q: %w", s, ErrBadCursor)
	}
	return at, seq, nil
}
