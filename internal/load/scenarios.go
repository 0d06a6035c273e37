package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// scenarios are what runs do. They end early when ctx is done.
var scenarios = map[string]func(*run, context.Context){
	Mesh:           (*run).mesh,
	OneRoom:        (*run).mesh,
	Churn:          (*run).churn,
	ReconnectStorm: (*run).storm,
	Essay:          (*run).essay,
	Fanout:         (*run).talk,
	Pairs:          (*run).talk,
}

// mesh: everyone joins, and is there for a while.
func (r *run) mesh(ctx context.Context) {
	r.enter("join")
	r.ramp(ctx, r.actors, r.opts.Rate)
	r.rest(ctx, "after joining")
	r.joinedAll()
	r.enter("hold")
	r.live(ctx, r.opts.Duration)
	r.rest(ctx, "after holding")
	r.goAway(ctx)
}

// essay is mesh without signals.
func (r *run) essay(ctx context.Context) {
	r.enter("join")
	r.ramp(ctx, r.actors, r.opts.Rate)
	r.rest(ctx, "after joining")
	r.joinedAll()
	r.enter("hold")
	pause(ctx, r.opts.Duration)
	r.rest(ctx, "after holding")
	r.goAway(ctx)
}

// goAway: half leaves, the others must notice; then the rest.
func (r *run) goAway(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	r.enter("leave")
	half := len(r.actors) / 2
	r.goOut(ctx, r.actors[half:])
	r.rest(ctx, "after half had left")
	r.goOut(ctx, r.actors[:half])
	r.rest(ctx, "after all had left")
}

// live is what members do while they are there: each switches its microphone
// every 10 s, and renegotiates every 20 s.
func (r *run) live(ctx context.Context, d time.Duration) {
	const step = 50 * time.Millisecond
	end := time.Now().Add(d)
	for ctx.Err() == nil && time.Now().Before(end) {
		for _, s := range r.shards {
			s.loop.Post(func() {
				s.some(step.Seconds()/10, (*member).toggle)
				s.some(step.Seconds()/20, (*member).renegotiate)
			})
		}
		pause(ctx, step)
	}
}

// some has a share of the members who are in do something.
func (s *shard) some(share float64, f func(*member)) {
	want := share * float64(len(s.actors))
	n := int(want)
	if rand.Float64() < want-float64(n) {
		n++
	}
	for range n {
		if m := s.actors[rand.IntN(len(s.actors))].(*member); m.state == in {
			f(m)
		}
	}
}

func (m *member) renegotiate() {
	for n, l := range m.roster { // any: the order of a map is
		if l&online != 0 {
			m.offer(n)
		}
		return
	}
}

// churn: all are in, and then leave and come back, in each way there is.
func (r *run) churn(ctx context.Context) {
	r.enter("join")
	r.ramp(ctx, r.actors, r.opts.Rate)
	r.rest(ctx, "after joining")
	r.joinedAll()
	r.enter("churn")
	start := time.Now()
	over := func() bool {
		if r.opts.Joins > 0 {
			return r.arrivals()+r.opening() >= r.opts.Joins
		}
		return time.Since(start) >= r.opts.Duration
	}
	for ctx.Err() == nil && !over() {
		until := time.Now().Add(10 * time.Second) // then everything is compared
		p := newPace(r.opts.Rate)
		for ctx.Err() == nil && !over() && time.Now().Before(until) {
			n := p.take(r.opening(), len(r.actors)/2)
			if r.opts.Joins > 0 {
				n = max(min(n, r.opts.Joins-r.arrivals()-r.opening()), 0)
			}
			some := make([]actor, n)
			for i, k := range rand.Perm(len(r.actors))[:n] {
				some[i] = r.actors[k]
			}
			r.each(some, (*shard).coming, func(a actor) { a.(*member).churn() })
			pause(ctx, 2*time.Millisecond)
		}
		r.arrived(ctx)
		if !r.rest(ctx, "in the churn") && ctx.Err() == nil {
			break
		}
	}
	r.goAway(ctx)
}

