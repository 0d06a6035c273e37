package load

import (
	"bytes"
	"fmt"
	"strconv"

	"signald/internal/load/lean"
)

// member is a client of protocol 2: a person at a time, one after the other.
type member struct {
	seat
	calls
	meeting *meeting

	me     int32 // who it is in the meeting; -1: nobody
	token  string
	state  state
	then   then // what comes after leaving
	rev    int64
	roster map[int32]look
	negs   int // offers made

	syncing bool
}

type state uint8

const (
	out state = iota
	entering
	in
	away // its connection is lost, its seat is kept
	leaving
)

type then uint8

const (
	stayOut then = iota
	startAnew
	joinAgain
)

// look is how a person looks to the others.
type look uint8

const (
	audio look = 1 << iota
	video
	screen
	hand
	online
)

var _ lean.Handler = (*member)(nil)

func (m *member) start() {
	if m.state != out && m.state != away {
		m.shard.opening.Add(-1)
		return
	}
	if m.state == out {
		m.state = entering
	}
	m.dial(m)
}

// Connected joins, or comes back.
func (m *member) Connected() {
	m.connected()
	m.sendJoin()
}

func (m *member) sendJoin() {
	m.asked = m.shard.loop.Now()
	b := m.shard.event(m.add(callJoin, m.asked), "join")
	b = fmt.Appendf(b, `{"meeting_id":%q,"user_id":"u%d","v":2,"name":"u%d","media":{"audio":true,"video":true}`,
		m.meeting.key, m.number, m.number)
	if m.state == away {
		b = fmt.Appendf(b, `,"resume_token":%q`, m.token)
	}
	m.shard.send(m.conn, append(b, "}]"...))
}

// Closed: the server or the network has ended the connection.
func (m *member) Closed(err error) {
	m.lost(err)
	if m.me >= 0 {
		m.meeting.people[m.me].lost = true
	}
	m.forgetCalls()
	m.state = out
}

// forgetCalls: no answers come any more.
func (m *member) forgetCalls() {
	for _, c := range m.waiting {
		if c.kind == callSignal {
			m.shard.unanswered(c)
		}
	}
	m.waiting = m.waiting[:0]
	m.syncing = false
}

func (m *member) Packet(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte("43")):
		id, body, ok := ackOf(b)
		c, known := m.answered(id)
		if !ok || !known {
			m.shard.failed("unknown ack")
			return
		}
		m.ack(c, body)
	case bytes.HasPrefix(b, []byte(`42["signal",`)):
		m.signalled(b[len(`42["signal",`):])
	case bytes.HasPrefix(b, []byte(`42["update_participants",`)):
		m.updated(b[len(`42["update_participants",`):])
	case bytes.HasPrefix(b, []byte(`42["closed",`)):
		for f := object(b[len(`42["closed",`):]); f.next(); {
			if string(f.key) == "code" {
				m.shard.failed("closed: " + string(text(f.value)))
			}
		}
	case bytes.HasPrefix(b, []byte(`42["error_event",`)):
		m.shard.failed("error_event")
	}
}

func (m *member) ack(c call, body []byte) {
	switch c.kind {
	case callJoin:
		m.admitted(body)
		return
	case callSignal:
		m.signalAcked(c, body)
		return
	case callSync:
		m.syncing = false
	default:
	}
	if code := refusal(body); code != "" {
		m.shard.failed(code)
		if c.kind == callLeave {
			m.left()
		}
		return
	}
	switch c.kind {
	case callLeave:
		m.left()
	case callMedia:
		if m.me >= 0 {
			m.meeting.people[m.me].look ^= audio
		}
	case callSync:
		m.synced(body)
	default:
	}
}

// admitted takes the answer to a join.
func (m *member) admitted(body []byte) {
	s := m.shard
	now := s.loop.Now()
	var id, token, peers []byte
	var rev int64
	resumed := false
	if code := refusal(body); code != "" {
		s.failed(code)
		m.close()
		m.forgetCalls()
		if m.me >= 0 {
			m.meeting.people[m.me].lost = true
		}
		m.state, m.me = out, -1
		return
	}
	for f := object(body); f.next(); {
		switch string(f.key) {
		case "peer_id":
			id = text(f.value)
		case "resume_token":
			token = text(f.value)
		case "rev":
			rev = integer(f.value)
		case "peers":
			peers = f.value
		case "resumed":
			resumed = string(f.value) == "true"
		}
	}
	me := m.meeting.person(id)
	p := &m.meeting.people[me]
	if m.state == away {
		s.took(resuming, now-m.asked)
		s.resumes++
		if me != m.me || !resumed {
			s.isWrong(fmt.Sprintf("%s came back as %s, resumed %v", m.name(), id, resumed))
		}
		p.away, p.back = false, now
	} else {
		s.took(joining, now-m.asked)
		s.joins++
		p.acked, p.look, p.member = now, audio|video|online, m
	}
	m.me, m.token, m.rev, m.state = me, string(token), rev, in
	p.present = true
	m.takeRoster(peers)
	fresh := !resumed
	m.arrived(true)
	if fresh && s.run.opts.Scenario != Pairs {
		m.offerAll()
	}
}

// takeRoster replaces the roster.
func (m *member) takeRoster(peers []byte) {
	if m.roster == nil {
		m.roster = make(map[int32]look, m.meeting.size)
	}
	clear(m.roster)
	for i := array(peers); i.next(); {
		id, l, _ := peerOf(i.value)
		m.roster[m.meeting.person(id)] = l
	}
}

