package rooms_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/rooms"
)

// play is a meeting in which anything happens in any order.
type play struct {
	*hall
	rand  *rand.Rand
	room  *rooms.Room
	seats map[string]*player
	order []string         // of seats, so that a seed decides everything
	mail  []rooms.Change   // decided, and still on the way to the room
	born  map[string]int64 // when who joined
	conns int
}

// player is a participant with all the connections that it has had.
type player struct {
	peer     rooms.Peer // as the store has it
	member   *rooms.Member
	answer   rooms.Frame // still to be sent by Start
	boxes    []*box
	accepted []string // what was taken for it, delivered or queued

	confirmed map[string]int // what its client has confirmed, by the number of the connection
}

// confirm is the pong of the player's client.
func (who *player) confirm() {
	if who.member == nil || who.answer != nil {
		return
	}
	if who.confirmed == nil {
		who.confirmed = map[string]int{}
	}
	last := len(who.boxes) - 1
	for _, text := range only[string](who.boxes[last]) {
		who.confirmed[text] = last
	}
	who.boxes[last].confirm(who.member)
}

func (p *play) pick() *player {
	if len(p.order) == 0 {
		return nil
	}
	return p.seats[p.order[p.rand.IntN(len(p.order))]]
}

func (p *play) conn() string {
	p.conns++
	return fmt.Sprint("c", p.conns)
}

func (p *play) send(c rooms.Change) { p.mail = append(p.mail, c) }

// deliver hands some of the mail over, in any order; now and then a piece is lost,
// or comes twice.
func (p *play) deliver(most int, loss bool) {
	p.rand.Shuffle(len(p.mail), func(i, j int) { p.mail[i], p.mail[j] = p.mail[j], p.mail[i] })
	n := min(most, len(p.mail))
	for _, c := range p.mail[:n] {
		if loss && p.rand.IntN(50) == 0 {
			continue
		}
		p.apply(c)
		if p.rand.IntN(20) == 0 {
			p.apply(c)
		}
	}
	p.mail = p.mail[n:]
}

func (p *play) step() {
	switch n := p.rand.IntN(100); {
	case n < 12 && len(p.order) < 12: // join
		id := fmt.Sprint("p_", p.conns)
		who := person(id, p.conn())
		if p.rand.IntN(4) == 0 {
			who.Protocol = 1
		}
		p.seats[id] = &player{peer: who}
		p.order = append(p.order, id)
		c := p.truth.put(who)
		p.born[id] = c.Rev
		p.send(c)
	case n < 17: // leave
		if who := p.pick(); who != nil {
			p.send(p.truth.leave(who.peer.PeerID, "leave"))
			delete(p.seats, who.peer.PeerID)
			p.order = slices.DeleteFunc(p.order, func(id string) bool { return id == who.peer.PeerID })
			p.check(who, false)
		}
	case n < 32: // change
		if who := p.pick(); who != nil {
			who.peer.Name = fmt.Sprint("name ", p.rand.IntN(1000))
			who.peer.Media.Video = p.rand.IntN(2) == 0
			p.send(p.truth.put(who.peer))
		}
	case n < 40: // the connection is gone
		if who := p.pick(); who != nil && who.member != nil {
			who.member.Detach()
			who.member = nil
			who.peer.Online = false
			p.send(p.truth.put(who.peer))
		}
	case n < 48: // return, or take the seat over
		if who := p.pick(); who != nil {
			who.member, who.peer.Online, who.peer.ConnID = nil, true, p.conn()
			p.send(p.truth.put(who.peer))
		}
	case n < 65: // attach, and sooner or later start
		if who := p.pick(); who != nil {
			p.attach(who)
			if p.rand.IntN(2) == 0 {
				p.start(who)
			}
		}
	case n < 75:
		if who := p.pick(); who != nil {
			p.start(who)
		}
	case n < 87:
		p.relay()
	case n < 90:
		if who := p.pick(); who != nil {
			who.confirm()
		}
	case n < 97:
		p.deliver(1+p.rand.IntN(4), true)
	default:
		time.Sleep(time.Duration(p.rand.IntN(40)) * time.Millisecond)
	}
}

