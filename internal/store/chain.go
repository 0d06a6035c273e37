package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/netip"
)

// chainStart is the PrevHash of the first meeting.
var chainStart = make([]byte, sha256.Size)

// ChainHash is the hash of an audit row: SHA-256 over
//
//	"signald audit 1\n", prev, seq, id, name, creator_ip, country, region, city, lat, lon,
//	geo_source, user_agent, created_at
//
// in this order. prev is the hash of the row before, 32 bytes of zero for the first. A text is its
// length in bytes as 4 bytes and then its UTF-8; an address likewise with its 4 or 16 bytes, none if
// unknown. seq and created_at (microseconds since 1970 UTC) are 8 bytes each; lat and lon the 8 bytes
// of IEEE 754. What may be absent (country, region, city, lat, lon) is preceded by a byte, 1 if it is
// there; else that byte is 0 and nothing follows. All numbers are big-endian.
//
// The chain shows a change to whoever kept an older hash, or to anyone as long as not every later row
// was rewritten with it.
func ChainHash(prev []byte, m Meeting) []byte {
	b := append([]byte("signald audit 1\n"), prev...)
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	optText := func(s *string) {
		if s == nil {
			b = append(b, 0)
			return
		}
		b = append(b, 1)
		text(*s)
	}
	optFloat := func(f *float64) {
		if f == nil {
			b = append(b, 0)
			return
		}
		b = append(b, 1)
		number(math.Float64bits(*f))
	}

	number(uint64(m.Seq))
	text(m.ID)
	text(m.Name)
	text(string(m.CreatorIP.AsSlice()))
	optText(m.Country)
	optText(m.Region)
	optText(m.City)
	optFloat(m.Lat)
	optFloat(m.Lon)
	text(m.GeoSource)
	text(m.UserAgent)
	number(uint64(m.CreatedAt.UnixMicro()))

	sum := sha256.Sum256(b)
	return sum[:]
}

// chain is one of the audit's two: of meetings, and of what else is recorded.
type chain struct {
	table string // also its name among the anchors
	head  string
	rows  string // those after $1 up to $2, at most $3
	link  func(row) (link, error)
}

// link is a row as the chain sees it.
type link struct {
	seq        int64
	prev, hash []byte
	want       func(prev []byte) []byte // what the hash should be
	whole      bool                     // what the hash does not cover is as it should be
}

var meetingChain = chain{
	table: "meetings", head: "meetings_head",
	rows: `SELECT ` + meetingColumns + `, name_fold, city_fold FROM meetings m WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`,
	link: func(r row) (link, error) {
		var m Meeting
		var nameFold string
		var cityFold *string
		err := r.Scan(append(meetingDest(&m), &nameFold, &cityFold)...)
		return link{
			seq: m.Seq, prev: m.PrevHash, hash: m.Hash,
			want:  func(prev []byte) []byte { return ChainHash(prev, m) },
			whole: nameFold == fold(m.Name) && equalPtr(cityFold, foldPtr(m.City)),
		}, err
	},
}

const verifyBatch = 500