// peerOf reads a peer, or a change of one: said is which parts of its look it
// speaks of.
func peerOf(b []byte) (id []byte, l, said look) {
	for f := object(b); f.next(); {
		switch string(f.key) {
		case "peer_id":
			id = text(f.value)
		case "state":
			said |= online
			if string(f.value) == `"online"` {
				l |= online
			}
		case "media":
			said |= audio | video | screen | hand
			for media := object(f.value); media.next(); {
				on := string(media.value) != "false" && string(media.value) != "null"
				if !on {
					continue
				}
				switch string(media.key) {
				case "audio":
					l |= audio
				case "video":
					l |= video
				case "screen":
					l |= screen
				case "hand":
					l |= hand
				}
			}
		}
	}
	return id, l, said
}

// updated applies a delta by the protocol's rules.
func (m *member) updated(b []byte) {
	if m.state != in {
		if m.state == entering {
			m.shard.isWrong(m.name() + " heard of the roster before its join was answered")
		}
		return
	}
	var since, rev int64
	var joined, changed, left []byte
	for f := object(b); f.next(); {
		switch string(f.key) {
		case "since":
			since = integer(f.value)
		case "rev":
			rev = integer(f.value)
		case "joined":
			joined = f.value
		case "changed":
			changed = f.value
		case "left":
			left = f.value
		}
	}
	if rev <= m.rev {
		return
	}
	if since > m.rev {
		m.shard.gaps++
		m.sync()
		return
	}
	m.rev = rev
	now := m.shard.loop.Now()
	for i := array(joined); i.next(); {
		id, l, _ := peerOf(i.value)
		who := m.meeting.person(id)
		if who == m.me {
			continue
		}
		if _, known := m.roster[who]; !known {
			m.meeting.people[who].heard = now
		}
		m.roster[who] = l
	}
	for i := array(changed); i.next(); {
		id, l, said := peerOf(i.value)
		who := m.meeting.person(id)
		if was, known := m.roster[who]; known {
			m.roster[who] = was&^said | l
		}
	}
	for i := array(left); i.next(); {
		id, _, _ := peerOf(i.value)
		delete(m.roster, m.meeting.person(id))
	}
}

func (m *member) sync() {
	if m.syncing {
		return
	}
	m.syncing = true
	b := m.shard.event(m.add(callSync, m.shard.loop.Now()), "sync")
	b = append(b, `{"have_rev":`...)
	b = strconv.AppendInt(b, m.rev, 10)
	m.shard.send(m.conn, append(b, "}]"...))
}

func (m *member) synced(body []byte) {
	var rev int64
	var peers []byte
	for f := object(body); f.next(); {
		switch string(f.key) {
		case "rev":
			rev = integer(f.value)
		case "peers":
			peers = f.value
		}
	}
	if rev >= m.rev {
		m.rev = rev
		m.takeRoster(peers)
	}
}

// toggle switches the microphone.
func (m *member) toggle() {
	for _, c := range m.waiting {
		if c.kind == callMedia { // one at a time, or the truth would be a guess
			return
		}
	}
	on := m.meeting.people[m.me].look&audio == 0
	b := m.shard.event(m.add(callMedia, m.shard.loop.Now()), "media_state")
	b = append(b, `{"audio":`...)
	b = strconv.AppendBool(b, on)
	m.shard.send(m.conn, append(b, "}]"...))
}

func (m *member) leave() {
	m.parts()
	m.depart(stayOut)
}

// depart leaves by the event.
func (m *member) depart(next then) {
	if m.state != in {
		m.passed(next)
		return
	}
	m.state, m.then, m.opening = leaving, next, next != stayOut
	m.meeting.people[m.me].leaving = true
	b := m.shard.event(m.add(callLeave, m.shard.loop.Now()), "leave")
	m.shard.send(m.conn, append(b, "{}]"...))
}

// passed: who was to go and come back was not there, or does not come back.
func (m *member) passed(next then) {
	if next != stayOut {
		m.shard.opening.Add(-1)
	} else {
		m.parted()
	}
}

// hangUp leaves by disconnecting.
func (m *member) hangUp(next then) {
	if m.state != in {
		m.passed(next)
		return
	}
	m.then, m.opening = next, next != stayOut
	m.meeting.people[m.me].leaving = true
	m.left()
}

// left: it is out, and does what it had in mind.
func (m *member) left() {
	m.meeting.people[m.me].present = false
	m.shard.leaves++
	m.departed()
	m.state, m.me = out, -1
	next := m.then
	m.then = stayOut
	if next == joinAgain {
		m.state = entering
		m.sendJoin()
		return
	}
	m.forgetCalls()
	m.conn.Close()
	m.conn = nil
	if next == startAnew {
		m.start()
	}
}

// drop loses the connection; the seat is kept for a while.
func (m *member) drop() {
	if m.state != in {
		return
	}
	m.state = away
	p := &m.meeting.people[m.me]
	p.away, p.back = true, m.shard.loop.Now()
	p.dropped = true
	m.forgetCalls()
	m.departed()
	m.conn.Kill()
	m.conn = nil
}

func (m *member) name() string {
	id := "nobody"
	if m.me >= 0 {
		id = m.meeting.people[m.me].id
	}
	return fmt.Sprintf("meeting %d, u%d (%s)", m.meeting.number, m.number, id)
}
