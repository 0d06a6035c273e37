package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
)

// actor is a client of a chaos. It does one thing at a time.
type actor struct {
	c      *chaos
	number int // of the meeting
	user   string
	from   http.Header // its address: people of one network share what a meeting keeps for who is away

	mu     sync.Mutex // held while it does something
	p      *client.Participant
	peerID string
	as     string // the user_id of its seat
	asked  string // the user_id that it asked for last
	token  string
	lost   time.Time // when its connection was seen to be gone
	unsure bool      // it was not told what became of its last join
	said   int       // counts its signals
	gaps   int       // of p, that were counted

	seen  sync.Mutex
	rev   int64               // the highest it has seen
	heard map[string]int      // the last signal of each sender
	had   map[numbered]string // the neg of each signal that its seat was told
	taken time.Time           // when it was told that another login took its seat
}

// numbered is the seq of a signal and its sender: it stays when the signal is sent again.
type numbered struct {
	from string
	seq  uint64
}

// connected reports whether it has a seat and a connection.
func (a *actor) connected() bool {
	if a.p == nil {
		return false
	}
	select {
	case <-a.p.Conn().Done():
		return false
	default:
		return true
	}
}

func (a *actor) act(roll int, dice *rand.Rand) {
	c, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if a.p != nil && !a.connected() {
		a.p, a.lost = nil, time.Now()
	}
	switch {
	case a.p == nil && a.token != "" && roll < 80:
		a.resume(c, dice)
	case a.p == nil:
		a.join(c, dice)
	case roll < 35:
		a.signal(c, dice)
	case roll < 55:
		a.allow("media_state", a.p.Conn().Call(c, "media_state", map[string]any{"audio": roll%2 == 0, "video": roll%3 == 0, "hand": roll%5 == 0}, nil), fault.NotJoined)
	case roll < 62:
		a.allow("rename", a.p.Conn().Call(c, "rename", map[string]any{"name": fmt.Sprint("n", dice.IntN(100))}, nil), fault.NotJoined)
	case roll < 68:
		err := a.p.Conn().Call(c, "join", map[string]any{"meeting_id": a.meeting(), "user_id": a.user, "v": 2}, nil)
		if err == nil {
			a.c.bad("a second join on one socket was let in")
		}
		a.allow("a second join", err, fault.AlreadyJoined, fault.MeetingFull, fault.NotJoined)
	case roll < 76:
		a.resume(c, dice) // while the old connection lives
	case roll < 80:
		a.race(c, dice)
	case roll < 90:
		a.p.Conn().Kill()
		a.p, a.lost = nil, time.Now()
	default:
		a.allow("leave", a.p.Leave(c), fault.NotJoined)
		a.forget()
	}
}

func (a *actor) meeting() string { return a.c.meetings[a.number].MeetingID }

func (a *actor) forget() { a.p, a.token, a.peerID, a.unsure = nil, "", "", false }

// allow takes an error as news if it may be, else as a finding. With a fault under
// way nobody can expect an answer.
func (a *actor) allow(what string, err error, codes ...fault.Code) {
	var f *fault.Error
	switch {
	case err == nil:
		return
	case errors.As(err, &f) && slices.Contains(codes, f.Code):
		return
	case errors.As(err, &f) && f.Code != fault.Unavailable && f.Code != fault.ServerDraining:
		a.c.bad("%s of %s: %v", what, a.user, err)
	case a.c.troubled(5 * time.Second), f == nil && a.isTaken():
		a.c.excused.Add(1)
		time.Sleep(20 * time.Millisecond) // as a client would before it tries again
	default:
		a.c.bad("%s of %s: %v", what, a.user, err)
	}
}

// isTaken reports whether another login took its seat lately, or may have: who is
// away is not told, and who is told may not have read it yet.
func (a *actor) isTaken() bool {
	a.seen.Lock()
	defer a.seen.Unlock()
	return !a.taken.IsZero() && time.Since(a.taken) < 10*time.Second ||
		a.c.logins.replaced(a.number, a.as) || a.c.logins.replaced(a.number, a.asked)
}

// logins are those of the actors that replace a user_id.
type logins struct {
	mu       sync.Mutex
	underWay map[login]int
	ended    map[login]time.Time
}

type login struct {
	meeting int
	userID  string
}

// replace notes that userID is being replaced, until what it returns is called.
func (l *logins) replace(meeting int, userID string) (done func()) {
	k := login{meeting, userID}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay[k]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.underWay[k]--
		l.ended[k] = time.Now()
	}
}

