// Package pairs is who hears whom in a meeting, by what its members report, and whom
// to ask to mend a pair that is broken.
//
// It knows no clock: every call says what time it is, and something is decided only
// when a report comes, of the pairs of who reported. A member whose pair is not well
// reports every few seconds, so nothing needs a timer here.
package pairs

import (
	"slices"
	"time"
)

// State of a pair as one side sees it.
type State string

// The states.
const (
	Connecting   State = "connecting"
	Connected    State = "connected"
	Disconnected State = "disconnected" // it may come back by itself
	Failed       State = "failed"
	Refused      State = "refused" // the other showed a certificate that is not its own: nothing to mend
)

// Known reports whether it is one of the states.
func (s State) Known() bool {
	return slices.Contains([]State{Connecting, Connected, Disconnected, Failed, Refused}, s)
}

// Pair is what a member says of its connection to another.
type Pair struct {
	PeerID  string `json:"p"`
	State   State  `json:"s"`
	Hears   bool   `json:"h,omitempty"` // media comes, or there is none to come
	Relayed bool   `json:"r,omitempty"` // through a TURN server
	Poor    bool   `json:"w,omitempty"` // with much loss or delay
}

// Report is what a member says of all its pairs.
type Report struct {
	From  string `json:"f"`
	Pairs []Pair `json:"p"`
}

// Member is a participant who may report.
type Member struct {
	PeerID string
	Online bool
}

// Action is what somebody is asked to do.
type Action string

// The actions, in the order in which they are tried.
const (
	Restart Action = "restart" // ICE
	Relay   Action = "relay"   // from now on through a TURN server
)

// Advice asks a member to mend its pair with another. Of both who are asked to use a
// relay one makes the offer.
type Advice struct {
	To, Peer string
	Action   Action
	Offer    bool
}

// How long things may take. Those who report by the protocol say so every 5 s while a
// pair is not well, and every 30 s when all are.
const (
	badFor     = 3 * time.Second  // before something is done: much heals by itself
	slowFor    = 10 * time.Second // likewise, while they are only connecting
	relayAfter = 8 * time.Second  // after a restart that has not helped
	quiet      = time.Minute      // after the last that can be done
	goodUntil  = 75 * time.Second // a report is believed for so long
	badUntil   = 15 * time.Second // and what is bad in it
)

// Matrix is the newest report of each member of a meeting. The zero value is that of
// a meeting in which nobody has reported.
type Matrix struct {
	reports  map[string]report
	troubles map[key]*trouble
}

type report struct {
	at    time.Time
	pairs map[string]Pair
}

// key names a pair, whoever sees it: the smaller peer id first.
type key struct{ a, b string }

func keyOf(p, q string) key { return key{min(p, q), max(p, q)} }

// trouble is a pair that is not well, or was of late.
type trouble struct {
	since time.Time // zero: it is well again
	bad   bool      // not only slow
	tried Action
	at    time.Time // when
}

// Reported reports whether anybody has.
func (m *Matrix) Reported() bool { return len(m.reports) > 0 }

// Take notes a report, and says who is to be asked to mend the reporter's pairs.
// What is said of anybody who is not among the members is dropped.
func (m *Matrix) Take(r Report, members []Member, now time.Time) []Advice {
	online := map[string]bool{}
	present := map[string]bool{}
	for _, p := range members {
		present[p.PeerID], online[p.PeerID] = true, p.Online
	}
	if !present[r.From] {
		return nil
	}
	if m.reports == nil {
		m.reports, m.troubles = map[string]report{}, map[key]*trouble{}
	}
	said := map[string]Pair{}
	for _, p := range r.Pairs {
		if present[p.PeerID] && p.PeerID != r.From {
			said[p.PeerID] = p
		}
	}
	m.reports[r.From] = report{now, said}
	for _, p := range members {
		if p.PeerID != r.From {
			m.judge(keyOf(r.From, p.PeerID), online[r.From] && p.Online, now)
		}
	}
	var advice []Advice
	for _, p := range members {
		if p.PeerID != r.From {
			advice = append(advice, m.advise(keyOf(r.From, p.PeerID), now)...)
		}
	}
	return advice
}

