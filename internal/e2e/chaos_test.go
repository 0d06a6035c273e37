package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// A random schedule of everything that members and operators do. At rest everyone's
// roster, made of deltas alone, is what the store says; and no revision ever means
// two things or goes back.
func TestRandomScheduleEndsInEqualRosters(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Parallel()
	for i, name := range []string{"OneNode", "TwoNodes", "ThreeNodes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, i+1, seed)
			c.run(8 * time.Second)
		})
	}
}

// TestChaos is the long one: make chaos.
func TestChaos(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("CHAOS_SECONDS"))
	if err != nil {
		t.Skip("this is the long one: make chaos")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	fmt.Printf("seed %d, %d s\n", seed, seconds)
	var table strings.Builder
	fmt.Fprintf(&table, "%-6s %10s %8s %8s %8s %8s %8s %8s %8s\n", "nodes", "operations", "joins", "resumes", "signals", "faults", "rests", "excused", "errors")
	for nodes := 1; nodes <= 3; nodes++ {
		c := newChaos(t, nodes, seed)
		c.live = true
		c.run(time.Duration(seconds) * time.Second / 3)
		fmt.Fprintf(&table, "%-6d %10d %8d %8d %8d %8d %8d %8d %8d\n", nodes, c.operations.Load(), c.joins.Load(), c.resumes.Load(),
			c.signals.Load(), c.faults.Load(), c.rests, c.excused.Load(), c.errors.Load())
	}
	fmt.Print("\r\033[K", table.String())
}

const (
	chaosGrace = 3 * time.Second
	seatLimit  = 7 // of a meeting; there are more actors
	actors     = 9 // of a meeting
)

type chaos struct {
	t     *testing.T
	rng   *rand.Rand // the scheduler's
	seed  uint64
	live  bool // show progress
	nodes []*testnode.Node
	redis *testredis.Server
	db    *sql.DB

	meetings []client.Meeting
	books    []*book
	actors   []*actor
	slots    chan struct{} // operations at the same time
	running  sync.WaitGroup
	logins   logins
	began    time.Time
	rests    int
	calm     bool // no fault since the last rest; the scheduler's

	faulty  atomic.Int64 // faults under way
	lastBad atomic.Int64 // when a fault was under way last, ns since began
	down    []atomic.Bool

	operations, joins, resumes, signals, faults, excused, errors, gaps atomic.Int64
}

func newChaos(t *testing.T, nodes int, seed uint64) *chaos {
	t.Helper()
	c := &chaos{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(nodes))), //nolint:gosec // repeatable
		slots: make(chan struct{}, 6), down: make([]atomic.Bool, nodes), began: time.Now(), calm: true,
		logins: logins{underWay: map[login]int{}, ended: map[login]time.Time{}},
	}
	t.Logf("seed %d", seed)
	env := []string{"SIGNALD_GRACE=" + chaosGrace.String(), "SIGNALD_MAX_PEERS=" + fmt.Sprint(seatLimit), "SIGNALD_DRAIN_TIMEOUT=4s", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_LOG_LEVEL=warn"}
	driver, dsn := "sqlite", "file:"+filepath.Join(t.TempDir(), "s.db")+"?mode=ro"
	if nodes == 1 {
		env = append(env, "SIGNALD_DATABASE_URL=sqlite:"+strings.TrimSuffix(strings.TrimPrefix(dsn, "file:"), "?mode=ro"))
	} else {
		driver, dsn = "pgx", testpg.URL(t)
		c.redis = testredis.New(t)
		env = append(env, "SIGNALD_DATABASE_URL="+dsn, "SIGNALD_REDIS_URL="+c.redis.URL)
	}
	for range nodes {
		c.nodes = append(c.nodes, testnode.Start(t, env...))
	}
	var err error
	if c.db, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.db.Close() })
	for i := range 3 {
		c.meetings = append(c.meetings, meeting(t, c.nodes[0], nil))
		c.books = append(c.books, &book{revs: map[int64]*page{}})
		for k := range actors {
			c.actors = append(c.actors, &actor{c: c, number: i, user: fmt.Sprint("u", k), heard: map[string]int{}, from: http.Header{"X-Forwarded-For": {fmt.Sprintf("198.18.%d.%d", k, i+1)}}})
		}
	}
	return c
}

