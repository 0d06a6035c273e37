package load

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// pair is what one person sends to another. A message carries its number where
// the server does not look.
type pair struct {
	sent    uint32
	seq     int64 // of the last that came, by the server's count
	refused bool  // some were, so that the server's count may skip
	flight  []flying
}

// flying is a message on its way.
type flying struct {
	n     uint32
	kept  bool // the server holds it for the receiver's return
	maybe bool // the sender's connection ended before the answer: it may come, or not
	at    int64
}

func pairKey(from, to int32) uint64 { return uint64(uint32(from))<<32 | uint64(uint32(to)) }

func (m *meeting) pair(from, to int32) *pair {
	key := pairKey(from, to)
	p := m.pairs[key]
	if p == nil {
		p = &pair{}
		m.pairs[key] = p
	}
	return p
}

// An SDP begins with its number; tail is what follows, as it stands in JSON.
const sdpHead = `v=0\r\no=- `

func sdpTail(size int) string {
	var b strings.Builder
	b.WriteString(` 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n`)
	for i := 96; b.Len() < size; i++ {
		fmt.Fprintf(&b, `a=rtpmap:%d VP8/90000\r\n`, i)
	}
	return b.String()[:size]
}

// tail cuts sdpTail where no escape is torn.
func tailOf(size int) string {
	t := strings.TrimRight(sdpTail(max(size-len(sdpHead)-4, 40)), `\`)
	return t + strings.Repeat("x", max(size-len(sdpHead)-4-len(t), 0))
}

// signal sends one message to another person, and remembers it.
func (m *member) signal(to int32, body func(b []byte, n uint32) []byte) {
	s := m.shard
	now := s.loop.Now()
	p := m.meeting.pair(m.me, to)
	p.sent++
	p.flight = append(p.flight, flying{n: p.sent, at: now})
	s.expected++
	c := m.add(callSignal, now)
	c.to, c.n = p, p.sent
	b := s.event(c, "signal")
	b = append(b, `{"to":"`...)
	b = append(b, m.meeting.people[to].id...)
	b = append(b, `",`...)
	b = body(b, p.sent)
	s.send(m.conn, append(b, "}]"...))
}

func (m *member) sdp(to int32, kind, neg string) {
	m.signal(to, func(b []byte, n uint32) []byte {
		b = append(b, `"neg":"`...)
		b = append(b, neg...)
		b = append(b, `","kind":"`...)
		b = append(b, kind...)
		b = append(b, `","sdp":"`+sdpHead...)
		b = strconv.AppendUint(b, uint64(n), 10)
		b = append(b, m.shard.tail()...)
		return append(b, '"')
	})
}

// candidates sends a batch of three.
func (m *member) candidates(to int32, neg string, last bool) {
	m.signal(to, func(b []byte, n uint32) []byte {
		b = append(b, `"neg":"`...)
		b = append(b, neg...)
		b = append(b, `","kind":"candidates","list":[`...)
		for i := range 3 {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"candidate":"candidate:`...)
			b = strconv.AppendUint(b, uint64(n), 10)
			b = append(b, ` 1 udp 2122260223 192.0.2.17 5000`...)
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(b, ` typ host generation 0 ufrag F7gI network-id 1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"F7gI"}`...)
		}
		b = append(b, `],"end":`...)
		return strconv.AppendBool(b, last)
	})
}

// When browsers have found their candidates: those of the machine at once, those
// of a STUN server a little later.
const (
	firstCandidates = 20 * time.Millisecond
	lastCandidates  = 120 * time.Millisecond
)

// offerAll is what a newcomer does.
func (m *member) offerAll() {
	left := m.shard.run.opts.Degree
	if left < 0 {
		left = len(m.roster)
	}
	for n, l := range m.roster {
		if left == 0 {
			return
		}
		if l&online != 0 {
			left--
			m.offer(n)
		}
	}
}

func (m *member) offer(to int32) {
	m.negs++
	neg := m.meeting.people[m.me].id + "-" + strconv.Itoa(m.negs)
	m.sdp(to, "offer", neg)
	m.trickle(to, neg)
}

// trickle sends the candidates of a negotiation, while both are there.
func (m *member) trickle(to int32, neg string) {
	me, peer := m.meeting.people[m.me].id, m.meeting.people[to].id // numbers may change
	send := func(last bool) {
		if m.state != in || m.meeting.people[m.me].id != me {
			return
		}
		n, known := m.meeting.byID[peer]
		if _, seen := m.roster[n]; known && seen {
			m.candidates(n, neg, last)
		}
	}
	m.shard.later(firstCandidates, func() { send(false) })
	m.shard.later(lastCandidates, func() { send(true) })
}

// signalled receives a message.
func (m *member) signalled(b []byte) {
	s := m.shard
	now := s.loop.Now()
	var from, neg, kind, sdp, list []byte
	var seq int64
	for f := object(b); f.next(); {
		switch string(f.key) {
		case "from":
			from = text(f.value)
		case "seq":
			seq = integer(f.value)
		case "neg":
			neg = text(f.value)
		case "kind":
			kind = text(f.value)
		case "sdp":
			sdp = text(f.value)
		case "list":
			list = f.value
		}
	}
	if m.me < 0 {
		return // it has left
	}
	who := m.meeting.person(from)
	_, known := m.roster[who]
	// Of who has left, or is about to, there may be what was held for this one's return.
	if from := &m.meeting.people[who]; !known && m.state == in && !m.syncing && from.present && !from.leaving {
		s.isWrong(fmt.Sprintf("%s got a message of %s, who is not in its roster", m.name(), from.id))
		return
	}
	n, intact := numberOf(sdp, list, s.tail())
	p := m.meeting.pair(who, m.me)
	if !intact {
		s.isWrong(fmt.Sprintf("%s got a message of %s that is not as it was sent", m.name(), from))
		return
	}
	m.take(p, who, n, seq, now)
	if string(kind) == "offer" && known && s.run.opts.Scenario != Pairs && m.state == in {
		name := string(neg)
		m.sdp(who, "answer", name)
		m.trickle(who, name)
	}
}

// numberOf is the number that a message carries, if it is what was sent.
func numberOf(sdp, list []byte, tail string) (n uint32, intact bool) {
	if sdp != nil {
		rest, ok := bytes.CutPrefix(sdp, []byte(sdpHead))
		id, rest, digits := number(rest)
		return uint32(id), ok && digits && string(rest) == tail
	}
	const mark = "candidate:"
	at := bytes.Index(list, []byte(mark))
	if at < 0 {
		return 0, false
	}
	id, _, digits := number(list[at+len(mark):])
	return uint32(id), digits
}

// take checks a message's place in the order, and takes it off the list. One that comes again on the next
// connection, for the one before had not confirmed it, is dropped by its number, as clients do.
func (m *member) take(p *pair, from int32, n uint32, seq, now int64) {
	s := m.shard
	if seq <= p.seq && m.meeting.people[m.me].dropped {
		return
	}
	if p.seq+1 != seq && !p.refused && !m.meeting.people[m.me].dropped {
		s.isWrong(fmt.Sprintf("%s got seq %d of %s after %d", m.name(), seq, m.meeting.people[from].id, p.seq))
	}
	p.seq = max(seq, p.seq)
	s.forgiveBefore(p, &m.meeting.people[m.me], n)
	at := 0
	for at < len(p.flight) && p.flight[at].n != n {
		at++
	}
	switch {
	case at == len(p.flight):
		s.isWrong(fmt.Sprintf("%s got message %d of %s a second time, or too late", m.name(), n, m.meeting.people[from].id))
		return
	case at > 0 && !p.refused:
		s.isWrong(fmt.Sprintf("%s got message %d of %s before %d", m.name(), n, m.meeting.people[from].id, p.flight[0].n))
	}
	s.delivered++
	if !p.flight[at].kept { // else the wait for the return would be in it
		s.took(relaying, now-p.flight[at].at)
	}
	p.flight = append(p.flight[:at], p.flight[at+1:]...)
}

// forgiveBefore forgets the messages before number n that went to a connection
// which was lost.
func (s *shard) forgiveBefore(p *pair, to *person, n uint32) {
	if !to.dropped {
		return
	}
	for len(p.flight) > 0 && p.flight[0].n < n && p.flight[0].at < to.back && !p.flight[0].kept {
		p.flight = append(p.flight[:0], p.flight[1:]...)
		s.expected--
	}
}

// excused: the message need not arrive, as the receiver leaves, has left, or had
// lost its connection, or as the sender had.
func (f flying) excused(to *person) bool {
	return f.maybe || to.leaving || !to.present || to.lost || to.dropped && f.at < to.back && !f.kept
}

// forgive forgets at rest what is still on its way: what cannot arrive, and what is
// told as missing.
func (s *shard) forgive(p *pair, to *person) {
	held := p.flight[:0]
	for _, f := range p.flight {
		switch {
		case f.excused(to):
			s.expected--
		case f.kept && to.away:
			held = append(held, f)
		}
	}
	p.flight = held
}

// signalAcked takes the answer to a message.
func (m *member) signalAcked(c call, body []byte) {
	s := m.shard
	s.took(acking, s.loop.Now()-c.at)
	if code := refusal(body); code != "" {
		if !m.excused(code, c.to) {
			s.failed(code)
		}
		s.refused(c)
		return
	}
	if bytes.Contains(body, []byte(`"queued":true`)) {
		for i := range c.to.flight {
			if c.to.flight[i].n == c.n {
				c.to.flight[i].kept = true
			}
		}
	}
	if s.run.opts.Scenario == Pairs && s.sending && s.run.opts.SendRate == 0 && m.state == in {
		m.talk()
	}
}

// excused: the receiver had gone while the message was under way.
func (m *member) excused(code string, p *pair) bool {
	if code != "peer_gone" && code != "not_in_meeting" && code != "not_joined" {
		return false
	}
	if m.state != in {
		return true
	}
	for n := range m.meeting.people {
		if m.meeting.pairs[pairKey(m.me, int32(n))] == p {
			to := &m.meeting.people[n]
			return to.leaving || !to.present || to.lost || to.dropped
		}
	}
	return true // forgotten with who had left
}

// refused: the message does not come.
func (s *shard) refused(c call) {
	c.to.refused = true
	for i, f := range c.to.flight {
		if f.n == c.n {
			c.to.flight = append(c.to.flight[:i], c.to.flight[i+1:]...)
			s.expected--
			return
		}
	}
}

// unanswered: nobody will tell whether the message comes.
func (s *shard) unanswered(c call) {
	c.to.refused = true
	for i := range c.to.flight {
		if c.to.flight[i].n == c.n {
			c.to.flight[i].maybe = true
		}
	}
}

// talk sends a message of the pairs scenario.
func (m *member) talk() {
	for n := range m.roster {
		m.sdp(n, "offer", "pairs")
		return
	}
}

func (s *shard) tail() string { return s.run.tail }
