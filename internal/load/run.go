// Package load puts a server under load, as browsers would, and checks while it
// does: it knows who has joined and what was sent, and holds every client's roster
// and every message against that.
//
// Clients are driven by event loops (package lean); a shard is one loop with its
// meetings. A scenario is a goroutine that tells the shards what to do next.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"signald/internal/client"
	"signald/internal/load/lean"
	"signald/internal/load/report"
)

// Progress is how a run goes.
type Progress struct {
	Phase     string
	Elapsed   time.Duration
	Joined    int
	Sockets   int
	Joins     float64 // a second
	Delivered float64 // a second
	Errors    int64
	JoinP99   float64 // ms, of the last second; 0: no join
	RelayP99  float64
}

// ErrUsage wraps what the caller has asked for and cannot have.
var ErrUsage = errors.New("usage")

// actor is one client of a scenario. Its methods are called on its shard's loop.
type actor interface {
	lean.Handler
	home() *shard
	start() // connects and joins
	leave() // for good
	close() // at the end of the run
}

type run struct {
	opts   Options
	target *lean.Target
	began  time.Time
	shards []*shard
	actors []actor

	tail    string // of every SDP
	padding string // of every message of the plain peer

	report report.Report
	pid    int

	mu        sync.Mutex // the report's phases and samples, between scenario and sampler
	phase     report.Phase
	before    usage
	counted   *stats // the last sums
	sampled   time.Time
	own       float64
	ownBefore float64
	usage     usage
	bytes     [4]int64
}

// shard is a loop and its clients. All but the atomics belongs to the loop's goroutine.
type shard struct {
	*stats
	run     *run
	loop    *lean.Loop
	opening atomic.Int32 // clients on their way in
	arrived atomic.Int64 // clients that came in, so far
	leaving atomic.Int32 // clients on their way out

	meetings []*meeting
	classes  []*class
	halls    []*hall
	actors   []actor
	buf      []byte
	sending  bool
	quota    float64 // what SendRate still allows
	turn     int
	planned  int // what is still to come by itself
}

// room is a group of clients that hear of each other.
type room interface {
	// check tells what is not as it should be at rest.
	check(wrong func(string))
	// tidy forgets what is settled.
	tidy()
	// sweep looks for what takes too long.
	sweep(now int64)
}

// Run loads a server until the scenario is over or ctx is done; what was found by
// then is reported either way. An error means that it could not begin. watch is
// called every second.
func Run(ctx context.Context, opts Options, watch func(Progress)) (*report.Report, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	sockets := opts.Meetings * opts.PerMeeting
	if err := raiseDescriptors(sockets + 200); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	target, err := lean.Resolve(ctx, opts.URL, &tls.Config{InsecureSkipVerify: opts.Insecure}) // #nosec: asked for
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	r := &run{
		tail: tailOf(opts.SDP), padding: paddingOf(opts.Size),
		opts: opts, target: target, began: time.Now(), counted: newStats(), pid: opts.PID,
	}
	r.sampled, r.ownBefore = r.began, ownCPU()
	r.own = r.ownBefore
	r.report = report.Report{
		Version: opts.Version, Started: r.began, URL: opts.URL, Scenario: opts.Scenario, Peer: opts.Peer,
		Settings: opts.settings(), Sockets: sockets, Errors: map[string]int64{},
		Wrong: []string{}, Notes: []string{}, Samples: []report.Sample{},
	}
	if r.pid == 0 && target.Loopback() {
		r.pid = listener(target.Port())
	}
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	r.drive(ctx, watch)
	return &r.report, nil
}

// build makes the shards and their clients, and on signald the meetings.
func (r *run) build(ctx context.Context) error {
	for range r.opts.Loops {
		loop, err := lean.New(r.began)
		if err != nil {
			return err
		}
		r.shards = append(r.shards, &shard{stats: newStats(), run: r, loop: loop})
	}
	keys := make([]string, r.opts.Meetings)
	for i := range keys {
		keys[i] = fmt.Sprint("room", i)
	}
	if r.opts.Peer == Signald {
		if err := r.createMeetings(ctx, keys); err != nil {
			return err
		}
	}
	for i, key := range keys {
		s := r.shards[i%len(r.shards)]
		switch {
		case r.opts.Peer == Plain:
			s.addHall(key, i)
		case r.opts.Scenario == Essay:
			s.addClass(key, i)
		default:
			s.addMeeting(key, i)
		}
	}
	// In the order of arrival: each meeting's first, each meeting's second…
	for i := range r.opts.PerMeeting {
		for n := range r.opts.Meetings {
			s := r.shards[n%len(r.shards)]
			r.actors = append(r.actors, s.actors[n/len(r.shards)*r.opts.PerMeeting+i])
		}
	}
	r.before, _ = usageOf(r.pid)
	return nil
}

