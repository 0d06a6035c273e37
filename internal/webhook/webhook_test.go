package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"signald/internal/store"
)

// shelf is a store in memory, for virtual time.
type shelf struct {
	mu     sync.Mutex
	events []*shelved
	broken bool // it cannot delete
	denied bool // it cannot claim
}

type shelved struct {
	store.Event
	due time.Time
}

func (s *shelf) add(events ...store.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		e.At = time.Now()
		s.events = append(s.events, &shelved{e, e.At})
	}
}

func (s *shelf) ClaimEvents(_ context.Context, limit int, lease time.Duration) (claimed []store.Event, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied {
		return nil, errors.New("permission denied for table webhook_events")
	}
	heads := map[string]bool{}
	var due []*shelved
	for _, e := range s.events {
		head := !heads[e.MeetingID]
		heads[e.MeetingID] = true
		if head && !e.due.After(time.Now()) {
			due = append(due, e)
		}
	}
	slices.SortStableFunc(due, func(a, b *shelved) int { return a.due.Compare(b.due) })
	for _, e := range due[:min(limit, len(due))] {
		e.Attempts++
		e.due = time.Now().Add(lease)
		e.Age = time.Since(e.At)
		claimed = append(claimed, e.Event)
	}
	return claimed, nil
}

func (s *shelf) DeleteEvent(_ context.Context, e store.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("away")
	}
	s.events = slices.DeleteFunc(s.events, func(o *shelved) bool { return o.ID == e.ID })
	if next := slices.IndexFunc(s.events, func(o *shelved) bool { return o.MeetingID == e.MeetingID }); next >= 0 {
		s.events[next].due = time.Now()
	}
	return nil
}

func (s *shelf) RetryEvent(_ context.Context, e store.Event, after time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.events {
		if o.ID == e.ID {
			o.due = time.Now().Add(after)
		}
	}
	return nil
}

func (s *shelf) GiveUpEvents(_ context.Context, meetingID string, age time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.events)
	s.events = slices.DeleteFunc(s.events, func(o *shelved) bool { return o.MeetingID == meetingID && time.Since(o.At) > age })
	return before - len(s.events), nil
}

func (s *shelf) PendingEvents(context.Context) (int, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events), 0, nil
}

func (s *shelf) left() int { n, _, _ := s.PendingEvents(context.Background()); return n }

// tally is an Observer.
type tally struct{ delivered, failed, givenUp, pending atomic.Int64 }

func (o *tally) WebhookTried(delivered bool, _ time.Duration) {
	if delivered {
		o.delivered.Add(1)
	} else {
		o.failed.Add(1)
	}
}
func (o *tally) WebhooksGivenUp(n int)                  { o.givenUp.Add(int64(n)) }
func (o *tally) WebhooksPending(n int, _ time.Duration) { o.pending.Store(int64(n)) }

// receiver answers attempts without a network.
type receiver func(id string) (status int, err error)

func (r receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, req.Body)
	status, err := r(req.Header.Get("Webhook-Id"))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("thanks"))}, nil
}

const hookURL = "https://hooks.example/secret-path"

// sending runs a Sender until the function is done.
func sending(t *testing.T, s Store, r receiver, log io.Writer, f func(*Sender, *tally)) {
	t.Helper()
	var counted tally
	sender := New(s, Options{URL: hookURL, Secrets: []Secret{make(Secret, 32)}, Observer: &counted, Log: zerolog.New(log)})
	sender.client.Transport = r
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { sender.Run(ctx) })
	f(sender, &counted)
	stop()
	running.Wait()
}

func TestEventsOfAMeetingAreSentInOrderAndMeetingsBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		s.add(store.Event{ID: "a1", MeetingID: "a"}, store.Event{ID: "b1", MeetingID: "b"}, store.Event{ID: "a2", MeetingID: "a"}, store.Event{ID: "a3", MeetingID: "a"})
		var mu sync.Mutex
		var order []string
		refusals := 2
		r := func(id string) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if id == "a2" && refusals > 0 {
				refusals--
				return 503, nil
			}
			order = append(order, id)
			return 204, nil
		}
		sending(t, s, r, io.Discard, func(sender *Sender, counted *tally) {
			time.Sleep(time.Minute)
			mu.Lock()
			if slices.Sort(order[:2]); !slices.Equal(order, []string{"a1", "b1", "a2", "a3"}) || s.left() != 0 {
				t.Errorf("%v, %d left", order, s.left())
			}
			mu.Unlock()
			s.add(store.Event{ID: "c1", MeetingID: "c"})
			sender.Wake()
			synctest.Wait() // no time passes
			mu.Lock()
			defer mu.Unlock()
			if order[len(order)-1] != "c1" {
				t.Errorf("what is new waits for the next round: %v", order)
			}
			if d, f := counted.delivered.Load(), counted.failed.Load(); d != 5 || f != 2 {
				t.Errorf("%d delivered, %d failed", d, f)
			}
		})
	})
}

