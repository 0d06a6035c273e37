// Package audit is how the audit is asked for and written down: filters as texts, rows as JSON, NDJSON,
// CSV or a table. The API and the command line share it.
package audit

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

// Item is a row of the audit: who created which meeting, from where.
type Item struct {
	MeetingID string    `json:"meeting_id"`
	Name      string    `json:"name"`
	CreatorIP string    `json:"creator_ip"`
	Country   *string   `json:"country"`
	Region    *string   `json:"region"`
	City      *string   `json:"city"`
	Lat       *float64  `json:"lat"`
	Lon       *float64  `json:"lon"`
	UserAgent string    `json:"user_agent"`
	CreatedAt time.Time `json:"created_at"`
}

// ItemOf is a meeting's row.
func ItemOf(m store.Meeting) Item {
	item := Item{
		MeetingID: m.ID, Name: m.Name, Country: m.Country, Region: m.Region, City: m.City, Lat: m.Lat, Lon: m.Lon,
		UserAgent: m.UserAgent, CreatedAt: m.CreatedAt,
	}
	if m.CreatorIP.IsValid() {
		item.CreatorIP = m.CreatorIP.String()
	}
	return item
}

// Filter reads the filters from, to, ip, country, city, q and cursor. The error is an invalid_payload
// that names the one that cannot be read.
func Filter(values url.Values) (store.AuditQuery, error) {
	q := store.AuditQuery{
		Country: strings.ToUpper(values.Get("country")), City: values.Get("city"),
		Q: protocol.Tidy(values.Get("q")), Cursor: values.Get("cursor"),
	}
	if c := q.Country; c != "" && (len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z') {
		return q, fault.Invalid("country", "country is a code of two letters as GB.")
	}
	for _, name := range []string{"city", "q"} {
		if v := values.Get(name); len(v) > 256 || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return q, fault.Invalid(name, name+" is a text of at most 256 bytes.")
		}
	}
	if err := period(values, &q.From, &q.To); err != nil {
		return q, err
	}
	if v := values.Get("ip"); v != "" {
		p, err := parsePrefix(v)
		if err != nil {
			return q, fault.Invalid("ip", "ip is an address, or a network as 192.0.2.0/24.")
		}
		q.IP = p
	}
	return q, nil
}

// Event is one that is recorded beside creations.
type Event struct {
	Kind      string    `json:"kind"`
	MeetingID string    `json:"meeting_id,omitempty"`
	Actor     string    `json:"actor"`
	Subject   string    `json:"subject"`
	IP        string    `json:"ip"`
	UserAgent string    `json:"user_agent"`
	CreatedAt time.Time `json:"created_at"`
}

// EventOf is an event's row.
func EventOf(e store.AuditEvent) Event {
	out := Event{
		Kind: e.Kind, MeetingID: e.MeetingID, Actor: e.Actor, Subject: e.Subject, UserAgent: e.UserAgent, CreatedAt: e.CreatedAt,
	}
	if e.IP.IsValid() {
		out.IP = e.IP.String()
	}
	return out
}

// EventFilter reads the filters from, to, kind and cursor, as Filter does.
func EventFilter(values url.Values) (store.AuditEventQuery, error) {
	q := store.AuditEventQuery{Kind: values.Get("kind"), Cursor: values.Get("cursor")}
	if _, known := groupOf[q.Kind]; q.Kind != "" && !known {
		return q, fault.Invalid("kind", "kind is kick, ban, end or login_failed.")
	}
	err := period(values, &q.From, &q.To)
	return q, err
}

// period reads from and to.
func period(values url.Values, from, to *time.Time) error {
	for _, at := range []struct {
		name  string
		field *time.Time
	}{{"from", from}, {"to", to}} {
		v := values.Get(at.name)
		if v == "" {
			continue
		}
		t, err := parseTime(v)
		if err != nil {
			return fault.Invalid(at.name, at.name+" is a time as 2006-01-02T15:04:05Z, or a date as 2006-01-02.")
		}
		*at.field = t
	}
	return nil
}

// Limit reads the number of rows wanted, 1 to highest; 0 if none is given.
func Limit(values url.Values, highest int) (int, error) {
	v := values.Get("limit")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > highest {
		return 0, fault.Invalid("limit", "limit is a number from 1 to "+strconv.Itoa(highest)+".")
	}
	return n, nil
}

// MaxRows is the highest limit of what is not paged.
const MaxRows = 1_000_000_000

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
}

const pageRows = 500

// Walk hands the rows that fit q to page, newest first and each once, whatever is created meanwhile:
// a page at a time, the first even if it is empty. It ends after limit rows, if that is not 0.
func Walk(ctx context.Context, s interface {
	Audit(context.Context, store.AuditQuery) (store.AuditPage, error)
}, q store.AuditQuery, limit int, page func([]Item) error) error {
	for {
		q.Limit = pageRows
		if limit > 0 {
			q.Limit = min(pageRows, limit)
		}
		rows, err := s.Audit(ctx, q)
		if err != nil {
			return err
		}
		items := make([]Item, len(rows.Items))
		for i, m := range rows.Items {
			items[i] = ItemOf(m)
		}
		if err := page(items); err != nil {
			return err
		}
		q.Cursor = rows.NextCursor
		if limit > 0 {
			if limit -= len(items); limit == 0 {
				return nil
			}
		}
		if q.Cursor == "" {
			return nil
		}
	}
}
