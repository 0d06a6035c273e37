package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Chains of the audit.
const (
	Creations = "creations"
	Events    = "events"
)

var chains = map[string]chain{Creations: meetingChain, Events: eventChain}

// ChainPoint is a place in a chain of the audit: a row's number and its hash. The hash stands for the row
// and for all rows before it.
type ChainPoint struct {
	Seq  int64
	Hash []byte
}

// String writes a point so that it can be noted elsewhere: 12:9f86d081….
func (p ChainPoint) String() string {
	return strconv.FormatInt(p.Seq, 10) + ":" + hex.EncodeToString(p.Hash)
}

// ParseChainPoint reads what String has written.
func ParseChainPoint(s string) (p ChainPoint, err error) {
	seq, hash, _ := strings.Cut(s, ":")
	p.Seq, err = strconv.ParseInt(seq, 10, 64)
	if err == nil {
		p.Hash, err = hex.DecodeString(hash)
	}
	if err != nil || p.Seq < 0 || len(p.Hash) != len(chainStart) {
		return ChainPoint{}, fmt.Errorf("%q is not a number, a colon and %d hexadecimal digits", s, 2*len(chainStart))
	}
	return p, nil
}

// AuditHead is the last row of a chain now.
func (s *Store) AuditHead(ctx context.Context, chain string) (ChainPoint, error) {
	e, err := s.ends(ctx, chains[chain])
	return e.head, err
}

// AuditPoint is the point of a chain at a row; a zero Hash: that row is not there, nor was it the last of those
// that were deleted. anchor is the last row that may be gone.
func (s *Store) AuditPoint(ctx context.Context, chain string, seq int64) (p ChainPoint, anchor int64, err error) {
	c := chains[chain]
	e, err := s.ends(ctx, c)
	if err != nil {
		return ChainPoint{}, 0, err
	}
	p = ChainPoint{Seq: seq}
	switch seq {
	case 0:
		p.Hash = chainStart
	case e.anchor.Seq:
		p.Hash = e.anchor.Hash
	default:
		err = s.read(ctx, "read the audit", query{
			statement{sql: `SELECT hash FROM ` + c.table + ` WHERE seq = $1`, args: []any{seq}},
			func(r row) error { return r.Scan(scanBytes{&p.Hash}) },
		})
	}
	return p, e.anchor.Seq, err
}

// Verified is how far a chain was found intact.
type Verified struct {
	At   ChainPoint // up to here
	Head ChainPoint // the last row there is
	Bad  int64      // the first row that does not fit or is missing; 0: none was found
}

// VerifyAuditOn checks at most so many rows more of a chain, after what is known of it: a point that an
// earlier call has answered, or the zero one. Rows that were deleted meanwhile make it begin at the anchor.
func (s *Store) VerifyAuditOn(ctx context.Context, chain string, known ChainPoint, rows int64) (Verified, error) {
	c := chains[chain]
	e, err := s.ends(ctx, c)
	if err != nil {
		return Verified{}, err
	}
	v := Verified{At: known, Head: e.head}
	if start := e.start(); known.Hash == nil || known.Seq < start.Seq {
		v.At = start
	}
	if v.At.Seq > e.head.Seq { // what was there is not
		v.Bad = e.head.Seq + 1
		return v, nil
	}
	v.At, v.Bad, err = s.walk(ctx, c, e, v.At, min(e.head.Seq, v.At.Seq+rows), nil)
	if err != nil || v.Bad == 0 {
		return v, err
	}
	if moved, err := s.pruned(ctx, c, e, v.Bad); err != nil || moved {
		return Verified{Head: e.head}, err
	}
	return v, nil
}
