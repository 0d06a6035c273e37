// Package webhook is how the operator's own server hears of meetings: signed POSTs of what the store has
// written down, each event at least once, those of a meeting in order.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/tracing"
)

// Store keeps the events until they are told. Calls are bounded in time.
type Store interface {
	ClaimEvents(ctx context.Context, limit int, lease time.Duration) ([]store.Event, error)
	DeleteEvent(context.Context, store.Event) error
	RetryEvent(ctx context.Context, e store.Event, after time.Duration) error
	GiveUpEvents(ctx context.Context, meetingID string, age time.Duration) (n int, err error)
	PendingEvents(ctx context.Context) (n int, oldest time.Duration, err error)
}

// Observer counts. Its methods must not block.
type Observer interface {
	WebhookTried(delivered bool, took time.Duration)
	WebhooksGivenUp(n int)
	WebhooksPending(n int, oldest time.Duration)
}

const (
	attemptTimeout = 10 * time.Second
	lease          = 15 * time.Second // longer than an attempt takes; after it the events of a dead node are others'
	atOnce         = 16               // meetings whose events are on their way
	gatherFor      = 5 * time.Millisecond
	pollEvery      = time.Second // for events of other nodes, and those that are due again
	firstRetry     = time.Second
	lastRetry      = 5 * time.Minute
	giveUpAfter    = 24 * time.Hour
	neverAfter     = 2 * giveUpAfter // a meeting that has more events than its turns can tell
)

// CountEvery is how often Count should be called.
const CountEvery = 5 * time.Second

// Options of a Sender.
type Options struct {
	URL       string
	Secrets   []Secret // the payload is signed with each
	UserAgent string
	Observer  Observer
	Tracer    *tracing.Tracer
	Log       zerolog.Logger
}

// Sender tells the operator's server.
type Sender struct {
	store  Store
	opts   Options
	client *http.Client
	woken  chan struct{} // holds one token while there may be something new

	failing atomic.Bool // the last attempt did

	unclaimed bool // Run's: the store did not answer what is due
}

