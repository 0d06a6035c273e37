package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/rooms"
	"signald/internal/tracing"
)

// Options of a Node.
type Options struct {
	URL    string // redis://, rediss://
	NodeID string
	Keys   Keys
	Log    zerolog.Logger

	// Clock is the time that the nodes agree on, within goodFor; default: this host's.
	Clock func() time.Time

	// Observe, if set, is told how long Redis took: to publish, or for the round trip of a message to
	// ourselves. It must not block.
	Observe func(call string, took time.Duration, err error)
	Tracer  *tracing.Tracer
}

const (
	queueLimit = 16 << 10               // messages that wait to be published
	batchLimit = 256                    // published in one round trip
	restAfter  = 500 * time.Millisecond // after a failure, before the next try
	tickEvery  = time.Second
	downAfter  = 3 * time.Second // without a tick
)

// Node is this node on the wire.
type Node struct {
	opts    Options
	handler Handler
	publish *redis.Client // one connection: a pool would lose the order
	listen  *redis.Client
	pubsub  *redis.PubSub
	out     chan outgoing // to the publisher; never closed

	ticked atomic.Int64          // when our own voice was last heard, ns since the start
	fault  atomic.Pointer[error] // what Redis said last when something failed
	start  time.Time
	stats  Stats

	sealer *sealer // belongs to speak
	opener *opener // belongs to hear
	own    string  // this node's channel
	all    string  // everybody's
	warned [2]bool // belongs to hear

	mu      sync.Mutex
	nextSeq uint64
	nextID  uint64
	waiting map[uint64]*question
	watched map[string]chan struct{} // by channel; closed once subscribed
	wanted  []subscription           // not yet told to Redis

	wake chan struct{} // something is wanted; holds one
}

// subscription is a change of what this node listens to.
type subscription struct {
	channel string
	on      bool
}

// Stats counts since the start.
//
// Dropped: messages of this node that the queue had no room for. Ignored: messages of others that came
// twice, or are of another version. Unsealed: messages that no node of this cluster has said, there. Late: those
// that one said at another time.
type Stats struct{ Published, Failed, Received, Dropped, Ignored, Unsealed, Late atomic.Int64 }

type outgoing struct {
	channel string
	seq     uint64
	body    []byte      // not yet sealed
	failed  func(error) // may be nil
	span    tracing.Span
}

// lost is called if it was not published.
func (o outgoing) lost() {
	o.span.Fail("unavailable")
	o.span.End()
	if o.failed != nil {
		o.failed(ErrDown)
	}
}

// question is something asked of another node.
type question struct {
	timer  *time.Timer
	answer func(*message, error) // called once
}

// New makes a node. It is mute and deaf until Run.
func New(opts Options) (*Node, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	parsed, err := redis.ParseURL(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("redis url: %w", errURL)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, time.Duration, error) {}
	}
	redis.SetLogger(quiet{opts.Log})
	n := &Node{
		opts: opts, start: time.Now(), out: make(chan outgoing, queueLimit),
		waiting: map[uint64]*question{}, watched: map[string]chan struct{}{},
		wake: make(chan struct{}, 1), sealer: newSealer(opts.Keys, opts.Clock), opener: newOpener(opts.Keys, opts.Clock),
	}
	n.own, n.all = n.nodeChannel(opts.NodeID), opts.Keys.channel("all", "")
	// Measured: with the defaults a dead Redis blocks every publish for 1.7 s and
	// makes the listener spin.
	out := *parsed
	out.PoolSize, out.MaxRetries, out.DialerRetries = 1, -1, 1
	out.DialTimeout, out.ReadTimeout, out.WriteTimeout = 200*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	n.publish = redis.NewClient(&out)
	in := *parsed
	in.MaxRetries, in.DialerRetries = -1, 1
	in.DialTimeout = time.Second
	dialer := net.Dialer{Timeout: time.Second}
	if in.TLSConfig == nil {
		in.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				rest(ctx)
			}
			return c, err
		}
	}
	n.listen = redis.NewClient(&in)
	return n, nil
}

