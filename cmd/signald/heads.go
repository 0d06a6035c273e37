package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"signald/internal/fault"
	"signald/internal/store"
)

// head is a point of one of the audit's chains.
type head struct {
	chain string
	store.ChainPoint
}

// eventsPrefix tells a head of the events from one of the creations.
const eventsPrefix = store.Events + ":"

func (h head) String() string {
	if h.chain == store.Events {
		return eventsPrefix + h.ChainPoint.String()
	}
	return h.ChainPoint.String()
}

func parseHeads(texts []string) (heads []head, err error) {
	for _, text := range texts {
		h := head{chain: store.Creations}
		rest, isEvents := strings.CutPrefix(strings.TrimSpace(text), eventsPrefix)
		if isEvents {
			h.chain = store.Events
		}
		if h.ChainPoint, err = store.ParseChainPoint(rest); err != nil {
			return nil, fault.Invalid("", "expect is a head as this command prints it: "+err.Error())
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// readHeads answers where the chains end now. Without events there is none of them.
func readHeads(ctx context.Context, s *store.Store) (heads []head, err error) {
	for _, chain := range []string{store.Creations, store.Events} {
		p, err := s.AuditHead(ctx, chain)
		if err != nil {
			return nil, err
		}
		if chain == store.Creations || p.Seq > 0 {
			heads = append(heads, head{chain, p})
		}
	}
	return heads, nil
}

// compareHeads holds chains that are intact against heads that were noted earlier.
func compareHeads(ctx context.Context, s *store.Store, expected []head, stdout io.Writer) error {
	for _, want := range expected {
		got, anchor, err := s.AuditPoint(ctx, want.chain, want.Seq)
		switch {
		case err != nil:
			return err
		case got.Hash == nil && want.Seq < anchor:
			return fmt.Errorf("%s cannot be compared: the rows up to %d were deleted by the retention; note a later head", want, anchor)
		case got.Hash == nil:
			return fmt.Errorf("%s was noted, and row %d is missing: rows at the end were deleted, or this is another audit", want, want.Seq)
		case !bytes.Equal(got.Hash, want.Hash):
			return fmt.Errorf("row %d is not the one that was noted: its hash is %x, and %x was expected. It or a row before it was rewritten, and all rows after that", want.Seq, got.Hash, want.Hash)
		}
		fmt.Fprintf(stdout, "As noted at %s.\n", want)
	}
	return nil
}
