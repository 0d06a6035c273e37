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

const verifyBatch = 500

// VerifyAudit walks the audit as it is now, oldest first, and answers the first row that is not as it
// was written: changed, out of order, or following a row that is gone. Rows missing at the end are
// answered as a Meeting with nothing but the Seq of the first of them. progress, if not nil, is told
// after each batch. Each batch is bounded by the store's timeout, the walk by ctx.
func (s *Store) VerifyAudit(ctx context.Context, progress func(done, total int64)) (firstBad *Meeting, err error) {
	var total int64
	var head []byte
	err = s.read(ctx, "read the audit's head", query{
		statement{sql: `SELECT seq, hash FROM meetings_head`},
		func(r row) error { return r.Scan(&total, scanBytes{&head}) },
	})
	if err != nil {
		return nil, err
	}

	prev, done := chainStart, int64(0)
	for done < total {
		before := done
		batch := query{
			statement{
				sql:  `SELECT ` + meetingColumns + `, name_fold, city_fold FROM meetings m WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`,
				args: []any{done, total, verifyBatch},
			},
			func(r row) error {
				if firstBad != nil {
					return nil
				}
				var m Meeting
				var nameFold string
				var cityFold *string
				if err := r.Scan(append(meetingDest(&m), &nameFold, &cityFold)...); err != nil {
					return err
				}
				done++
				folds := nameFold == fold(m.Name) && equalPtr(cityFold, foldPtr(m.City))
				if m.Seq != done || !folds || !bytes.Equal(m.PrevHash, prev) || !bytes.Equal(m.Hash, ChainHash(prev, m)) {
					firstBad = &m
				}
				prev = m.Hash
				return nil
			},
		}
		if err := s.read(ctx, "read the audit", batch); err != nil {
			return nil, err
		}
		if firstBad != nil {
			return firstBad, nil
		}
		if done == before {
			return &Meeting{Seq: done + 1}, nil
		}
		if progress != nil {
			progress(done, total)
		}
	}
	if !bytes.Equal(prev, head) {
		// Every row fits the one before it but not what was noted when the last was written.
		return s.meetingBySeq(ctx, total)
	}
	return nil, nil
}

func (s *Store) meetingBySeq(ctx context.Context, seq int64) (*Meeting, error) {
	m := Meeting{Seq: seq}
	err := s.read(ctx, "read the audit", query{
		statement{sql: `SELECT ` + meetingColumns + ` FROM meetings m WHERE seq = $1`, args: []any{seq}},
		func(r row) error { return r.Scan(meetingDest(&m)...) },
	})
	if err != nil {
		return nil, err
	}
	return &m, nil
}

func equalPtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// plainAddr is an address as it is stored: IPv4 as such, no zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