func rest(ctx context.Context) {
	select {
	case <-time.After(restAfter):
	case <-ctx.Done():
	}
}

// CheckURL says what is wrong with the address of a Redis.
func CheckURL(address string) error {
	if _, err := redis.ParseURL(address); err != nil {
		return errURL
	}
	return nil
}

// errURL stands for each reason why an address cannot be read: those that the parsers give quote parts of the password.
var errURL = errors.New("it does not look like redis://user:password@host:6379/0; in a password write special characters as %xx, a slash as %2F")

// Stats returns the node's counters, which go on counting.
func (n *Node) Stats() *Stats { return &n.stats }

// Up reports whether what we say comes back to us, as of late.
func (n *Node) Up() bool {
	at := n.ticked.Load()
	return at != 0 && n.silence() < downAfter
}

// silence is for how long we have not heard ourselves.
func (n *Node) silence() time.Duration {
	return time.Since(n.start) - time.Duration(n.ticked.Load())
}

// Run speaks and listens until ctx ends. The handler gets what other nodes say.
func (n *Node) Run(ctx context.Context, h Handler) {
	n.handler = h
	n.pubsub = n.listen.Subscribe(ctx, n.own, n.all)
	var running sync.WaitGroup
	running.Go(func() { n.speak(ctx) })
	running.Go(func() { n.hear(ctx) })
	running.Go(func() { n.subscribe(ctx) })
	running.Go(func() { n.tick(ctx) })
	<-ctx.Done()
	_ = n.pubsub.Close() // wakes hear
	running.Wait()
	_, _ = n.publish.Close(), n.listen.Close()
}

func (n *Node) nodeChannel(node string) string { return n.opts.Keys.channel("node", node) }

func (n *Node) meetingChannel(meeting string) string { return n.opts.Keys.channel("meeting", meeting) }

// tick says something to ourselves, again and again, and to the operator when
// that stops to arrive and when it does again.
func (n *Node) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	down := false
	for {
		if now := n.silence() >= downAfter; now != down {
			down = now
			n.sayDown(down)
		}
		n.say(n.own, &message{Kind: kindTick, ID: uint64(time.Since(n.start))}, nil) //nolint:gosec // time goes forward
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) sayDown(down bool) {
	if !down {
		n.opts.Log.Info().Msg("Redis carries messages again")
		return
	}
	e := n.opts.Log.Warn()
	if err := n.fault.Load(); err != nil {
		e = e.Err(*err)
	}
	e.Msg("Redis carries no messages: rosters follow the database, signals to other nodes fail")
}

// say queues a message.
func (n *Node) say(channel string, m *message, failed func(error)) {
	n.queue(m, outgoing{channel: channel, failed: failed})
}

// queue puts a message into the queue. Numbers and queue go together, so that they agree;
// the message is encoded before.
func (n *Node) queue(m *message, o outgoing) {
	m.Schema, m.Node = schema, n.opts.NodeID
	var err error
	queued := false
	if o.body, err = m.encode(); err == nil {
		n.mu.Lock()
		n.nextSeq++
		o.seq = n.nextSeq
		select {
		case n.out <- o: // does not block: see default
			queued = true
		default:
		}
		n.mu.Unlock()
	}
	if !queued {
		n.stats.Dropped.Add(1)
		o.lost()
	}
}

// speak publishes what is queued, in order, as much at a time as there is.
func (n *Node) speak(ctx context.Context) {
	batch := make([]outgoing, 0, batchLimit)
	var restUntil time.Time
	for {
		batch = batch[:0]
		select {
		case o := <-n.out:
			batch = append(batch, o)
		case <-ctx.Done():
			return
		}
		for len(batch) < batchLimit && len(n.out) > 0 {
			batch = append(batch, <-n.out)
		}
		if time.Now().Before(restUntil) {
			n.failed(batch)
			continue
		}
		if err := n.publishAll(ctx, batch); err != nil {
			restUntil = time.Now().Add(restAfter)
		}
	}
}

