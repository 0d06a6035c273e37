package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// The kinds of an AuditEvent.
const (
	EventKick        = "kick"         // someone was thrown out of a meeting
	EventBan         = "ban"          // and is to stay away
	EventEnd         = "end"          // a meeting was ended
	EventLoginFailed = "login_failed" // somebody failed to prove to be the admin
)

// NewAuditEvent is something that is recorded beside creations.
type NewAuditEvent struct {
	Kind      string
	MeetingID string // empty: of no meeting
	Actor     string // who did it: host or admin; empty: unknown
	Subject   string // whom it was done to, as he called himself
	IP        netip.Addr
	UserAgent string
}

// AuditEvent is one row of them. It never changes. The rows are chained as the meetings are.
type AuditEvent struct {
	NewAuditEvent
	CreatedAt      time.Time
	Seq            int64
	PrevHash, Hash []byte
}

const (
	auditEventColumns = `m.kind, m.meeting_id, m.actor, m.subject, m.ip, m.user_agent, m.created_at, m.seq, m.prev_hash, m.hash`
	insertAuditEvent  = `INSERT INTO audit_events (kind, meeting_id, actor, subject, ip, user_agent, created_at, seq, prev_hash, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	updateAuditEventsHead = `UPDATE audit_events_head SET seq = $1, hash = $2 WHERE one = 1`
)

func scanAuditEvent(r row) (AuditEvent, error) {
	var e AuditEvent
	var meeting *string
	err := r.Scan(&e.Kind, &meeting, &e.Actor, &e.Subject, scanAddr{&e.IP}, &e.UserAgent, scanTime{&e.CreatedAt},
		&e.Seq, scanBytes{&e.PrevHash}, scanBytes{&e.Hash})
	if meeting != nil {
		e.MeetingID = *meeting
	}
	return e, err
}

var eventChain = chain{
	table: "audit_events", head: "audit_events_head",
	rows: `SELECT ` + auditEventColumns + ` FROM audit_events m WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`,
	link: func(r row) (link, error) {
		e, err := scanAuditEvent(r)
		return link{
			seq: e.Seq, prev: e.PrevHash, hash: e.Hash, whole: true,
			want: func(prev []byte) []byte { return EventHash(prev, e) },
		}, err
	},
}

// EventHash is the hash of an event's row: SHA-256 over
//
//	"signald audit event 1\n", prev, seq, kind, meeting_id, actor, subject, ip, user_agent, created_at
//
// written as in [ChainHash].
func EventHash(prev []byte, e AuditEvent) []byte {
	b := append([]byte("signald audit event 1\n"), prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	for _, s := range []string{e.Kind, e.MeetingID, e.Actor, e.Subject, string(e.IP.AsSlice()), e.UserAgent} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.CreatedAt.UnixMicro()))
	sum := sha256.Sum256(b)
	return sum[:]
}

// AddAuditEvent records an event. It is durable when it returns.
func (s *Store) AddAuditEvent(ctx context.Context, n NewAuditEvent) error {
	var t texts
	t.plain("kind", n.Kind)
	t.indexed("meeting id", n.MeetingID)
	t.plain("actor", n.Actor)
	t.plain("subject", n.Subject)
	t.plain("user agent", n.UserAgent)
	if t.err != nil {
		return t.err
	}
	n.IP = plainAddr(n.IP)
	return s.call(ctx, "record an event", func(ctx context.Context) error {
		e := AuditEvent{NewAuditEvent: n}
		head := query{
			statement{sql: s.sql.lockEventsHead},
			func(r row) error { return r.Scan(&e.Seq, scanBytes{&e.PrevHash}) },
		}
		tx, err := s.d.begin(ctx, txnOptions{gate: "events", durable: true}, head)
		if err != nil {
			return err
		}
		e.Seq++
		e.CreatedAt = stamp(time.Now())
		e.Hash = EventHash(e.PrevHash, e)
		var meeting any
		if e.MeetingID != "" {
			meeting = e.MeetingID
		}
		err = tx.commit(ctx, []statement{
			{sql: insertAuditEvent, args: []any{
				e.Kind, meeting, e.Actor, e.Subject, optAddr(s.d, e.IP), e.UserAgent, s.d.time(e.CreatedAt), e.Seq, e.PrevHash, e.Hash,
			}},
			{sql: updateAuditEventsHead, args: []any{e.Seq, e.Hash}},
		})
		if err != nil {
			tx.rollback(ctx)
		}
		return err
	})
}

// AuditEventQuery selects events. A zero field selects everything.
type AuditEventQuery struct {
	From, To time.Time // recorded at or after From, and before To
	Kind     string
	Cursor   string
	Limit    int // 0 means 50; at most 500
}

// AuditEvents answers one page of the events, newest first, and the next page's cursor, empty on the
// last; ErrBadCursor.
func (s *Store) AuditEvents(ctx context.Context, q AuditEventQuery) (list []AuditEvent, next string, err error) {
	if err := key("kind", q.Kind); err != nil {
		return nil, "", err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = auditLimit
	}
	limit = min(limit, auditMaxLimit)
	conds, err := s.period(q.From, q.To, q.Cursor)
	if err != nil {
		return nil, "", err
	}
	if q.Kind != "" {
		conds = append(conds, func(c *conditions) string { return `m.kind = ` + c.arg(q.Kind) })
	}
	c := &conditions{}
	text := `SELECT ` + auditEventColumns + ` FROM audit_events m` + c.where(conds) + ` ORDER BY m.created_at DESC, m.seq DESC LIMIT ` + c.arg(limit+1)
	err = s.read(ctx, "read the audit's events", query{statement{sql: text, args: c.args}, func(r row) error {
		e, err := scanAuditEvent(r)
		list = append(list, e)
		return err
	}})
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list = list[:limit]
		next = writeCursor(list[limit-1].CreatedAt, list[limit-1].Seq)
	}
	return list, next, nil
}

// VerifyAuditEvents is VerifyAudit for the events.
func (s *Store) VerifyAuditEvents(ctx context.Context, progress func(done, total int64)) (firstBad *AuditEvent, err error) {
	seq, err := s.verify(ctx, eventChain, progress)
	if err != nil || seq == 0 {
		return nil, err
	}
	e := AuditEvent{Seq: seq}
	err = s.read(ctx, "read the audit's events", query{
		statement{sql: `SELECT ` + auditEventColumns + ` FROM audit_events m WHERE seq = $1`, args: []any{seq}},
		func(r row) (err error) { e, err = scanAuditEvent(r); return err },
	})
	if err != nil {
		return nil, err
	}
	return &e, nil
}