// createMeetings asks for a meeting for each of keys.
func (r *run) createMeetings(ctx context.Context, keys []string) error {
	web := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: r.opts.Insecure}, MaxIdleConnsPerHost: 8, // #nosec: asked for
	}}
	defer web.CloseIdleConnections()
	var next atomic.Int64
	var failed error
	var once sync.Once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range min(8, len(keys)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(keys)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				var m client.Meeting
				err := client.RequestWith(ctx, web, http.MethodPost, r.opts.URL, "/api/v1/meetings", "", map[string]any{}, &m)
				if err != nil {
					once.Do(func() { failed = fmt.Errorf("create a meeting: %w", err) })
					cancel()
					return
				}
				keys[i] = m.MeetingID
			}
		})
	}
	workers.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// drive runs the loops, the scenario and the sampler, and fills in the report.
func (r *run) drive(ctx context.Context, watch func(Progress)) {
	var loops sync.WaitGroup
	for _, s := range r.shards {
		loops.Go(s.loop.Run)
		s.loop.Post(s.sweep)
	}
	sampling, stopSampling := context.WithCancel(context.Background())
	var sampler sync.WaitGroup
	sampler.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p := r.sample(false)
				if watch != nil {
					watch(p)
				}
			case <-sampling.Done():
				return
			}
		}
	})
	scenarios[r.opts.Scenario](r, ctx)
	r.enter("")
	stopSampling()
	sampler.Wait()
	p := r.sample(true)
	if watch != nil {
		watch(p)
	}
	r.finish(ctx)
	for _, s := range r.shards {
		s.loop.Do(func() {
			for _, a := range s.actors {
				a.close()
			}
		})
		s.loop.Stop()
	}
	loops.Wait()
}

func (r *run) finish(ctx context.Context) {
	sum := r.counted
	rep := &r.report
	rep.Seconds = time.Since(r.began).Seconds()
	rep.Interrupted = ctx.Err() != nil
	rep.Joins, rep.Resumes, rep.Leaves = sum.joins, sum.resumes, sum.leaves
	rep.Expected, rep.Delivered, rep.Gaps = sum.expected, sum.delivered, sum.gaps
	for code, n := range sum.errors {
		rep.Errors[code] += n
	}
	rep.Wrong, rep.WrongMore = append(rep.Wrong, sum.wrong...), rep.WrongMore+sum.wrongMore
	for i, h := range sum.total {
		if h.TotalCount() > 0 {
			rep.Latencies = append(rep.Latencies, report.NewLatency(spanNames[i], h))
		}
	}
	rep.BytesIn, rep.BytesOut, rep.MessagesIn, rep.MessagesOut = r.bytes[0], r.bytes[1], r.bytes[2], r.bytes[3]
	rep.OwnCPU = ownCPU() - r.ownBefore
	if rep.Server != nil {
		if u, ok := usageOf(r.pid); ok {
			rep.Server.CPU, rep.Server.RSSEnd = u.cpu-r.before.cpu, u.rss
		}
	}
}

// sum adds the shards up.
func (r *run) sum(totals bool) (*stats, [4]int64) {
	sum := newStats()
	var bytes [4]int64
	for _, s := range r.shards {
		s.loop.Do(func() {
			sum.add(s.stats, totals)
			for i, n := range []int64{s.loop.BytesIn, s.loop.BytesOut, s.loop.MessagesIn, s.loop.MessagesOut} {
				bytes[i] += n
			}
		})
	}
	return sum, bytes
}