func (n *Node) publishAll(ctx context.Context, batch []outgoing) error {
	pipe := n.publish.Pipeline()
	results := make([]*redis.IntCmd, len(batch))
	for i, o := range batch {
		results[i] = pipe.Publish(ctx, o.channel, n.sealer.seal(o.channel, o.seq, o.body))
	}
	began := time.Now()
	_, err := pipe.Exec(ctx)
	n.opts.Observe("publish", time.Since(began), err)
	if err != nil {
		n.fault.Store(&err)
		n.failed(batch)
		return err
	}
	n.stats.Published.Add(int64(len(batch)))
	for i, o := range batch {
		o.span.End()
		if results[i].Val() == 0 && o.failed != nil { // nobody listens
			o.failed(ErrNobody)
		}
	}
	return nil
}

func (n *Node) failed(batch []outgoing) {
	n.stats.Failed.Add(int64(len(batch)))
	for _, o := range batch {
		o.lost()
	}
}

// ask sends a question to a node; answer is called once, with the answer or
// ErrDown.
func (n *Node) ask(node string, m *message, timeout time.Duration, answer func(*message, error)) {
	n.mu.Lock()
	n.nextID++
	id := n.nextID
	failed := func(err error) { n.answered(id, nil, err) }
	n.waiting[id] = &question{answer: answer, timer: time.AfterFunc(timeout, func() { failed(ErrSilent) })}
	n.mu.Unlock()
	m.ID = id
	n.say(n.nodeChannel(node), m, failed)
}

func (n *Node) answered(id uint64, m *message, err error) {
	n.mu.Lock()
	q := n.waiting[id]
	delete(n.waiting, id)
	n.mu.Unlock()
	if q != nil {
		q.timer.Stop()
		q.answer(m, err)
	}
}

// Watch listens to a meeting, as soon as what it returns is closed. While Redis
// is away that may take long, and the store has to do. It only notes the wish.
func (n *Node) Watch(meetingID string) (listening <-chan struct{}) {
	done := make(chan struct{})
	n.want(n.meetingChannel(meetingID), done)
	if !n.Up() {
		return nothing // to wait for
	}
	return done
}

// Unwatch listens to a meeting no more. It only notes the wish.
func (n *Node) Unwatch(meetingID string) { n.want(n.meetingChannel(meetingID), nil) }

func (n *Node) want(channel string, done chan struct{}) {
	n.mu.Lock()
	if done != nil {
		n.watched[channel] = done
	} else {
		delete(n.watched, channel)
	}
	n.wanted = append(n.wanted, subscription{channel, done != nil})
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// subscribe tells Redis what is wanted, in order, many channels at a time.
func (n *Node) subscribe(ctx context.Context) {
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		n.mu.Lock()
		wanted := n.wanted
		n.wanted = nil
		n.mu.Unlock()
		for len(wanted) > 0 {
			same := 1
			for same < len(wanted) && wanted[same].on == wanted[0].on {
				same++
			}
			channels := make([]string, same)
			for i := range channels {
				channels[i] = wanted[i].channel
			}
			// An error is no loss: go-redis has noted the channels for its next connection.
			if wanted[0].on {
				_ = n.pubsub.Subscribe(ctx, channels...)
			} else {
				_ = n.pubsub.Unsubscribe(ctx, channels...)
			}
			wanted = wanted[same:]
		}
	}
}