// Drop forgets a member who has left.
func (m *Matrix) Drop(peerID string) {
	delete(m.reports, peerID)
	for _, r := range m.reports {
		delete(r.pairs, peerID)
	}
	for k := range m.troubles {
		if k.a == peerID || k.b == peerID {
			delete(m.troubles, k)
		}
	}
}

// judge notes whether a pair is well. While one side is away nobody can say.
func (m *Matrix) judge(k key, online bool, now time.Time) {
	one, other := m.verdict(k.a, k.b, now), m.verdict(k.b, k.a, now)
	t := m.troubles[k]
	if worse := max(one, other); online && worse != well && one != hopeless && other != hopeless {
		if t == nil {
			t = &trouble{}
			m.troubles[k] = t
		}
		if t.since.IsZero() {
			t.since = now
		}
		t.bad = worse == bad
		return
	}
	if t == nil {
		return
	}
	t.since = time.Time{}
	if t.tried == "" || now.Sub(t.at) >= quiet {
		delete(m.troubles, k)
	}
}

// verdict of one side about a pair, the worst last.
type verdict int

const (
	well verdict = iota // or nothing is known
	slow
	bad
	hopeless
)

func (m *Matrix) verdict(from, of string, now time.Time) verdict {
	r, ok := m.reports[from]
	p, said := r.pairs[of]
	age := now.Sub(r.at)
	switch {
	case !ok || !said || age >= goodUntil:
		return well
	case p.State == Refused:
		return hopeless
	case p.State == Connected && p.Hears, age >= badUntil:
		return well
	case p.State == Connecting:
		return slow
	}
	return bad
}

// broken reports whether a pair has been in trouble for long enough.
func (t *trouble) broken(now time.Time) bool {
	patience := slowFor
	if t.bad {
		patience = badFor
	}
	return !t.since.IsZero() && now.Sub(t.since) >= patience
}

// advise says what is to be done about a pair, if something is due. Every node comes
// to the same, and each asks those who are at it: so what was asked is noted wherever
// it is known.
func (m *Matrix) advise(k key, now time.Time) []Advice {
	t := m.troubles[k]
	if t == nil || !t.broken(now) {
		return nil
	}
	asked, other := m.right(k)
	if asked == "" {
		return nil
	}
	switch since := now.Sub(t.at); {
	case t.tried == "" || since >= quiet:
		t.tried, t.at = Restart, now
		return []Advice{{asked, other, Restart, true}}
	case t.tried == Restart && since >= relayAfter:
		t.tried, t.at = Relay, now
		return []Advice{{other, asked, Relay, false}, {asked, other, Relay, true}}
	}
	return nil
}

// right finds the right side to ask: the one with more pairs in trouble, whose network
// is likely to be at fault, so that nobody else is bothered by it; else the impolite
// one, whose offer stands if two cross. Who has never reported does not understand.
func (m *Matrix) right(k key) (asked, other string) {
	asked, other = k.b, k.a
	if m.count(k.a) > m.count(k.b) {
		asked, other = other, asked
	}
	if _, understands := m.reports[asked]; !understands {
		asked, other = other, asked
	}
	if _, understands := m.reports[asked]; !understands {
		return "", ""
	}
	return asked, other
}

// count is how many pairs of a member are in trouble.
func (m *Matrix) count(peerID string) (n int) {
	for k, t := range m.troubles {
		if (k.a == peerID || k.b == peerID) && !t.since.IsZero() {
			n++
		}
	}
	return n
}

// Broken calls f for every pair that is broken, with the one who is to mend it.
func (m *Matrix) Broken(now time.Time, f func(asked string)) {
	for k, t := range m.troubles {
		if t.broken(now) {
			asked, _ := m.right(k)
			f(asked)
		}
	}
}
