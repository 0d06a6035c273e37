package pairs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// meeting is a matrix with a clock that tests turn.
type meeting struct {
	Matrix
	now     time.Time
	members []Member
	asked   []string
}

func newMeeting(peers ...string) *meeting {
	m := &meeting{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
	for _, p := range peers {
		m.members = append(m.members, Member{p, true})
	}
	return m
}

func (m *meeting) away(peer string, away bool) {
	for i := range m.members {
		if m.members[i].PeerID == peer {
			m.members[i].Online = !away
		}
	}
}

// says has a member report: "b+ c!" is that it hears b and is deaf to c. What is not
// named it hears.
func (m *meeting) says(from, what string) {
	r := Report{From: from}
	said := map[string]byte{}
	for _, word := range strings.Fields(what) {
		said[word[:1]] = word[1]
	}
	for _, p := range m.members {
		switch said[p.PeerID] {
		case '!':
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Connected})
		case 'c':
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Connecting})
		case 'd':
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Disconnected})
		case 'f':
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Failed})
		case 'x':
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Refused})
		default:
			r.Pairs = append(r.Pairs, Pair{PeerID: p.PeerID, State: Connected, Hears: true})
		}
	}
	for _, a := range m.Take(r, m.members, m.now) {
		word := fmt.Sprintf("%s>%s %s", a.To, a.Peer, a.Action)
		if !a.Offer {
			word += " passively"
		}
		m.asked = append(m.asked, word)
	}
}

func TestWhoIsAskedToMendWhat(t *testing.T) {
	// A step is a time in seconds, who reports, and what; "away" and "back" are no reports.
	for _, c := range []struct {
		name  string
		steps string
		want  string
	}{
		{"all is well", "0 a; 0 b; 0 c; 30 a; 30 b; 30 c", ""},
		{"what heals by itself needs nobody", "0 a bd; 2 a b+; 7 a", ""},
		{"a word alone is no reason", "0 a bf", ""},
		{"one side does not hear: the impolite is asked", "0 a; 0 b; 1 a b!; 6 a b!", "b>a restart"},
		{"whichever side it is", "0 a; 0 b; 1 b a!; 6 b a!", "b>a restart"},
		{"both say so, and one is asked once", "0 a bf; 0 b af; 4 a bf; 4 b af; 9 a bf; 9 b af", "b>a restart"},
		{"who still connects has longer", "0 a bc; 0 b ac; 5 a bc; 9 b ac; 10 a bc", "b>a restart"},
		{"what fails while it connects has not", "0 a bc; 4 a bf", "a>b restart"},
		{
			"a restart that does not help is followed by a relay, on both sides",
			"0 a bf; 0 b af; 5 a bf; 10 a bf; 13 b af",
			"b>a restart, a>b relay passively, b>a relay",
		},
		{
			"and then by nothing for a minute",
			"0 a bf; 0 b af; 5 a bf; 13 b af; 40 a bf; 72 a bf; 73 a bf; 81 a bf",
			"b>a restart, a>b relay passively, b>a relay, b>a restart, a>b relay passively, b>a relay",
		},
		{"what breaks again within the minute is relayed at once", "0 a bf; 0 b; 5 a bf; 10 a; 30 a bf; 35 a bf", "b>a restart, a>b relay passively, b>a relay"},
		{"what breaks again later begins anew", "0 a bf; 0 b; 5 a bf; 10 a; 70 a bf; 75 a bf", "b>a restart, b>a restart"},
		{
			"whose pairs are all broken is asked alone",
			"0 a bf cf; 0 b af; 0 c af; 5 b af; 5 c af; 5 a bf cf",
			"a>b restart, a>c restart",
		},
		{"nobody can say while one is away", "0 a bf; 0 b; 1 away b; 5 a bf; 20 a bf; 21 back b; 22 a bf; 24 a bf; 25 a bf", "b>a restart"},
		{"who has never reported does not understand", "0 a bf; 5 a bf; 14 a bf", "a>b restart, b>a relay passively, a>b relay"},
		{"a wrong certificate is nothing to mend", "0 a bx; 0 b af; 5 a bx; 5 b af; 30 b af", ""},
		{"an old word is no reason", "0 a bf; 0 b; 20 b; 25 b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMeeting("a", "b", "c")
			start := m.now
			for _, step := range strings.Split(c.steps, "; ") {
				var at int
				var who string
				if _, err := fmt.Sscan(step, &at, &who); err != nil {
					t.Fatal(err)
				}
				m.now = start.Add(time.Duration(at) * time.Second)
				words := strings.Fields(step)[2:]
				if who == "away" || who == "back" {
					m.away(words[0], who == "away")
					continue
				}
				m.says(who, strings.Join(words, " "))
			}
			if got := strings.Join(m.asked, ", "); got != c.want {
				t.Errorf("asked %q, want %q", got, c.want)
			}
		})
	}
}

func TestTableShowsWhoHearsWhom(t *testing.T) {
	m := newMeeting("a", "b", "c", "d")
	m.says("a", "b! cc dx")
	m.Take(Report{From: "b", Pairs: []Pair{
		{PeerID: "a", State: Connected, Hears: true, Relayed: true},
		{PeerID: "c", State: Connected, Hears: true, Relayed: true, Poor: true},
		{PeerID: "d", State: Failed},
		{PeerID: "nobody", State: Failed}, {PeerID: "b", State: Failed},
	}}, m.members, m.now)
	m.says("c", "bd")
	m.now = m.now.Add(5 * time.Second)
	m.says("a", "b! cc dx")
	ids := []string{"a", "b", "c", "d"}
	got := m.Table(ids, m.now)
	if want := []string{"-ncx", "~-!f", "+d-+", "???-"}; !slices.Equal(got.Rows, want) || !slices.Equal(got.Members, ids) {
		t.Errorf("got %q, want %q", got.Rows, want)
	}
	// b has the most trouble; b and d have been broken for as long, and b has not said so again.
	if want := []Broken{{"a", "b", Restart}, {"b", "c", ""}, {"b", "d", ""}}; !slices.Equal(got.Broken, want) {
		t.Errorf("broken: %v, want %v", got.Broken, want)
	}
	if got.Equal(m.Table(ids[:3], m.now)) || !got.Equal(m.Table(ids, m.now)) {
		t.Error("tables are not compared by what they show")
	}
	if got := m.Table(ids, m.now.Add(2*time.Minute)).Rows[0]; got != "-???" {
		t.Errorf("long after, a is said to hear %q", got)
	}
}

func TestWhoHasLeftIsForgotten(t *testing.T) {
	m := newMeeting("a", "b")
	m.says("a", "bf")
	m.says("b", "af")
	m.Drop("b")
	m.now = m.now.Add(5 * time.Second)
	if got := m.Table([]string{"a", "b"}, m.now); got.Rows[0] != "-?" || got.Rows[1] != "?-" || len(got.Broken) > 0 {
		t.Errorf("still known: %v", got)
	}
	m.says("a", "bf") // somebody who comes anew has the time that all have
	if len(m.asked) > 0 {
		t.Errorf("asked %v", m.asked)
	}
	if m.Take(Report{From: "stranger", Pairs: []Pair{{PeerID: "a", State: Failed}}}, m.members, m.now) != nil || len(m.reports) != 1 {
		t.Errorf("a stranger's report is kept: %v", m.reports)
	}
}
