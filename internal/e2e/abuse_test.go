package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/testnode"
)

// attacker is the address that attacks come from; some have more of its neighbours.
const attacker = "203.0.113.66"

// outcomes counts what became of an attacker's requests: "ok", a code, or what the attack calls it.
type outcomes struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *outcomes) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]int{}
	}
	o.counts[what]++
}

// unanswered counts a request whose answer had not come when the attack was over.
func (o *outcomes) unanswered() { o.add("unanswered") }

// err counts the outcome of a request.
func (o *outcomes) err(err error) {
	code := string(fault.CodeOf(err))
	switch {
	case err == nil:
		code = "ok"
	case code == "" || code == string(fault.Internal):
		code = "connection lost"
	}
	o.add(code)
}

func (o *outcomes) of(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[what]
}

func (o *outcomes) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(o.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, o.counts[what]))
	}
	return strings.Join(parts, ", ")
}

// attack is a row of docs/SECURITY.md, "What anything costs", from the side of who spends.
type attack struct {
	name string
	env  []string
	// run attacks until ctx ends. The honest pair is in meeting m.
	run func(ctx context.Context, s *siege)
	// broken says what did not hold, after so long; "" is all.
	broken func(o *outcomes, took time.Duration) string
}

// siege is an attack under way.
type siege struct {
	*outcomes
	t       *testing.T
	node    *testnode.Node
	meeting client.Meeting
	victim  *client.Participant
}

// times runs an attack from so many goroutines.
func (s *siege) times(ctx context.Context, n int, one func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				one(i)
			}
		})
	}
	all.Wait()
}

// atMost says that more was allowed than burst and so many a second.
func atMost(what string, burst, perSecond float64) func(*outcomes, time.Duration) string {
	return func(o *outcomes, took time.Duration) string {
		if n, most := float64(o.of(what)), burst+perSecond*took.Seconds(); n > most {
			return fmt.Sprintf("%.0f %s in %v, %.0f at most", n, what, took.Round(time.Second), most)
		}
		return ""
	}
}

// honest is a pair that talks in a meeting of its own while others attack.
type honest struct {
	a, b  *client.Participant
	heard *inbox
}

func (h *honest) talk(ctx context.Context, t *testing.T) (took []time.Duration) {
	for i := 0; ctx.Err() == nil; i++ {
		began := time.Now()
		c, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := h.a.Signal(c, h.b.PeerID(), "offer", fmt.Sprint("n", i), "v=0")
		cancel()
		if err != nil {
			t.Errorf("the honest pair: %v", err)
			return took
		}
		took = append(took, time.Since(began))
		time.Sleep(10 * time.Millisecond)
	}
	return took
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestAbuse runs each attack for a short while; ABUSE_SECONDS says for how long. Beside it an honest pair talks, whose
// times are printed and not judged: this machine has other work.
func TestAbuse(t *testing.T) {
	seconds, err := strconv.ParseFloat(cmp.Or(os.Getenv("ABUSE_SECONDS"), "0.3"), 64)
	if err != nil {
		t.Fatal(err)
	}
	length := time.Duration(seconds * float64(time.Second))
	row := func(cells ...any) { // as each is done
		line := fmt.Sprintf("| %-42v | %-8v | %-8v | %-7v | %-5v | %v |", cells...)
		if os.Getenv("ABUSE_SECONDS") != "" {
			fmt.Println(line)
		} else {
			t.Log(line)
		}
	}
	row("attack, for "+length.String(), "before", "during", "memory", "holds", "what the attacker got")
	row("---", "---", "---", "---", "---", "---")
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			n := testnode.Start(t, slices.Concat(limited, []string{
				"SIGNALD_MAX_PEERS=100", "SIGNALD_MAX_SOCKETS_PER_IP=1000", "SIGNALD_MAX_QUEUED=32", "SIGNALD_LOG_LEVEL=warn",
			}, a.env)...)
			quiet, loud := meeting(t, n, nil), meeting(t, n, map[string]any{"password": "correct horse"})
			h := &honest{heard: newInbox()}
			h.a, h.b = joinFrom(t, n, office, as(quiet, "a"), nil), joinFrom(t, n, elsewhere, as(quiet, "b"), h.heard)
			s := &siege{outcomes: &outcomes{}, t: t, node: n, meeting: loud, victim: h.b}
			calm, cancel := context.WithTimeout(t.Context(), length)
			before := p99(h.talk(calm, t))
			cancel()

			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			began := time.Now()
			done := make(chan []time.Duration, 1)
			go func() { done <- h.talk(ctx, t) }() // ends with ctx
			a.run(ctx, s)
			took := time.Since(began)
			during := p99(<-done)
			memory := resident(t, n, "VmHWM")
			broken := a.broken(s.outcomes, took)
			if memory > 250 && broken == "" { // with 32 MB for what waits, and more for the race detector
				broken = fmt.Sprint(memory, " MB")
			}
			holds := "yes"
			if broken != "" {
				holds = "NO"
				t.Error(broken)
			}
			if s.String() == "" {
				t.Error("nothing was tried")
			}
			row(a.name, before.Round(100*time.Microsecond), during.Round(100*time.Microsecond), fmt.Sprint(memory, " MB"), holds, s)
		})
	}
}