// A right that is missing must not keep events back in silence.
func TestStoreThatTellsNoEventsIsOneWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{denied: true}
		s.add(store.Event{ID: "a1", MeetingID: "a"})
		var log strings.Builder
		sending(t, s, func(string) (int, error) { return 204, nil }, &log, func(sender *Sender, counted *tally) {
			time.Sleep(time.Minute)
			s.mu.Lock()
			s.denied = false
			s.mu.Unlock()
			if err := sender.Count(t.Context()); err != nil || counted.pending.Load() != 1 {
				t.Errorf("%d counted, %v", counted.pending.Load(), err)
			}
			time.Sleep(time.Minute)
		})
		if n := strings.Count(log.String(), "\n"); n != 2 || strings.Count(log.String(), "permission denied") != 1 || s.left() != 0 {
			t.Errorf("%d events left; the log:\n%s", s.left(), log.String())
		}
	})
}

func TestAttemptsBecomeRarerAndEndAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		for _, id := range []string{"a1", "a2"} {
			s.add(store.Event{ID: id, MeetingID: "a"})
		}
		var attempts []time.Time
		var log strings.Builder
		r := func(id string) (int, error) {
			if id != "a1" {
				t.Errorf("%s before its turn", id)
			}
			attempts = append(attempts, time.Now())
			return 0, errors.New("connection refused")
		}
		sending(t, s, r, &log, func(_ *Sender, counted *tally) {
			time.Sleep(25 * time.Hour)
			if s.left() != 0 || counted.givenUp.Load() != 2 {
				t.Errorf("%d left, %d given up", s.left(), counted.givenUp.Load())
			}
		})
		n := len(attempts)
		first, last := attempts[1].Sub(attempts[0]), attempts[n-1].Sub(attempts[n-2])
		if n < 250 || n > 700 || first > 3*time.Second || last < lastRetry/2 || last > lastRetry+pollEvery {
			t.Errorf("%d attempts, first after %s, last after %s", n, first, last)
		}
		if whole := attempts[n-1].Sub(attempts[0]); whole < giveUpAfter || whole > giveUpAfter+2*lastRetry {
			t.Errorf("tried for %s", whole)
		}
		if said := strings.Count(log.String(), `"level":"warn"`); said != 1 {
			t.Errorf("warned %d times", said)
		}
		if !strings.Contains(log.String(), "given up") || strings.Contains(log.String(), "secret-path") {
			t.Errorf("log: %.500s", log.String())
		}
	})
}

// A receiver that takes two seconds for each event tells eight a second. Thirty meetings say more than that
// for ever; the one event of another meeting does not wait behind their backlog.
func TestBusyMeetingsDelayNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		for m := range 30 {
			for n := range 500 {
				s.add(store.Event{ID: fmt.Sprint("busy", m, "-", n), MeetingID: fmt.Sprint("busy", m)})
			}
		}
		delivered := make(chan time.Time, 1)
		r := func(id string) (int, error) {
			time.Sleep(2 * time.Second)
			if id == "quiet" {
				delivered <- time.Now()
			}
			return 204, nil
		}
		sending(t, s, r, io.Discard, func(sender *Sender, _ *tally) {
			time.Sleep(time.Minute)
			added := time.Now()
			s.add(store.Event{ID: "quiet", MeetingID: "quiet"})
			sender.Wake()
			if took := (<-delivered).Sub(added); took > 3*2*time.Second { // 30 heads before it, 16 at a time
				t.Errorf("delivered after %s", took)
			}
		})
	})
}

// One meeting's events are refused or never answered, and those of others go out as if nothing was.
func TestEventsThatAreNotTakenHoldUpTheirMeetingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		for m := range 5 {
			s.add(store.Event{ID: "hangs", MeetingID: fmt.Sprint("hangs", m)}, store.Event{ID: "refused", MeetingID: fmt.Sprint("refused", m)})
		}
		var slowest time.Duration
		delivered := make(chan struct{})
		r := func(id string) (int, error) {
			switch id {
			case "hangs":
				time.Sleep(attemptTimeout)
				return 0, context.DeadlineExceeded
			case "refused":
				return 500, nil
			}
			delivered <- struct{}{}
			return 204, nil
		}
		sending(t, s, r, io.Discard, func(sender *Sender, counted *tally) {
			for n := range 200 {
				time.Sleep(700 * time.Millisecond)
				added := time.Now()
				s.add(store.Event{ID: fmt.Sprint("quiet", n), MeetingID: fmt.Sprint("quiet", n)})
				sender.Wake()
				<-delivered
				slowest = max(slowest, time.Since(added))
			}
			if counted.failed.Load() < 20 {
				t.Errorf("%d attempts failed", counted.failed.Load())
			}
		})
		if slowest > 2*gatherFor {
			t.Errorf("one was delivered after %s", slowest)
		}
	})
}

func TestOneMeetingIsGivenUpAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		put := func(age time.Duration, events ...store.Event) {
			s.add(events...)
			for _, e := range s.events[len(s.events)-len(events):] {
				e.At = e.At.Add(-age)
			}
		}
		put(giveUpAfter-time.Minute, store.Event{ID: "refused", MeetingID: "refused"}, store.Event{ID: "behind", MeetingID: "refused"})
		put(time.Hour, store.Event{ID: "young", MeetingID: "refused"})
		put(neverAfter+time.Minute, store.Event{ID: "never", MeetingID: "endless"}, store.Event{ID: "neither", MeetingID: "endless"})
		for n := range 200 { // as old, and only waiting for its turns: the receiver is slow
			put(giveUpAfter+time.Hour, store.Event{ID: fmt.Sprint("slow", n), MeetingID: "slow"})
		}
		r := func(id string) (int, error) {
			switch id {
			case "refused":
				return 500, nil
			case "never", "neither":
				t.Error("tried after two days")
			}
			time.Sleep(5 * time.Second)
			return 204, nil
		}
		sending(t, s, r, io.Discard, func(_ *Sender, counted *tally) {
			time.Sleep(time.Hour)
			if given, told := counted.givenUp.Load(), counted.delivered.Load(); given != 4 || told != 201 || s.left() != 0 {
				t.Errorf("%d given up, %d delivered, %d left", given, told, s.left())
			}
		})
	})
}

func TestWhatTheStoreCannotDeleteIsSentAgainUnderTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{broken: true}
		s.add(store.Event{ID: "a1", MeetingID: "a"})
		var ids []string
		sending(t, s, func(id string) (int, error) { ids = append(ids, id); return 200, nil }, io.Discard, func(_ *Sender, counted *tally) {
			time.Sleep(lease / 2)
			if n := counted.delivered.Load(); n != 1 {
				t.Errorf("%d attempts within the lease", n)
			}
			time.Sleep(lease)
			s.mu.Lock()
			s.broken = false
			s.mu.Unlock()
			time.Sleep(2 * lease)
		})
		if s.left() != 0 || !slices.Equal(ids, []string{"a1", "a1", "a1"}) && !slices.Equal(ids, []string{"a1", "a1"}) {
			t.Errorf("%v, %d left", ids, s.left())
		}
	})
}

func TestStoppingGivesBackWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		s.add(store.Event{ID: "a1", MeetingID: "a"})
		under := make(chan struct{})
		sender := New(s, Options{URL: hookURL, Observer: &tally{}, Log: zerolog.Nop()})
		sender.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			close(under)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { sender.Run(ctx) })
		<-under
		stop()
		running.Wait()
		if e := s.events[0]; e.due.After(time.Now()) {
			t.Errorf("due in %s", time.Until(e.due))
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// attempt sends one event over a real connection.
func attempt(t *testing.T, secrets []string, handler http.HandlerFunc, e store.Event) error {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	var keys []Secret
	for _, secret := range secrets {
		key, err := ParseSecret(secret)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	s := New(nil, Options{URL: server.URL + "/secret-path?token=secret", Secrets: keys, UserAgent: "signald/test", Log: zerolog.Nop()})
	defer s.client.CloseIdleConnections()
	return s.send(t.Context(), e)
}

func secretOf(b byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(slices.Repeat([]byte{b}, 32))
}

func TestPayloadIsSignedAsStandardWebhooksSays(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	e := store.Event{
		ID: "evt_1", Kind: store.ParticipantLeft, MeetingID: "k<7>", MeetingName: "周会", At: at,
		PeerID: "p_1", UserID: "u", Name: "王宇", Role: "guest", Reason: "timeout",
	}
	err := attempt(t, []string{secretOf(1), secretOf(2)}, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for secret, good := range map[string]bool{secretOf(1): true, secretOf(2): true, secretOf(3): false} {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Error(err)
				return
			}
			if err := wh.Verify(body, r.Header); (err == nil) != good {
				t.Errorf("%s: %v", secret, err)
			}
			if wh.Verify(append(body, ' '), r.Header) == nil {
				t.Error("a changed body passes")
			}
		}
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		want := `{"data":{"meeting_id":"k<7>","meeting_name":"周会","name":"王宇","peer_id":"p_1","reason":"timeout","role":"guest","user_id":"u"},` +
			`"timestamp":"2026-11-21T08:00:00Z","type":"participant.left"}`
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(got); err != nil || strings.TrimSpace(b.String()) != want {
			t.Errorf("%s", b.String())
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "signald/test" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
	}, e)
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlySuccessIsDelivery(t *testing.T) {
	for status, good := range map[int]bool{200: true, 201: true, 204: true, 299: true, 302: false, 307: false, 400: false, 410: false, 500: false} {
		err := attempt(t, nil, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/secret-path" {
				t.Error("a redirect was followed")
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}, store.Event{ID: "evt_1"})
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", status, err)
		}
	}
	err := attempt(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		_ = conn.Close()
	}, store.Event{ID: "evt_1"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("broken off: %v", err)
	}
}

func TestSecretsHaveEnoughBytes(t *testing.T) {
	for _, s := range []string{"", "whsec_", "hunter2", "whsec_!!!", base64.StdEncoding.EncodeToString(make([]byte, 32)), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))} {
		if _, err := ParseSecret(s); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