func (p *play) attach(who *player) {
	known, ok := p.room.Peer(who.peer.PeerID)
	if who.member != nil || !ok || known.ConnID != who.peer.ConnID {
		return
	}
	b := &box{}
	m, roster, err := p.room.Attach(who.peer.PeerID, who.peer.ConnID, b)
	if err != nil {
		p.t.Fatal(err)
	}
	who.member, who.answer, who.boxes = m, whole{roster}, append(who.boxes, b)
}

func (p *play) start(who *player) {
	if who.member != nil && who.answer != nil {
		who.member.Start(who.answer)
		who.answer = nil
	}
}

func (p *play) relay() {
	from, to := p.pick(), p.pick()
	if from == nil || from.member == nil || from == to {
		return
	}
	id := from.peer.PeerID
	text := fmt.Sprint(id, " ", p.born[id], " ", len(to.accepted))
	switch got := from.member.Relay(to.peer.PeerID, text); got {
	case rooms.Delivered, rooms.Queued:
		to.accepted = append(to.accepted, text)
	case rooms.Unseated:
		p.t.Fatalf("%s has lost its seat", id)
	case rooms.Gone, rooms.Unknown: // full, or not here yet
	}
}

// check reads all that someone got by the protocol's rules.
func (p *play) check(who *player, atRest bool) {
	var relayed []string
	for i, b := range who.boxes {
		last := i == len(who.boxes)-1
		if last && who.answer != nil {
			if len(b.got()) != 0 {
				p.t.Fatalf("%s got %v before its answer", who.peer.PeerID, b.got())
			}
			continue
		}
		if len(b.got()) == 0 {
			continue // replaced before it was answered
		}
		if who.peer.Protocol == 1 {
			if maps := only[whole](b); atRest && last && who.member != nil && !sameMap(maps[len(maps)-1].Roster, p.truth.roster()) {
				p.t.Fatalf("%s: the last map is %v, want %v", who.peer.PeerID, maps[len(maps)-1], p.truth.roster())
			}
			relayed = append(relayed, only[string](b)...)
			continue
		}
		c, err := replay(b.got())
		if err == nil && atRest && last && who.member != nil {
			err = c.agrees(p.truth.roster())
		}
		if err != nil {
			p.t.Fatalf("%s: %v", who.peer.PeerID, err)
		}
		for _, text := range c.relayed {
			if confirmed, ok := who.confirmed[text]; ok && confirmed < i {
				p.t.Fatalf("%s got %q again, after it had confirmed it", who.peer.PeerID, text)
			}
			if number(text) >= len(relayed) { // a client drops what it has had
				relayed = append(relayed, text)
			}
		}
	}
	accepted := who.accepted
	if !atRest || who.member == nil {
		accepted = accepted[:min(len(relayed), len(accepted))] // the rest waits for its return
	}
	if !slices.Equal(relayed, accepted) {
		p.t.Fatalf("%s was to get %q and got %q", who.peer.PeerID, accepted, relayed)
	}
}

// number is that of a relayed message among all of its receiver.
func number(text string) (n int) {
	var from, born string
	_, _ = fmt.Sscan(text, &from, &born, &n)
	return n
}

// sameMap: who is there, and under which name.
func sameMap(a, b rooms.Roster) bool {
	return slices.EqualFunc(a.Peers, b.Peers, func(p, q rooms.Peer) bool { return p.PeerID == q.PeerID && p.Name == q.Name })
}

