package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// class is a meeting of protocol 1 clients, and the truth about it.
type class struct {
	shard    *shard
	key      string
	number   int
	students []*student
}

// student is a client of protocol 1: it emits and listens, and knows no acks.
type student struct {
	seat
	class *class
	// present: it was answered, and has not left.
	present bool
	seen    []uint32 // per student: the last map that had it
	maps    uint32
	last    int // how many the last map had
	bad     string

	acked, heard int64
	noted        bool
}

func (s *shard) addClass(key string, number int) {
	c := &class{shard: s, key: key, number: number}
	for i := range s.run.opts.PerMeeting {
		p := &student{class: c, seen: make([]uint32, s.run.opts.PerMeeting)}
		p.shard, p.number = s, i
		c.students = append(c.students, p)
		s.actors = append(s.actors, p)
	}
	s.classes = append(s.classes, c)
}

func (p *student) start() { p.dial(p) }

// Connected joins.
func (p *student) Connected() {
	p.connected()
	b := p.shard.event(nil, "join")
	b = fmt.Appendf(b, `{"meeting_id":%q,"user_id":"u%d","SDP":"%s%d%s","CANDIDATE":"candidate:%d 1 udp 2122260223 192.0.2.17 50000 typ host"}]`,
		p.class.key, p.number, sdpHead, p.number, p.shard.tail(), p.number)
	p.shard.send(p.conn, b)
}

// Closed: the server or the network has ended the connection.
func (p *student) Closed(err error) {
	p.lost(err)
	p.present = false
}

func (p *student) Packet(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte(`42["update_participants",`)):
		p.takeMap(b[len(`42["update_participants",`):], true)
	case bytes.HasPrefix(b, []byte(`42["join_response",`)):
		p.answered(b[len(`42["join_response",`):])
	}
}

func (p *student) answered(b []byte) {
	now := p.shard.loop.Now()
	var all []byte
	for f := object(b); f.next(); {
		switch string(f.key) {
		case "room_participants":
			all = f.value
		case "error", "code":
			if p.opening {
				p.shard.failed(string(text(f.value)))
				p.close()
			}
			return
		}
	}
	p.shard.took(joining, now-p.asked)
	p.shard.joins++
	p.present, p.acked = true, now
	p.takeMap(all, false)
	if p.seen[p.number] != p.maps {
		p.shard.isWrong(p.name() + " is not in the answer to its own join")
	}
	p.arrived(true)
}

// takeMap takes a whole map: it replaces what was known. news: it was not asked for.
func (p *student) takeMap(b []byte, news bool) {
	now := p.shard.loop.Now()
	p.maps++
	p.last, p.bad = 0, ""
	for f := object(b); f.next(); {
		p.last++
		n := p.class.index(f.key)
		if n < 0 {
			p.bad = "sees " + string(f.key) + ", who is nobody"
			continue
		}
		if news && p.seen[n] == 0 && n != p.number {
			p.class.students[n].heard = now
		}
		p.seen[n] = p.maps
		if !p.blobsOf(n, f.value) {
			p.bad = fmt.Sprintf("has not what u%d has sent", n)
		}
	}
	for n, seen := range p.seen {
		if seen != p.maps {
			p.seen[n] = 0
		}
	}
}

// blobsOf reports whether the blobs are those that student n has sent.
func (p *student) blobsOf(n int, b []byte) bool {
	sdp, candidate := false, false
	for f := object(b); f.next(); {
		switch string(f.key) {
		case "SDP":
			id, intact := numberOf(text(f.value), nil, p.shard.tail())
			sdp = intact && int(id) == n
		case "CANDIDATE":
			id, intact := numberOf(nil, f.value, "")
			candidate = intact && int(id) == n
		}
	}
	return sdp && candidate
}

func (c *class) index(key []byte) int {
	if len(key) < 2 || key[0] != 'u' {
		return -1
	}
	n, err := strconv.Atoi(string(key[1:]))
	if err != nil || n < 0 || n >= len(c.students) {
		return -1
	}
	return n
}

// leave is closing the page: protocol 1 has no word for it.
func (p *student) leave() {
	p.parts()
	if p.conn == nil || !p.present {
		p.parted()
		return
	}
	p.present = false
	p.shard.leaves++
	p.departed()
	p.conn.Kill()
	p.conn = nil
}

func (p *student) name() string { return fmt.Sprintf("meeting %d, u%d", p.class.number, p.number) }

func (c *class) check(wrong func(string)) {
	present := 0
	for _, p := range c.students {
		if p.present {
			present++
		}
	}
	for _, p := range c.students {
		if !p.present {
			continue
		}
		if p.bad != "" {
			wrong(p.name() + " " + p.bad)
		}
		for n, seen := range p.seen {
			switch there := c.students[n].present; {
			case there && seen != p.maps:
				wrong(fmt.Sprintf("%s misses u%d", p.name(), n))
			case !there && seen == p.maps:
				wrong(fmt.Sprintf("%s sees u%d, who is not there", p.name(), n))
			}
		}
		if p.last > present && p.bad == "" {
			wrong(fmt.Sprintf("%s sees %d, of whom %d are there", p.name(), p.last, present))
		}
	}
}

func (c *class) tidy() {
	for _, p := range c.students {
		if !p.noted && p.acked > 0 && p.heard > 0 {
			p.noted = true
			p.shard.took(updating, max(p.heard-p.acked, 0))
		}
	}
}

func (c *class) sweep(now int64) {
	for _, p := range c.students {
		if p.opening && p.asked > p.dialled && now-p.asked > int64(c.shard.run.opts.CallTimeout) {
			c.shard.failed("timeout: join")
			p.close()
		}
	}
}
