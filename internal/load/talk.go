package load

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// hall is a room of the plain peer: what one says, the others get.
type hall struct {
	shard   *shard
	key     string
	number  int
	talkers []*talker
	turn    int
}

// talker is a client of the plain peer.
type talker struct {
	seat
	calls
	hall *hall

	said uint32
	got  []uint32        // per talker: the number of the last that came
	ring [ringSize]int32 // per message on its way: who has not got it yet
}

// ringSize bounds a talker's messages on their way, as fast as it goes: its hall's
// window.
const ringSize = 64

func (s *shard) addHall(key string, number int) {
	h := &hall{shard: s, key: key, number: number}
	for i := range s.run.opts.PerMeeting {
		t := &talker{hall: h, got: make([]uint32, s.run.opts.PerMeeting)}
		t.shard, t.number = s, i
		h.talkers = append(h.talkers, t)
		s.actors = append(s.actors, t)
	}
	s.halls = append(s.halls, h)
}

func (t *talker) start() { t.dial(t) }

// Connected joins.
func (t *talker) Connected() {
	t.connected()
	b := t.shard.event(t.add(callJoin, t.asked), "join")
	b = append(strconv.AppendQuote(b, t.hall.key), ']')
	t.shard.send(t.conn, b)
}

// Closed: the server or the network has ended the connection.
func (t *talker) Closed(err error) { t.lost(err) }

func (t *talker) Packet(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte(`42["msg","`)):
		t.heard(b[len(`42["msg","`):])
	case bytes.HasPrefix(b, []byte("43")):
		id, _, ok := ackOf(b)
		c, known := t.answered(id)
		switch took := t.shard.loop.Now() - c.at; {
		case !ok || !known:
		case c.kind == callJoin:
			t.shard.took(joining, took)
			t.shard.joins++
			t.arrived(true)
		default:
			t.shard.took(acking, took)
			t.goOn()
		}
	}
}

// goOn says the next thing once the last was answered, as signald's pairs do.
func (t *talker) goOn() {
	if opts := &t.shard.run.opts; opts.Scenario == Pairs && opts.SendRate == 0 && t.shard.sending {
		t.say()
	}
}

// say sends a message: who says it, its number, when; and what makes it as long
// as asked for.
func (t *talker) say() {
	s := t.shard
	t.said++
	others := int32(len(t.hall.talkers) - 1)
	t.ring[t.said%ringSize] = others
	s.expected += int64(others)
	var c *call
	if s.run.opts.Acks {
		c = t.add(callSay, s.loop.Now())
	}
	b := s.event(c, "say")
	b = append(b, '"')
	b = append(b, t.hall.key...)
	b = append(b, `","`...)
	start := len(b)
	b = strconv.AppendInt(b, int64(t.number), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(t.said), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, s.loop.Now(), 10)
	b = append(b, ':')
	b = append(b, s.run.padding[:max(s.run.opts.Size-(len(b)-start), 0)]...)
	s.send(t.conn, append(b, `"]`...))
}

// heard gets a message. Little is done here: this is what fan-out is measured by.
func (t *talker) heard(b []byte) {
	s := t.shard
	from, rest, ok1 := number(b)
	rest = bytes.TrimPrefix(rest, []byte("."))
	n, rest, ok2 := number(rest)
	rest = bytes.TrimPrefix(rest, []byte("."))
	at, rest, ok3 := number(rest)
	if !ok1 || !ok2 || !ok3 || len(rest) < 3 || rest[0] != ':' || int(from) >= len(t.got) || len(b)-2 != s.run.opts.Size {
		s.isWrong(fmt.Sprintf("%s got a message that nobody has sent", t.name()))
		return
	}
	if want := t.got[from] + 1; uint32(n) != want {
		s.isWrong(fmt.Sprintf("%s got message %d of u%d, and not %d", t.name(), n, from, want))
	}
	t.got[from] = uint32(n)
	s.delivered++
	s.took(relaying, s.loop.Now()-at)
	sender := t.hall.talkers[from]
	if sender.ring[n%ringSize]--; sender.ring[n%ringSize] > 0 || !s.sending || s.run.opts.SendRate > 0 {
		return
	}
	if s.run.opts.Scenario == Fanout || !s.run.opts.Acks { // else it goes on with the ack
		t.hall.next()
	}
}

// begin gets one message going: in the room, or of everyone where each goes on with
// the ack, as on signald.
func (h *hall) begin() {
	opts := &h.shard.run.opts
	if opts.Scenario == Fanout || !opts.Acks {
		h.next()
		return
	}
	for _, t := range h.talkers {
		if t.joined {
			t.say()
		}
	}
}

// next has the next talker say something.
func (h *hall) next() {
	for range h.talkers {
		h.turn++
		if t := h.talkers[h.turn%len(h.talkers)]; t.joined {
			t.say()
			return
		}
	}
}

func (t *talker) leave() {
	t.parts()
	if t.conn == nil {
		t.parted()
		return
	}
	t.shard.leaves++
	t.departed()
	t.conn.Close()
	t.conn = nil
}

func (t *talker) name() string { return fmt.Sprintf("room %d, u%d", t.hall.number, t.number) }

func (h *hall) check(wrong func(string)) {
	for _, t := range h.talkers {
		if !t.joined {
			continue
		}
		if len(t.waiting) > 0 {
			wrong(fmt.Sprintf("%s has no answer to its %s", t.name(), callNames[t.waiting[0].kind]))
		}
		for n, got := range t.got {
			if from := h.talkers[n]; n != t.number && got != from.said {
				wrong(fmt.Sprintf("%s has %d of the %d messages of u%d", t.name(), got, from.said, n))
			}
		}
	}
}

func (h *hall) tidy() {}

func (h *hall) sweep(now int64) {
	for _, t := range h.talkers {
		if c, late := t.late(now - int64(h.shard.run.opts.CallTimeout)); late {
			h.shard.failed("timeout: " + callNames[c.kind])
			if c.kind == callJoin {
				t.close()
			}
		}
	}
}

func paddingOf(size int) string { return strings.Repeat("x", size) }