// run lets things happen for a while, with a rest from time to time.
func (c *chaos) run(d time.Duration) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	nextFault, nextRest := time.Now().Add(2*time.Second), time.Now().Add(5*time.Second)
	for end, last := time.Now().Add(d), time.Now().Add(d+time.Minute); !c.t.Failed() && // on a busy machine for longer
		(time.Now().Before(end) || time.Now().Before(last) && !c.muchHappened()); {
		select {
		case <-ticker.C:
			c.progress()
		default:
		}
		c.operate()
		if time.Now().After(nextFault) {
			c.fault()
			nextFault = time.Now().Add(time.Duration(1500+c.rng.IntN(3000)) * time.Millisecond)
		}
		if time.Now().After(nextRest) {
			c.rest()
			nextRest = time.Now().Add(time.Duration(3+c.rng.IntN(4)) * time.Second)
		}
	}
	c.rest()
	c.progress()
	for _, a := range c.actors {
		if a.p != nil {
			a.p.Conn().Kill()
		}
	}
	c.t.Logf("%d operations, %d joins, %d resumes, %d signals, %d faults, %d rests, %d gaps, %d excused",
		c.operations.Load(), c.joins.Load(), c.resumes.Load(), c.signals.Load(), c.faults.Load(), c.rests, c.gaps.Load(), c.excused.Load())
	if !c.muchHappened() {
		c.t.Error("hardly anything happened")
	}
}

func (c *chaos) muchHappened() bool {
	return c.joins.Load() >= 10 && c.resumes.Load() >= 3 && c.signals.Load() >= 10
}

func (c *chaos) progress() {
	if !c.live {
		return
	}
	in := 0
	for _, a := range c.actors {
		if a.mu.TryLock() {
			if a.connected() {
				in++
			}
			a.mu.Unlock()
		}
	}
	fmt.Printf("\r\033[K%d nodes  %4.0f s  %d operations  %d faults  %d joined  %d errors", len(c.nodes), time.Since(c.began).Seconds(),
		c.operations.Load(), c.faults.Load(), in, c.errors.Load())
}

// bad is a finding.
func (c *chaos) bad(format string, args ...any) {
	c.errors.Add(1)
	c.t.Errorf("after %s, seed %d: %s", time.Since(c.began).Round(time.Millisecond), c.seed, fmt.Sprintf(format, args...))
}

// troubled reports whether a fault was under way within the last d.
func (c *chaos) troubled(d time.Duration) bool {
	return c.faulty.Load() > 0 || c.lastBad.Load() != 0 && time.Since(c.began)-time.Duration(c.lastBad.Load()) < d
}

// fault does something to a server, while the members go on.
func (c *chaos) fault() {
	c.calm = false
	c.faults.Add(1)
	c.faulty.Add(1)
	defer func() {
		c.lastBad.Store(int64(time.Since(c.began)))
		c.faulty.Add(-1)
	}()
	pause := time.Duration(c.rng.IntN(1000)) * time.Millisecond
	wait := func() {
		for end := time.Now().Add(pause); time.Now().Before(end); {
			c.operate()
		}
	}
	i := c.rng.IntN(len(c.nodes))
	switch what := c.rng.IntN(10); {
	case what < 2 && c.redis != nil:
		c.redis.Stop()
		wait()
		c.redis.Start()
	case what < 3 && c.redis != nil:
		c.redis.Freeze()
		wait()
		c.redis.Thaw()
	case what < 5:
		c.down[i].Store(true)
		if code := c.nodes[i].Stop(ctx(c.t)); code != 0 {
			c.bad("exit code %d", code)
		}
		wait()
		c.nodes[i].Start()
		c.down[i].Store(false)
	default:
		c.down[i].Store(true)
		c.nodes[i].Kill()
		wait()
		c.nodes[i].Start()
		c.down[i].Store(false)
	}
}

// operate lets one actor do something, at the same time as others.
func (c *chaos) operate() {
	a, roll, dice := c.actors[c.rng.IntN(len(c.actors))], c.rng.IntN(100), rand.New(rand.NewPCG(c.rng.Uint64(), 0)) //nolint:gosec // repeatable
	c.slots <- struct{}{}
	if !a.mu.TryLock() {
		<-c.slots
		return
	}
	c.running.Go(func() {
		defer func() {
			a.mu.Unlock()
			<-c.slots
		}()
		c.operations.Add(1)
		a.act(roll, dice)
	})
}

