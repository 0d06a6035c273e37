package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// statement is SQL for both databases: parameters are $1, $2, …
type statement struct {
	sql  string
	args []any

	taken error // what the caller is told when a unique key refuses the statement
}

// query is a statement that answers rows; each is called for every one of them.
type query struct {
	statement
	each func(row) error
}

type row interface{ Scan(dest ...any) error }

// dialect is what the two databases do differently. Its errors are the drivers' own, except those
// that a statement names.
type dialect interface {
	words() words

	// How a value is handed to the database; the scan types below take it back.
	time(time.Time) any
	addr(netip.Addr) any
	list([]string) any
	numbers([]int64) any // likewise

	// read answers all queries from one consistent view of the database.
	read(ctx context.Context, queries ...query) error
	// begin starts a transaction that writes, and runs the queries in it, one after the other: a
	// query after one that waited for a lock sees what the lock's former holder committed.
	begin(ctx context.Context, o txnOptions, queries ...query) (txn, error)
	ping(ctx context.Context) error
	// tidy takes away what the database still holds of what was deleted, as far as we can.
	tidy(ctx context.Context) error
	// settle does, after some batches of deletions, what would otherwise hold up whoever writes next.
	settle(ctx context.Context) error
	// unavailable tells trouble of the database from a fault of ours.
	unavailable(error) bool
	close() error
}

type txnOptions struct {
	gate    string // transactions of one gate run one at a time anyway: those of this process may queue up before the database
	durable bool   // survives a power cut once committed, not only the end of the process
}

// txn is an open transaction. After commit or rollback it must not be used.
type txn interface {
	run(ctx context.Context, writes []statement, queries ...query) error
	commit(ctx context.Context, writes []statement) error
	rollback(ctx context.Context)
}

// words are the pieces of SQL that are spelled differently.
type words struct {
	forUpdate string
	inList    string // meeting_id ‹…›, likewise
	notInList string // node_id ‹…›, with the list as $1
	now       string
	database  []string // tells this database from a copy of it; the first that may be asked for

	skipLocked string // of table e
	claim      string // meeting e until the end of the transaction, without waiting; false if another node has it
	some       string // limits what is deleted at a time; rows is the number
	rows       int
	batchTime  time.Duration // of Store.batchTime
	later      string        // in so many seconds: $2
	age        string        // of at, in seconds
}

// stamp is a time as both databases keep it.
func stamp(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

func stampPtr(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	s := stamp(*t)
	return &s
}

func optTime(d dialect, t *time.Time) any {
	if t == nil {
		return nil
	}
	return d.time(*t)
}

func optAddr(d dialect, a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return d.addr(a)
}

func optBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func someBytes(b []byte) any {
	if b == nil {
		return []byte{}
	}
	return b
}

// jsonText is for the small structs of this package, which always encode.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// The scan types take a value from either database's driver.
type (
	scanTime    struct{ to *time.Time }
	scanOptTime struct{ to **time.Time }
	scanAddr    struct{ to *netip.Addr }
	scanBytes   struct{ to *[]byte }
	scanJSON    struct{ to any }
	scanSeconds struct{ to *time.Duration }
)

func (s scanTime) Scan(v any) error {
	switch v := v.(type) {
	case int64:
		*s.to = time.UnixMicro(v).UTC()
	case time.Time:
		*s.to = stamp(v)
	default:
		return fmt.Errorf("scan %T as a time", v)
	}
	return nil
}

func (s scanOptTime) Scan(v any) error {
	if v == nil {
		*s.to = nil
		return nil
	}
	var t time.Time
	*s.to = &t
	return scanTime{&t}.Scan(v)
}

func (s scanAddr) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = netip.Addr{}
		return nil
	case string: // inet
		p, err := netip.ParsePrefix(v)
		if err != nil {
			a, err := netip.ParseAddr(v)
			*s.to = a
			return err
		}
		*s.to = p.Addr()
		return nil
	case []byte: // see sqlite.addr
		if len(v) > 0 {
			if a, ok := netip.AddrFromSlice(v[1:]); ok {
				*s.to = a
				return nil
			}
		}
	}
	return fmt.Errorf("scan %T as an address", v)
}

func (s scanBytes) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = nil
	case []byte:
		*s.to = append([]byte(nil), v...)
	default:
		return fmt.Errorf("scan %T as bytes", v)
	}
	return nil
}

func (s scanJSON) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), s.to)
	case []byte:
		return json.Unmarshal(v, s.to)
	}
	return fmt.Errorf("scan %T as JSON", v)
}

func (s scanSeconds) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("scan %T as seconds", v)
	}
	*s.to = time.Duration(n) * time.Second
	return nil
}