// replaced reports whether userID is being replaced, or was lately.
func (l *logins) replaced(meeting int, userID string) bool {
	k := login{meeting, userID}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underWay[k] > 0 || !l.ended[k].IsZero() && time.Since(l.ended[k]) < 10*time.Second
}

// enter joins somewhere.
func (a *actor) enter(c context.Context, dice *rand.Rand, j protocol.Join) (*client.Participant, error) {
	first := dice.IntN(len(a.c.nodes))
	for i := range a.c.nodes {
		at := (first + i) % len(a.c.nodes)
		if a.c.down[at].Load() && i < len(a.c.nodes)-1 {
			continue
		}
		first = at
		break
	}
	j.MeetingID = a.meeting()
	if j.UserID == "" {
		j.UserID = a.user
	}
	conn := &connection{actor: a}
	a.seen.Lock()
	before := a.rev
	conn.had = a.had
	if j.ResumeToken == "" {
		conn.had = map[numbered]string{}
	}
	a.seen.Unlock()
	p, err := client.Join(c, a.c.nodes[first].URL, j, client.Handlers{Roster: conn.roster, Signal: conn.signal, Closed: conn.closed}, client.Options{Header: a.from})
	if err != nil {
		return nil, err
	}
	conn.ready(p.PeerID())
	a.seen.Lock()
	a.had = conn.had
	a.seen.Unlock()
	if rev := p.Joined().Rev; rev <= before {
		a.c.bad("%s joined at rev %d, and had seen %d", a.user, rev, before)
	}
	if err := a.c.books[a.number].note(p.Joined().Rev, p.PeerID(), p.Joined().Peers); err != nil {
		a.c.bad("%s: %v", a.user, err)
	}
	return p, nil
}

func (a *actor) join(c context.Context, dice *rand.Rand) {
	j := protocol.Join{}
	codes := []fault.Code{fault.MeetingFull}
	switch roll := dice.IntN(10); {
	case roll < 2:
		j.UserID, j.JoinType = fmt.Sprint("u", dice.IntN(actors)), 1
		codes = append(codes, fault.UserInUse)
	case roll < 4:
		j.UserID, j.JoinType, j.HostKey = fmt.Sprint("u", dice.IntN(actors)), 2, a.c.meetings[a.number].HostKey
		defer a.c.logins.replace(a.number, j.UserID)()
	default:
		j.UserID = a.user
	}
	a.asked = j.UserID
	p, err := a.enter(c, dice, j)
	if err != nil {
		if a.isTaken() {
			codes = append(codes, fault.NotJoined, fault.ResumeExpired) // in the moment it was in
		}
		a.allow("join", err, codes...)
		return
	}
	a.c.joins.Add(1)
	a.p, a.peerID, a.as, a.token, a.unsure, a.gaps = p, p.PeerID(), j.UserID, p.Joined().ResumeToken, false, 0
}

// resume comes back; the old connection may still live.
func (a *actor) resume(c context.Context, dice *rand.Rand) {
	lived, old, inTime := a.connected(), a.p, a.p != nil || time.Since(a.lost) < chaosGrace/2
	p, err := a.enter(c, dice, protocol.Join{ResumeToken: a.token})
	if fault.CodeOf(err) == fault.ResumeExpired {
		if inTime && !a.unsure && !a.isTaken() && !a.c.troubled(10*time.Second) && (!lived || connectedStill(old)) {
			a.c.bad("%s (%s) was away for %s only and its seat is gone", a.user, a.peerID, time.Since(a.lost))
		}
		a.forget()
		return
	}
	if err != nil {
		var codes []fault.Code
		if a.isTaken() {
			codes = append(codes, fault.NotJoined) // in the moment it was back
		}
		a.allow("resume", err, codes...)
		a.unsure = true
		return
	}
	a.c.resumes.Add(1)
	a.back(p)
}

// connectedStill reports whether the seat was not taken meanwhile.
func connectedStill(p *client.Participant) bool {
	select {
	case <-p.Conn().Done():
		return false
	default:
		return true
	}
}

func (a *actor) back(p *client.Participant) {
	if p.PeerID() != a.peerID {
		a.c.bad("%s was %s, is %s", a.user, a.peerID, p.PeerID())
	}
	if a.p != nil && !a.c.troubled(5*time.Second) { // its old connection must end by itself
		select {
		case <-a.p.Conn().Done():
		case <-time.After(10 * time.Second):
			if !a.c.troubled(20 * time.Second) {
				a.c.bad("the old connection of %s was not closed", a.user)
			}
		}
	}
	if a.p != nil {
		a.p.Conn().Kill()
	}
	a.p, a.token, a.unsure, a.gaps = p, p.Joined().ResumeToken, false, 0
}