func TestEveryMembersRosterFollowsTheRoom(t *testing.T) {
	const seeds, steps = 150, 400
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			h := openWith(t, rooms.Options{QueueLimit: 16})
			p := &play{hall: h, rand: rand.New(rand.NewPCG(seed, 1)), room: h.room(), seats: map[string]*player{}, born: map[string]int64{}}
			for range steps {
				p.step()
			}
			p.deliver(len(p.mail), true)
			time.Sleep(time.Second)
			p.apply(p.truth.put(person("p_last", "c"))) // shows what was lost last
			time.Sleep(time.Second)
			if got := p.room.Roster(); got.Rev != p.truth.rev || !reflect.DeepEqual(showAll(got), showAll(p.truth.roster())) {
				t.Fatalf("the room has %v, the store %v", got, p.truth.roster())
			}
			for _, id := range p.order {
				p.attach(p.seats[id])
				p.start(p.seats[id])
			}
			time.Sleep(time.Second)
			for _, id := range p.order {
				p.check(p.seats[id], true)
			}
		})
	}
}

// The same with everyone acting at once: changes come out of order by themselves.
func TestRostersAgreeWhenEveryoneActsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		r := h.room()
		_, watch := h.join(person("p_watch", "c"))
		boxes := make([][]*box, 8)
		var wg sync.WaitGroup
		for i := range boxes {
			wg.Go(func() {
				for round := range 60 {
					id := fmt.Sprint("p_", i, "_", round)
					who := person(id, "c")
					c := h.truth.put(who)
					runtime.Gosched()
					h.apply(c)
					if err := r.Await(t.Context(), c.Rev); err != nil {
						t.Error(err)
						return
					}
					b := &box{}
					m, roster, err := r.Attach(id, "c", b)
					if err != nil {
						t.Error(err)
						return
					}
					m.Relay("p_watch", fmt.Sprint(id, " ", c.Rev, " hello"))
					m.Start(whole{roster})
					boxes[i] = append(boxes[i], b)
					who.Name = "renamed"
					h.apply(h.truth.put(who))
					if round%3 > 0 {
						m.Detach()
						h.apply(h.truth.leave(id, "leave"))
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		for _, b := range append(slices.Concat(boxes...), watch) {
			if _, err := replay(b.got()); err != nil {
				t.Fatal(err)
			}
		}
		c, _ := replay(watch.got())
		if err := c.agrees(h.truth.roster()); err != nil {
			t.Error(err)
		}
		if len(c.relayed) != 8*60 {
			t.Errorf("%d messages relayed, want %d", len(c.relayed), 8*60)
		}
	})
}

func TestJoiningAndLeavingOneRoomAtRandomLosesNobody(t *testing.T) {
	for _, c := range []struct{ goroutines, rounds int }{{2, 4000}, {8, 500}} {
		h := open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		var wg sync.WaitGroup
		for i := range c.goroutines {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 1))
				for round := range c.rounds {
					if err := visit(ctx, h, fmt.Sprint("p_", i, "_", round), random); err != nil {
						t.Errorf("goroutine %d, round %d: %v", i, round, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := h.Count(); n != 0 {
			t.Errorf("%d goroutines: %d rooms are left", c.goroutines, n)
		}
	}
}

// visit joins, looks around and leaves, as the participants package does.
func visit(ctx context.Context, h *hall, id string, random *rand.Rand) error {
	joined := h.truth.put(person(id, "c"))
	h.apply(joined)
	r, err := h.Acquire(ctx, "k")
	if err != nil {
		return err
	}
	held := true
	if err := r.Await(ctx, joined.Rev); err != nil {
		return fmt.Errorf("waiting for its own join: %w", err)
	}
	b := &box{}
	m, roster, err := r.Attach(id, "c", b)
	if err != nil {
		return err
	}
	m.Start(whole{roster})
	if !slices.Contains(ids(roster), id) {
		return fmt.Errorf("not in its own roster: %v", ids(roster))
	}
	if random.IntN(2) == 0 {
		h.Release(r)
		held = false
	}
	if got := m.Relay(id, id+" hello"); got != rooms.Delivered {
		return fmt.Errorf("relayed to itself: outcome %d", got)
	}
	if random.IntN(2) == 0 {
		m.Detach()
	}
	left := h.truth.leave(id, "leave")
	if random.IntN(4) == 0 {
		runtime.Gosched()
	}
	h.apply(left)
	if held {
		h.Release(r)
	}
	return nil
}