// rest waits until all rosters are what the store says.
func (c *chaos) rest() {
	c.running.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for m := range c.meetings {
		for {
			err := c.compare(m)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				c.bad("meeting %d is not at rest: %v", m, err)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	c.rests++
	gaps := int64(0)
	for _, a := range c.actors {
		if a.p != nil {
			gaps += int64(a.p.Gaps() - a.gaps)
			a.gaps = a.p.Gaps()
		}
	}
	c.gaps.Add(gaps)
	if gaps > 0 && c.calm {
		c.bad("%d gaps though there was no fault", gaps)
	}
	c.calm = true
}

// compare says where a meeting's rosters differ from the store.
func (c *chaos) compare(m int) error {
	rev, rows, err := c.stored(m)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, a := range c.actors {
		if a.number != m || a.peerID == "" {
			continue
		}
		known[a.peerID] = true
		if !a.connected() {
			if row, there := rows[a.peerID]; there && row.State != "away" {
				return fmt.Errorf("%s (%s) has no connection and is %s", a.user, a.peerID, row.State)
			}
			continue
		}
		have, peers := a.p.Roster()
		if have != rev {
			return fmt.Errorf("%s is at rev %d, the store at %d", a.user, have, rev)
		}
		me, there := rows[a.peerID]
		if !there || me.State != "online" {
			return fmt.Errorf("%s (%s) is connected and is %q in the store", a.user, a.peerID, me.State)
		}
		if len(peers) != len(rows)-1 {
			return fmt.Errorf("%s sees %d others, the store has %d", a.user, len(peers), len(rows)-1)
		}
		for id, p := range peers {
			if describe(p) != describe(rows[id]) {
				return fmt.Errorf("%s sees %s, the store has %s", a.user, describe(p), describe(rows[id]))
			}
		}
	}
	for id, row := range rows {
		if !known[id] {
			return fmt.Errorf("a ghost: %s (%s) is %s", row.UserID, id, row.State)
		}
	}
	return nil
}

func describe(p protocol.Peer) string {
	hand := int64(0)
	if p.Media.Hand != nil {
		hand = *p.Media.Hand
	}
	return fmt.Sprint(p.UserID, " ", p.Name, " ", p.Role, " ", p.State, " ", p.Media.Audio, p.Media.Video, p.Media.Screen, hand)
}

// stored is a meeting as the store has it.
func (c *chaos) stored(m int) (rev int64, peers map[string]protocol.Peer, err error) {
	rows, err := c.db.QueryContext(ctx(c.t), `SELECT s.rev, p.peer_id, p.user_id, p.name, p.role, p.state, p.media
		FROM meeting_state s LEFT JOIN participants p ON p.meeting_id = s.meeting_id WHERE s.meeting_id = $1`, c.meetings[m].MeetingID)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = rows.Close() }()
	peers = map[string]protocol.Peer{}
	for rows.Next() {
		var id, user, name, role, state, media sql.NullString
		if err := rows.Scan(&rev, &id, &user, &name, &role, &state, &media); err != nil {
			return 0, nil, err
		}
		if !id.Valid {
			continue
		}
		p := protocol.Peer{PeerID: id.String, UserID: user.String, Name: name.String, Role: role.String, State: state.String}
		if err := json.Unmarshal([]byte(media.String), &p.Media); err != nil {
			return 0, nil, err
		}
		peers[p.PeerID] = p
	}
	return rev, peers, rows.Err()
}

// book is what revisions of a meeting have meant to anybody.
type book struct {
	mu   sync.Mutex
	revs map[int64]*page
	last int64
}

type page struct {
	all   string // who is in the meeting
	peers map[string]string
}

// note says what a revision differs in from what others saw of it.
func (b *book) note(rev int64, me string, peers []protocol.Peer) error {
	ids := []string{me}
	for _, p := range peers {
		ids = append(ids, p.PeerID)
	}
	slices.Sort(ids)
	all := strings.Join(ids, " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	if rev > b.last {
		b.last = rev
		for old := range b.revs {
			if old < rev-1000 {
				delete(b.revs, old)
			}
		}
	}
	seen := b.revs[rev]
	if seen == nil {
		seen = &page{all: all, peers: map[string]string{}}
		b.revs[rev] = seen
	}
	if seen.all != all {
		return fmt.Errorf("rev %d means %s, and %s", rev, seen.all, all)
	}
	for _, p := range peers {
		is := describe(p)
		if was, ok := seen.peers[p.PeerID]; ok && was != is {
			return fmt.Errorf("rev %d says of %s: %s, and %s", rev, p.PeerID, was, is)
		}
		seen.peers[p.PeerID] = is
	}
	return nil
}