// Announce tells the other nodes of changes. What is lost they find in the store. Its span ends when they are
// published; that of a node that hears of them goes on from it.
func (n *Node) Announce(ctx context.Context, meetingID string, changes []rooms.Change) {
	_, span := tracing.Within(ctx, tracing.Producer, "publish changes")
	span.Text(tracing.Messaging, "redis")
	span.Number(tracing.MessagesSent, len(changes))
	n.queue(&message{Kind: kindChanges, Meeting: meetingID, Changes: changes, Trace: span.Traceparent()},
		outgoing{channel: n.meetingChannel(meetingID), span: span})
}

// Hint tells the other nodes something that may get lost.
func (n *Node) Hint(meetingID string, s rooms.Speech) {
	n.say(n.meetingChannel(meetingID), &message{Kind: kindHint, Meeting: meetingID, Hint: &s}, nil)
}

// Report tells the other nodes what a participant says of its pairs.
func (n *Node) Report(meetingID string, r pairs.Report) {
	n.say(n.meetingChannel(meetingID), &message{Kind: kindReport, Meeting: meetingID, Report: &r}, nil)
}

// Tell tells a node, or all others if it is empty, something of calls.
func (n *Node) Tell(node string, body []byte) {
	channel := n.all
	if node != "" {
		channel = n.nodeChannel(node)
	}
	n.say(channel, &message{Kind: kindCall, frames: [][]byte{body}}, nil)
}

// Relay sends a signal to its receiver's node. done is called once, from another
// goroutine: with what became of it there, or ErrDown.
func (n *Node) Relay(node string, s Signal, done func(Outcome, error)) {
	n.ask(node, &message{Kind: kindSignal, Signal: &s, frames: [][]byte{s.Frame}}, answerTimeout, func(m *message, err error) {
		if err != nil {
			done(rooms.Gone, err)
			return
		}
		done(m.Outcome, nil)
	})
}

// Handover asks a node for what it keeps for a participant that has come here by a
// revision. ErrDown: it has not answered, and may be asked again.
func (n *Node) Handover(ctx context.Context, node, meetingID, peerID string, rev int64) (rooms.Held, error) {
	type answer struct {
		held rooms.Held
		err  error
	}
	answers := make(chan answer, 1)
	n.ask(node, &message{Kind: kindHandover, Meeting: meetingID, Peer: peerID, Rev: rev}, handoverTimeout, func(m *message, err error) {
		if err != nil {
			answers <- answer{err: err}
			return
		}
		answers <- answer{held: rooms.Held{Frames: m.frames, From: m.From, Seqs: m.Seqs}}
	})
	select {
	case a := <-answers:
		return a.held, a.err
	case <-ctx.Done():
		return rooms.Held{}, ctx.Err()
	}
}

// Sockets tells the other nodes how many sockets an address has here.
func (n *Node) Sockets(ip netip.Prefix, count int) {
	n.say(n.all, &message{Kind: kindSockets, IP: ip.String(), Count: count}, nil)
}

// Guessed tells the other nodes of a failed guess, and at what.
func (n *Node) Guessed(ip netip.Addr, subject string) {
	n.say(n.all, &message{Kind: kindGuessed, IP: ip.String(), Meeting: subject}, nil)
}

// FailedLogin tells the other nodes of an admin's token that was wrong.
func (n *Node) FailedLogin(ip netip.Addr) {
	n.say(n.all, &message{Kind: kindLogin, IP: ip.String()}, nil)
}

// spentAtOnce is how many owners one message tells of: some 200 KB with the longest keys there are.
const spentAtOnce = 500

// Spent tells the other nodes what owners have spent of a limit here.
func (n *Node) Spent(limit string, spent []limits.Spent) {
	for some := range slices.Chunk(spent, spentAtOnce) {
		n.say(n.all, &message{Kind: kindSpent, Limit: limit, Spent: some}, nil)
	}
}

// quiet is where go-redis logs to.
type quiet struct{ log zerolog.Logger }

func (q quiet) Printf(_ context.Context, format string, v ...any) {
	q.log.Debug().Msgf(format, v...)
}