// New makes a Sender, which sends while Run runs.
func New(s Store, opts Options) *Sender {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // settings come from one place, and it has none for this
	transport.MaxIdleConnsPerHost = atOnce
	return &Sender{
		store: s, opts: opts, woken: make(chan struct{}, 1),
		client: &http.Client{
			Transport: transport, Timeout: attemptTimeout,
			// A redirect is no delivery: it could lead to where the operator never pointed.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Wake says that there is something new.
func (s *Sender) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends. Every attempt is on its own: a slow one holds up its meeting and one of atOnce places.
func (s *Sender) Run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	var attempts sync.WaitGroup
	defer attempts.Wait()
	ended := make(chan struct{}, atOnce) // from attempts, which never wait for room
	for free := atOnce; ctx.Err() == nil; {
		for _, e := range s.claim(ctx, free) {
			free--
			attempts.Go(func() {
				s.try(ctx, e)
				ended <- struct{}{}
			})
		}
		woken := s.woken
		if free == 0 {
			woken = nil
		}
		select {
		case <-ended:
			free += 1 + gather(ended, free+1)
		case <-time.After(pollEvery):
		case <-woken:
		case <-ctx.Done():
		}
	}
}

// Count tells the observer how many events wait.
func (s *Sender) Count(ctx context.Context) error {
	n, oldest, err := s.store.PendingEvents(ctx)
	if err == nil {
		s.opts.Observer.WebhooksPending(n, oldest)
	}
	return err
}

// gather waits a moment for attempts that end with the first, so that one claim fills all their places, and returns how
// many those were. free are the places already.
func gather(ended <-chan struct{}, free int) (more int) {
	moment := time.NewTimer(gatherFor)
	defer moment.Stop()
	for free+more < atOnce {
		select {
		case <-ended:
			more++
		case <-moment.C:
			return more
		}
	}
	return more
}

// claim takes events for free places.
func (s *Sender) claim(ctx context.Context, free int) []store.Event {
	if free == 0 {
		return nil
	}
	events, err := s.store.ClaimEvents(ctx, free, lease)
	switch {
	case err != nil && !s.unclaimed && ctx.Err() == nil:
		s.opts.Log.Warn().Err(err).Msg("webhooks put off: the store does not tell what is due")
	case err == nil && s.unclaimed:
		s.opts.Log.Info().Msg("webhooks go on")
	}
	s.unclaimed = err != nil
	return events
}

// try sends an event and notes what became of it. What cannot be noted is sent again after the lease.
func (s *Sender) try(ctx context.Context, e store.Event) {
	noting := context.WithoutCancel(ctx) // the store's calls are bounded
	if e.Age > neverAfter {
		s.giveUp(ctx, e.MeetingID)
		return
	}
	ctx, span := s.opts.Tracer.Start(ctx, tracing.Client, "webhook "+e.Kind)
	defer span.End()
	began := time.Now()
	err := s.send(ctx, e)
	took := time.Since(began)
	switch {
	case err == nil:
		s.opts.Observer.WebhookTried(true, took)
		if err := s.store.DeleteEvent(noting, e); err != nil {
			s.opts.Log.Debug().Err(err).Str("event", e.ID).Msg("webhook will be sent again")
		}
		if s.failing.Swap(false) {
			s.opts.Log.Info().Msg("webhooks are delivered again")
		}
		return
	case ctx.Err() != nil: // the server stops: whichever goes on need not wait
		_ = s.store.RetryEvent(noting, e, 0)
		return
	}
	s.opts.Observer.WebhookTried(false, took)
	span.Fail("not_delivered")
	level := zerolog.DebugLevel
	if !s.failing.Swap(true) {
		level = zerolog.WarnLevel
	}
	s.opts.Log.WithLevel(level).Ctx(ctx).Err(err).Str("event", e.ID).Str("kind", e.Kind).Int("attempts", e.Attempts).Msg("webhook not delivered")
	if e.Age > giveUpAfter {
		s.giveUp(ctx, e.MeetingID)
		return
	}
	_ = s.store.RetryEvent(noting, e, backoff(e.Attempts)) // else after the lease
}

// giveUp ends the trying for what is too old of a meeting. Events of others have their own turns.
func (s *Sender) giveUp(ctx context.Context, meetingID string) {
	// A server that stops breaks it off, and one that goes on does the rest.
	if n, _ := s.store.GiveUpEvents(ctx, meetingID, giveUpAfter); n > 0 {
		s.opts.Observer.WebhooksGivenUp(n)
		s.opts.Log.Error().Int("events", n).Msg("webhooks given up: nobody took them for a day")
	}
}

// backoff doubles with every attempt, and is spread by half, so that nodes and meetings do not come all
// at once when the receiver is back.
func backoff(attempts int) time.Duration {
	d := lastRetry
	if doublings := attempts - 1; doublings < 16 {
		d = min(firstRetry<<doublings, lastRetry)
	}
	return d/2 + rand.N(d/2) //nolint:gosec // no secret
}

// payload is the body, in the form that Standard Webhooks recommends.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	MeetingID   string `json:"meeting_id"`
	MeetingName string `json:"meeting_name"` // empty if it has none

	PeerID string `json:"peer_id,omitempty"` // this and what follows: of a participant's event
	UserID string `json:"user_id,omitempty"`
	Name   string `json:"name,omitempty"`
	Role   string `json:"role,omitempty"`
	Reason string `json:"reason,omitempty"` // of leaving
}

// send makes one attempt. Its error names neither the URL, which may hold a secret, nor what was answered.
func (s *Sender) send(ctx context.Context, e store.Event) error {
	body, err := json.Marshal(payload{Type: e.Kind, Timestamp: e.At, Data: data{
		MeetingID: e.MeetingID, MeetingName: e.MeetingName,
		PeerID: e.PeerID, UserID: e.UserID, Name: e.Name, Role: e.Role, Reason: e.Reason,
	}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.opts.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be asked") // checked by the settings
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.opts.UserAgent)
	req.Header.Set("Webhook-Id", e.ID)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", sign(s.opts.Secrets, e.ID, now, body))
	span := tracing.Current(ctx)
	span.Text(tracing.HTTPMethod, req.Method)
	span.Number(tracing.HTTPResend, e.Attempts-1)
	if parent := span.Traceparent(); parent != "" {
		req.Header.Set("Traceparent", parent)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var around *url.Error
		if errors.As(err, &around) {
			err = around.Err
		}
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	span.Number(tracing.HTTPStatus, resp.StatusCode)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("answered %d", resp.StatusCode)
	}
	return nil
}