// sample adds a second to the report.
func (r *run) sample(totals bool) Progress {
	sum, bytes := r.sum(totals)
	now := time.Now()
	used, hasServer := usageOf(r.pid)
	own := ownCPU()
	r.mu.Lock()
	defer r.mu.Unlock()
	seconds := max(now.Sub(r.sampled).Seconds(), 0.001)
	last := r.counted
	quantile := func(what span, q float64) float64 {
		if sum.recent[what].TotalCount() == 0 {
			return 0
		}
		return float64(sum.recent[what].ValueAtPercentile(q)) / 1000
	}
	s := report.Sample{
		At: now.Sub(r.began).Seconds(), Joined: sum.inside,
		Joins:     float64(sum.joins+sum.resumes-last.joins-last.resumes) / seconds,
		Delivered: float64(sum.delivered-last.delivered) / seconds,
		In:        float64(bytes[0]-r.bytes[0]) / seconds, Out: float64(bytes[1]-r.bytes[1]) / seconds,
		Errors:  sum.errorCount(),
		JoinP50: quantile(joining, 50), JoinP99: quantile(joining, 99),
		RelayP50: quantile(relaying, 50), RelayP95: quantile(relaying, 95), RelayP99: quantile(relaying, 99),
		OwnCPU: (own - r.own) / seconds,
	}
	if hasServer {
		if r.usage.cpu > 0 {
			s.CPU = (used.cpu - r.usage.cpu) / seconds
		}
		s.RSS = used.rss
		if r.report.Server == nil {
			r.report.Server = &report.Server{PID: r.pid, Command: commandOf(r.pid), RSSBefore: r.before.rss}
		}
		r.report.Server.RSSMost = max(r.report.Server.RSSMost, used.rss)
		r.usage = used
	}
	r.report.Most = sum.most
	if seconds > 0.2 { // the last may be a sliver
		r.report.Samples = append(r.report.Samples, s)
	}
	r.counted, r.bytes, r.sampled, r.own = sum, bytes, now, own
	return Progress{
		Phase: r.phase.Name, Elapsed: now.Sub(r.began), Joined: sum.inside, Sockets: r.report.Sockets,
		Joins: s.Joins, Delivered: s.Delivered, Errors: s.Errors + int64(len(sum.wrong)+sum.wrongMore+len(r.report.Wrong)),
		JoinP99: s.JoinP99, RelayP99: s.RelayP99,
	}
}

// enter begins a phase of the report, which ends the one before.
func (r *run) enter(name string) {
	sum, bytes := newStats(), [4]int64{}
	for _, s := range r.shards {
		s.loop.Do(func() {
			sum.joins += s.joins + s.resumes
			sum.delivered += s.delivered
			bytes[0] += s.loop.BytesIn
			bytes[1] += s.loop.BytesOut
		})
	}
	used, _ := usageOf(r.pid)
	at := time.Since(r.began).Seconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.phase; p.Name != "" {
		p.Seconds = at - p.Start
		p.CPU += used.cpu
		p.Joins += sum.joins
		p.Delivered += sum.delivered
		p.BytesIn += bytes[0]
		p.BytesOut += bytes[1]
		r.report.Phases = append(r.report.Phases, p)
	}
	// What was used before it is taken away from the beginning.
	r.phase = report.Phase{
		Name: name, Start: at, CPU: -used.cpu, Joins: -sum.joins, Delivered: -sum.delivered, BytesIn: -bytes[0], BytesOut: -bytes[1],
	}
}

