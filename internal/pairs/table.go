package pairs

import (
	"cmp"
	"slices"
	"time"
)

// Table is the whole matrix at a moment, for those who lead.
type Table struct {
	Members []string
	Rows    []string // of each member: a letter for each, what it hears of that one
	Broken  []Broken
}

// Broken is a pair that is to be mended.
type Broken struct {
	A, B  string
	Tried Action // lately; empty: nothing yet
}

// Equal reports whether both show the same.
func (t Table) Equal(other Table) bool {
	return slices.Equal(t.Members, other.Members) && slices.Equal(t.Rows, other.Rows) && slices.Equal(t.Broken, other.Broken)
}

// The letters of a row.
const (
	letterSelf, letterUnknown                       = '-', '?'
	letterHears, letterRelayed, letterPoor          = '+', '~', '!'
	letterConnecting, letterDisconnected            = 'c', 'd'
	letterFailed, letterRefused, letterNothingComes = 'f', 'x', 'n'
)

// Table is who hears whom among the members, in their order.
func (m *Matrix) Table(members []string, now time.Time) Table {
	t := Table{Members: members, Rows: make([]string, len(members))}
	for i, from := range members {
		row := make([]byte, len(members))
		for j, of := range members {
			row[j] = m.letter(from, of, now)
		}
		t.Rows[i] = string(row)
	}
	for k, trouble := range m.troubles {
		if trouble.broken(now) {
			t.Broken = append(t.Broken, Broken{k.a, k.b, trouble.triedLately(now)})
		}
	}
	slices.SortFunc(t.Broken, func(x, y Broken) int { return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B)) })
	return t
}

func (t *trouble) triedLately(now time.Time) Action {
	if t.at.IsZero() || now.Sub(t.at) >= quiet {
		return ""
	}
	return t.tried
}

func (m *Matrix) letter(from, of string, now time.Time) byte {
	if from == of {
		return letterSelf
	}
	r := m.reports[from]
	p, said := r.pairs[of]
	if !said || now.Sub(r.at) >= goodUntil {
		return letterUnknown
	}
	switch p.State {
	case Connecting:
		return letterConnecting
	case Disconnected:
		return letterDisconnected
	case Failed:
		return letterFailed
	case Refused:
		return letterRefused
	case Connected:
	}
	switch {
	case !p.Hears:
		return letterNothingComes
	case p.Poor:
		return letterPoor
	case p.Relayed:
		return letterRelayed
	}
	return letterHears
}