// VerifyAudit walks the audit as it is now, oldest first, and answers the first row that is not as it
// was written: changed, out of order, or following a row that is gone. Rows missing at the end are
// answered as a Meeting with nothing but the Seq of the first of them. progress, if not nil, is told
// after each batch. Each batch is bounded by the store's timeout, the walk by ctx.
//
// Where older rows were deleted (PruneAudit) it begins at the last anchor.
func (s *Store) VerifyAudit(ctx context.Context, progress func(done, total int64)) (firstBad *Meeting, err error) {
	seq, err := s.verify(ctx, meetingChain, progress)
	if err != nil || seq == 0 {
		return nil, err
	}
	m := Meeting{Seq: seq}
	err = s.read(ctx, "read the audit", query{
		statement{sql: `SELECT ` + meetingColumns + ` FROM meetings m WHERE seq = $1`, args: []any{seq}},
		func(r row) error { return r.Scan(meetingDest(&m)...) },
	})
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// verify answers the seq of the first row that does not fit or is missing; 0 if there is none. Rows that
// were deleted on the way make it begin again.
func (s *Store) verify(ctx context.Context, c chain, progress func(done, total int64)) (bad int64, err error) {
	for {
		ends, err := s.ends(ctx, c)
		if err != nil {
			return 0, err
		}
		_, bad, err := s.walk(ctx, c, ends, ends.start(), ends.head.Seq, progress)
		if err != nil || bad == 0 {
			return 0, err
		}
		if moved, err := s.pruned(ctx, c, ends, bad); err != nil || !moved {
			return bad, err
		}
	}
}

// pruned reports whether rows were deleted since, which explains that one of them is missing.
func (s *Store) pruned(ctx context.Context, c chain, since ends, bad int64) (bool, error) {
	now, err := s.ends(ctx, c)
	return now.anchor.Seq != since.anchor.Seq || bad <= since.anchor.Seq && now.lowest != since.lowest, err
}

// ends are where a chain begins and ends.
type ends struct {
	anchor     ChainPoint // the last row that may be gone
	lowest     int64      // the first row that is there; 0 if there is none
	lowestPrev []byte
	head       ChainPoint // the last row there is
}

// start is what the first row there is should follow.
func (e ends) start() ChainPoint {
	switch {
	case e.lowest == 0 || e.lowest > e.anchor.Seq:
		return e.anchor
	case e.lowest == 1:
		return ChainPoint{0, chainStart}
	default: // those before it are deleted, it is about to be
		return ChainPoint{e.lowest - 1, e.lowestPrev}
	}
}

func (s *Store) ends(ctx context.Context, c chain) (ends, error) {
	e := ends{anchor: ChainPoint{0, chainStart}, head: ChainPoint{0, chainStart}}
	err := s.read(ctx, "read the audit's ends",
		query{
			statement{sql: `SELECT seq, hash FROM audit_anchors WHERE chain = $1 ORDER BY seq DESC LIMIT 1`, args: []any{c.table}},
			func(r row) error { return r.Scan(&e.anchor.Seq, scanBytes{&e.anchor.Hash}) },
		},
		query{
			statement{sql: `SELECT seq, prev_hash FROM ` + c.table + ` ORDER BY seq LIMIT 1`},
			func(r row) error { return r.Scan(&e.lowest, scanBytes{&e.lowestPrev}) },
		},
		query{
			statement{sql: `SELECT seq, hash FROM ` + c.head},
			func(r row) error { return r.Scan(&e.head.Seq, scanBytes{&e.head.Hash}) },
		})
	return e, err
}

// walk checks the rows after from, up to a seq, and answers the last one that it has read.
func (s *Store) walk(ctx context.Context, c chain, e ends, from ChainPoint, upTo int64, progress func(done, total int64)) (at ChainPoint, bad int64, err error) {
	at = from
	for at.Seq < upTo {
		before := at.Seq
		batch := query{
			statement{sql: c.rows, args: []any{at.Seq, upTo, verifyBatch}},
			func(r row) error {
				if bad != 0 {
					return nil
				}
				l, err := c.link(r)
				if err != nil {
					return err
				}
				fits := l.seq == at.Seq+1 && l.whole && bytes.Equal(l.prev, at.Hash) && bytes.Equal(l.hash, l.want(at.Hash))
				if !fits || l.seq == e.anchor.Seq && !bytes.Equal(l.hash, e.anchor.Hash) {
					bad = l.seq
					return nil
				}
				at = ChainPoint{l.seq, l.hash}
				return nil
			},
		}
		if err := s.read(ctx, "read the audit", batch); err != nil || bad != 0 {
			return at, bad, err
		}
		if at.Seq == before {
			return at, at.Seq + 1, nil
		}
		if progress != nil {
			progress(at.Seq-from.Seq, upTo-from.Seq)
		}
	}
	if at.Seq == e.head.Seq && !bytes.Equal(at.Hash, e.head.Hash) {
		return at, e.head.Seq, nil // every row fits the one before it but not what was noted when the last was written
	}
	return at, 0, nil
}

func equalPtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// plainAddr is an address as it is stored: IPv4 as such, no zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