// joinedAll notes what the server weighs with everyone in it.
func (r *run) joinedAll() {
	used, ok := usageOf(r.pid)
	joined := 0
	for _, s := range r.shards {
		s.loop.Do(func() { joined += s.inside })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || joined == 0 {
		return
	}
	if r.report.Server == nil {
		r.report.Server = &report.Server{PID: r.pid, Command: commandOf(r.pid), RSSBefore: r.before.rss}
	}
	s := r.report.Server
	s.RSSJoined, s.Joined = used.rss, joined
	s.RSSASocket = float64(used.rss-r.before.rss) / float64(joined)
}

func (s *shard) rooms() []room {
	list := make([]room, 0, len(s.meetings)+len(s.classes)+len(s.halls))
	for _, m := range s.meetings {
		list = append(list, m)
	}
	for _, c := range s.classes {
		list = append(list, c)
	}
	for _, h := range s.halls {
		list = append(list, h)
	}
	return list
}

// sweep looks for what takes too long, every second.
func (s *shard) sweep() {
	now := s.loop.Now()
	for _, r := range s.rooms() {
		r.sweep(now)
	}
	s.loop.After(time.Second, s.sweep)
}

// rest waits until everything is as it should be, or has had its time: then what
// is not is the report's.
func (r *run) rest(ctx context.Context, when string) bool {
	deadline := time.Now().Add(r.opts.Settle)
	for {
		var wrong []string
		more, planned := 0, 0
		for _, s := range r.shards {
			s.loop.Do(func() {
				planned += s.planned
				for _, room := range s.rooms() {
					room.check(func(what string) {
						if len(wrong) < maxWrong {
							wrong = append(wrong, when+": "+what)
						} else {
							more++
						}
					})
				}
			})
		}
		late := time.Now().After(deadline)
		switch {
		case ctx.Err() != nil:
			return false
		case len(wrong) == 0 && planned == 0 || late:
			for _, s := range r.shards {
				s.loop.Do(func() {
					for _, room := range s.rooms() {
						room.tidy()
					}
				})
			}
			r.mu.Lock()
			r.report.Checks++
			slices.Sort(wrong)
			r.report.Wrong = append(r.report.Wrong, wrong...)
			r.report.WrongMore += more
			r.mu.Unlock()
			return len(wrong) == 0
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (r *run) opening() (n int) {
	for _, s := range r.shards {
		n += int(s.opening.Load())
	}
	return n
}

// pace lets through how many may begin now.
type pace struct {
	rate  float64
	most  int // at a time
	since time.Time
	done  int
}

// What may be on its way in at a time.
const (
	mostWhenFast  = 256
	mostWhenPaced = 4096
)

func newPace(rate float64) *pace {
	most := mostWhenFast
	if rate > 0 {
		most = mostWhenPaced
	}
	return &pace{rate: rate, most: most, since: time.Now()}
}

func (p *pace) take(opening, left int) int {
	n := min(left, p.most-opening)
	if p.rate > 0 {
		n = min(n, int(time.Since(p.since).Seconds()*p.rate)+1-p.done)
	}
	n = max(n, 0)
	p.done += n
	return n
}

// ramp has the actors start, at the rate asked for, and waits until they are in
// or have failed.
func (r *run) ramp(ctx context.Context, actors []actor, rate float64) {
	p := newPace(rate)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for len(actors) > 0 {
		n := p.take(r.opening(), len(actors))
		r.each(actors[:n], (*shard).coming, actor.start)
		actors = actors[n:]
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	r.arrived(ctx)
}

// goOut has the actors leave, at the rate of joining, and waits until they have.
func (r *run) goOut(ctx context.Context, actors []actor) {
	p := newPace(r.opts.Rate)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	leaving := func() (n int) {
		for _, s := range r.shards {
			n += int(s.leaving.Load())
		}
		return n
	}
	for len(actors) > 0 || leaving() > 0 {
		n := p.take(leaving(), len(actors))
		r.each(actors[:n], (*shard).parting, actor.leave)
		actors = actors[n:]
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// arrivals is how often someone came in, or came back.
func (r *run) arrivals() (n int) {
	for _, s := range r.shards {
		n += int(s.arrived.Load())
	}
	return n
}

// arrived waits until nobody is on the way in.
func (r *run) arrived(ctx context.Context) {
	for r.opening() > 0 && ctx.Err() == nil {
		pause(ctx, 5*time.Millisecond)
	}
}

// coming counts clients that are about to come in.
func (s *shard) coming(n int) { s.opening.Add(int32(n)) }

// parting counts clients that are about to leave.
func (s *shard) parting(n int) { s.leaving.Add(int32(n)) }

// each has the actors' shards do f, and count them before.
func (r *run) each(actors []actor, count func(*shard, int), f func(actor)) {
	for _, s := range r.shards {
		var mine []actor
		for _, a := range actors {
			if a.home() == s {
				mine = append(mine, a)
			}
		}
		if len(mine) == 0 {
			continue
		}
		if count != nil {
			count(s, len(mine))
		}
		s.loop.Post(func() {
			for _, a := range mine {
				f(a)
			}
		})
	}
}