// race uses one token twice at the same time. Both may be answered, for the token stays good until an answer is
// confirmed: one connection keeps the seat, the other is closed.
func (a *actor) race(c context.Context, dice *rand.Rand) {
	type result struct {
		p   *client.Participant
		err error
	}
	results := make(chan result, 2)
	for range cap(results) {
		own := rand.New(rand.NewPCG(dice.Uint64(), 0)) //nolint:gosec // repeatable
		go func() {
			p, err := a.enter(c, own, protocol.Join{ResumeToken: a.token})
			results <- result{p, err}
		}()
	}
	var answered []*client.Participant
	for range cap(results) {
		if r := <-results; r.err == nil {
			answered = append(answered, r.p)
		} else {
			a.allow("resume", r.err, fault.ResumeExpired, fault.NotJoined)
		}
	}
	switch len(answered) {
	case 0:
		a.unsure = true
		return
	case 1:
		a.c.resumes.Add(1)
		a.back(answered[0])
		return
	}
	a.c.resumes.Add(2)
	if answered[0].PeerID() != answered[1].PeerID() {
		a.c.bad("%s: one token gave %s and %s", a.user, answered[0].PeerID(), answered[1].PeerID())
	}
	keeps := answered[1]
	select {
	case <-answered[0].Conn().Done():
	case <-answered[1].Conn().Done():
		keeps = answered[0]
	case <-time.After(10 * time.Second):
		if !a.c.troubled(20 * time.Second) {
			a.c.bad("%s: both keep the seat", a.user)
		}
		answered[0].Conn().Kill()
	}
	a.back(keeps)
}

func (a *actor) signal(c context.Context, dice *rand.Rand) {
	_, peers := a.p.Roster()
	if len(peers) == 0 {
		return
	}
	ids := make([]string, 0, len(peers))
	for id := range peers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	a.said++
	to := ids[dice.IntN(len(ids))]
	_, err := a.p.Signal(c, to, "offer", fmt.Sprint(a.said), "v=0")
	for range 10 { // while its receiver cannot take it
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Unavailable {
			break
		}
		time.Sleep(time.Duration(max(f.RetryAfterMS, 20)) * time.Millisecond)
		_, err = a.p.Signal(c, to, "offer", fmt.Sprint(a.said), "v=0")
	}
	a.allow("signal", err, fault.PeerGone, fault.NotInMeeting, fault.NotJoined)
	a.c.signals.Add(1)
}

// connection is what an actor is told on one of its connections.
type connection struct {
	actor *actor

	had map[numbered]string // its seat's, under the actor's seen

	mu   sync.Mutex
	me   string // peer id, once it is known
	last int64
}

func (n *connection) ready(me string) {
	n.mu.Lock()
	n.me = me
	n.mu.Unlock()
}

func (n *connection) roster(rev int64, peers []protocol.Peer) {
	a := n.actor
	n.mu.Lock()
	me, last := n.me, n.last
	n.last = max(n.last, rev)
	n.mu.Unlock()
	if rev == 0 { // before the answer to the join
		return
	}
	if rev < last {
		a.c.bad("%s was at rev %d and is at %d", a.user, last, rev)
	}
	a.seen.Lock()
	a.rev = max(a.rev, rev)
	a.seen.Unlock()
	if me == "" {
		return
	}
	if err := a.c.books[a.number].note(rev, me, peers); err != nil {
		a.c.bad("%s: %v", a.user, err)
	}
}

func (n *connection) signal(s client.Signal) {
	a := n.actor
	neg, err := strconv.Atoi(s.Neg)
	if err != nil {
		a.c.bad("a signal with neg %q", s.Neg)
	}
	a.seen.Lock()
	number := numbered{s.From, s.Seq}
	before, again := n.had[number]
	n.had[number] = s.Neg
	last := a.heard[s.From]
	a.heard[s.From] = max(last, neg)
	a.seen.Unlock()
	if again { // the connection before had not confirmed it
		if before != s.Neg {
			a.c.bad("%s (%d nodes) was told signal %d of %s as %s and as %s", a.user, len(a.c.nodes), s.Seq, s.From, before, s.Neg)
		}
		return
	}
	if neg <= last && !a.c.troubled(10*time.Second) {
		a.c.bad("%s was told signal %d of %s after %d", a.user, neg, s.From, last)
	}
}

func (n *connection) closed(e protocol.Closed) {
	a := n.actor
	a.seen.Lock()
	if e.Code == "replaced" {
		a.taken = time.Now()
	}
	a.seen.Unlock()
	if e.Code != "replaced" && !a.c.troubled(15*time.Second) {
		a.c.bad("%s was closed with %s", a.user, e.Code)
	}
}