// churn leaves and comes back.
func (m *member) churn() {
	if m.state == out && m.conn == nil {
		m.start() // it had failed
		return
	}
	switch n := rand.IntN(100); {
	case n < 60:
		m.depart(startAnew)
	case n < 85:
		m.hangUp(startAnew)
	case n < 95:
		m.depart(joinAgain)
	case m.state != in:
		m.shard.opening.Add(-1)
	default:
		m.drop()
		m.start()
	}
}

// storm: the network is lost for all at once, again and again. In every other
// round the first of each meeting stays and sends the others messages, which the
// server must hold for them.
func (r *run) storm(ctx context.Context) {
	r.enter("join")
	r.ramp(ctx, r.actors, r.opts.Rate)
	r.rest(ctx, "after joining")
	r.joinedAll()
	r.enter("storm")
	start := time.Now()
	for round := 0; ctx.Err() == nil && (round == 0 || time.Since(start) < r.opts.Duration); round++ {
		victims := r.actors
		if round%2 == 0 && r.opts.PerMeeting > 1 {
			victims = r.actors[r.opts.Meetings:]
		}
		r.each(victims, nil, func(a actor) { a.(*member).drop() })
		if len(victims) < len(r.actors) {
			if !r.rest(ctx, "after the network was lost") {
				break
			}
			r.each(r.actors[:r.opts.Meetings], nil, func(a actor) { a.(*member).callAfter() })
			r.rest(ctx, "while away") // the answers are in
		}
		r.ramp(ctx, victims, 0)
		if !r.rest(ctx, "after coming back") {
			break
		}
	}
	r.goAway(ctx)
}

// callAfter sends a message to everyone who is away.
func (m *member) callAfter() {
	if m.state != in {
		return
	}
	for n, l := range m.roster {
		if l&online == 0 {
			m.candidates(n, "held", true)
		}
	}
}

// talk is fanout and pairs: all are in, and then talk.
func (r *run) talk(ctx context.Context) {
	r.enter("join")
	r.ramp(ctx, r.actors, r.opts.Rate)
	r.rest(ctx, "after joining")
	pause(ctx, 500*time.Millisecond)
	r.joinedAll()
	r.enter("warm-up")
	for _, s := range r.shards {
		s.loop.Post(s.startTalking)
	}
	pause(ctx, r.opts.Warmup)
	for _, s := range r.shards {
		s.loop.Do(func() { s.total[relaying].Reset(); s.total[acking].Reset() })
	}
	r.enter("talk")
	pause(ctx, r.opts.Duration)
	r.enter("leave")
	for _, s := range r.shards {
		s.loop.Do(func() { s.sending = false })
	}
	r.rest(ctx, "after talking")
	r.goOut(ctx, r.actors)
	r.rest(ctx, "after all had left")
}

// startTalking gets messages going: at the rate asked for, or as many as the
// window has.
func (s *shard) startTalking() {
	s.sending = true
	if s.run.opts.SendRate > 0 {
		s.talkAt(s.loop.Now())
		return
	}
	for range s.run.opts.Window {
		for _, h := range s.halls {
			h.begin()
		}
		for _, m := range s.meetings {
			for _, who := range m.members {
				if who.state == in {
					who.talk()
				}
			}
		}
	}
}

// talkAt says what is due, every millisecond.
func (s *shard) talkAt(last int64) {
	if !s.sending {
		return
	}
	now := s.loop.Now()
	s.quota += s.run.opts.SendRate / float64(len(s.run.shards)) * float64(now-last) / 1e9
	for ; s.quota >= 1 && len(s.actors) > 0; s.quota-- {
		s.turn++
		switch a := s.actors[s.turn*7919%len(s.actors)].(type) {
		case *talker:
			if a.joined {
				a.say()
			}
		case *member:
			if a.state == in {
				a.talk()
			}
		}
	}
	s.loop.After(time.Millisecond, func() { s.talkAt(now) })
}
