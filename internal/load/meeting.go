package load

import (
	"fmt"
)

// meeting is a meeting of signald, and the truth about it.
type meeting struct {
	shard   *shard
	key     string
	number  int
	size    int
	members []*member

	people []person
	byID   map[string]int32
	pairs  map[uint64]*pair
}

// person is one participation, as the tool knows it.
type person struct {
	id     string
	member *member
	look   look
	// present: its join was answered, and it has not left. leaving: it is about to.
	// away: its connection is lost; dropped: it was, some time; lost: the server
	// ended it, which is an error already.
	present, leaving, away, dropped, lost bool

	acked int64 // when its join was answered
	heard int64 // when the last of the others heard of it
	back  int64 // when it came back: what was sent before may be lost
	noted bool  // in the statistics
}

func (s *shard) addMeeting(key string, number int) {
	m := &meeting{
		shard: s, key: key, number: number, size: s.run.opts.PerMeeting, byID: map[string]int32{}, pairs: map[uint64]*pair{},
	}
	for i := range m.size {
		p := &member{meeting: m, me: -1}
		p.shard, p.number = s, i
		m.members = append(m.members, p)
		s.actors = append(s.actors, p)
	}
	s.meetings = append(s.meetings, m)
}

// person finds who has this peer_id.
func (m *meeting) person(id []byte) int32 {
	if n, ok := m.byID[string(id)]; ok {
		return n
	}
	n := int32(len(m.people))
	m.people = append(m.people, person{id: string(id)})
	m.byID[m.people[n].id] = n
	return n
}

func (m *meeting) check(wrong func(string)) {
	present := 0
	anyLost := false
	for i := range m.people {
		if m.people[i].present {
			present++
		}
		anyLost = anyLost || m.people[i].lost
	}
	for _, who := range m.members {
		if len(who.waiting) > 0 {
			wrong(fmt.Sprintf("%s has no answer to its %s", who.name(), callNames[who.waiting[0].kind]))
		}
		if who.state == in && !anyLost {
			m.checkRoster(who, present, wrong)
		}
	}
	for key, p := range m.pairs {
		m.checkPair(key, p, wrong)
	}
}

// checkRoster compares what a member sees with who is there.
func (m *meeting) checkRoster(who *member, present int, wrong func(string)) {
	right := 0
	for n, l := range who.roster {
		p := &m.people[n]
		want := p.look
		if p.away {
			want &^= online
		}
		switch {
		case !p.present:
			wrong(fmt.Sprintf("%s sees %s, who is not there", who.name(), p.id))
		case l != want:
			wrong(fmt.Sprintf("%s sees %s as %05b, who is %05b (online, hand, screen, video, audio)", who.name(), p.id, l, want))
		default:
			right++
		}
	}
	if right == present-1 {
		return
	}
	for n := range m.people {
		if _, seen := who.roster[int32(n)]; !seen && m.people[n].present && int32(n) != who.me {
			wrong(fmt.Sprintf("%s misses %s", who.name(), m.people[n].id))
		}
	}
}

func (m *meeting) checkPair(key uint64, p *pair, wrong func(string)) {
	from, to := &m.people[key>>32], &m.people[uint32(key)]
	missing := 0
	for _, f := range p.flight {
		if !f.excused(to) && (!f.kept || !to.away) {
			missing++
		}
	}
	if missing > 0 {
		wrong(fmt.Sprintf("meeting %d: %s misses %d of %d messages of %s, the first is number %d",
			m.number, to.id, missing, p.sent, from.id, p.flight[0].n))
	}
}

// tidy notes how long the news of joins took, and forgets those who have left.
func (m *meeting) tidy() {
	gone := 0
	for i := range m.people {
		m.note(&m.people[i])
		if !m.people[i].present {
			gone++
		}
	}
	for key, p := range m.pairs {
		from, to := &m.people[key>>32], &m.people[uint32(key)]
		m.shard.forgive(p, to)
		if !from.present || !to.present {
			delete(m.pairs, key)
		}
	}
	if gone > 2*m.size {
		m.forgetGone()
	}
}

func (m *meeting) note(p *person) {
	if p.noted || p.acked == 0 || p.heard == 0 {
		return
	}
	p.noted = true
	m.shard.took(updating, max(p.heard-p.acked, 0))
}

// forgetGone numbers the people anew.
func (m *meeting) forgetGone() {
	renamed := make(map[int32]int32, m.size)
	var people []person
	clear(m.byID)
	for i, p := range m.people {
		if !p.present {
			continue
		}
		renamed[int32(i)] = int32(len(people))
		m.byID[p.id] = int32(len(people))
		people = append(people, p)
	}
	m.people = people
	for _, who := range m.members {
		if who.me >= 0 {
			who.me = renamed[who.me]
		}
		roster := make(map[int32]look, m.size)
		for n, l := range who.roster {
			if to, ok := renamed[n]; ok {
				roster[to] = l
			}
		}
		who.roster = roster
	}
	pairs := make(map[uint64]*pair, len(m.pairs))
	for key, p := range m.pairs {
		pairs[pairKey(renamed[int32(key>>32)], renamed[int32(uint32(key))])] = p
	}
	m.pairs = pairs
}

func (m *meeting) sweep(now int64) {
	before := now - int64(m.shard.run.opts.CallTimeout)
	for _, who := range m.members {
		c, late := who.late(before)
		if !late {
			continue
		}
		m.shard.failed("timeout: " + callNames[c.kind])
		switch c.kind {
		case callJoin:
			who.close()
			who.forgetCalls()
			who.state = out
		case callLeave:
			who.left()
		case callSignal:
			m.shard.unanswered(c)
		default:
		}
	}
}
