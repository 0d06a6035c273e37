package main

import (
	"context"
	"time"

	"signald/internal/metrics"
	"signald/internal/store"
	"signald/internal/webhook"
)

// openWebhooks has the store write down what happens, if anybody is to be told.
func (s *server) openWebhooks(db observedStore, counted *metrics.Metrics) {
	if s.config.WebhookURL == "" {
		return
	}
	s.webhooks = webhook.New(db, webhook.Options{
		URL: s.config.WebhookURL, Secrets: s.config.webhookSecrets,
		UserAgent: "signald/" + version, Observer: counted, Tracer: s.tracer, Log: s.log,
	})
	s.store.RecordEvents(s.webhooks.Wake)
}

// dropWebhooks answers what deletes, once, what was written down before the setting was taken away: nobody
// will ever take it.
func (s *server) dropWebhooks() func(context.Context) error {
	dropped := false
	return func(ctx context.Context) error {
		if dropped {
			return nil
		}
		err := s.store.DropEvents(ctx)
		dropped = err == nil
		return err
	}
}

// runWebhooks sends until ctx ends.
func (s *server) runWebhooks(ctx context.Context) {
	if s.webhooks != nil {
		s.webhooks.Run(ctx)
	}
}

func (o observedStore) ClaimEvents(ctx context.Context, limit int, lease time.Duration) ([]store.Event, error) {
	return observed(ctx, o, "claim_events", func(ctx context.Context) ([]store.Event, error) { return o.Store.ClaimEvents(ctx, limit, lease) })
}

func (o observedStore) PendingEvents(ctx context.Context) (n int, oldest time.Duration, err error) {
	ctx, call := o.begin(ctx, "pending_events")
	defer func() { o.end(call, err) }()
	return o.Store.PendingEvents(ctx)
}

func (o observedStore) GiveUpEvents(ctx context.Context, meetingID string, age time.Duration) (int, error) {
	return observed(ctx, o, "give_up_events", func(ctx context.Context) (int, error) { return o.Store.GiveUpEvents(ctx, meetingID, age) })
}

func (o observedStore) DeleteEvent(ctx context.Context, e store.Event) (err error) {
	ctx, call := o.begin(ctx, "delete_event")
	defer func() { o.end(call, err) }()
	return o.Store.DeleteEvent(ctx, e)
}

func (o observedStore) RetryEvent(ctx context.Context, e store.Event, after time.Duration) (err error) {
	ctx, call := o.begin(ctx, "retry_event")
	defer func() { o.end(call, err) }()
	return o.Store.RetryEvent(ctx, e, after)
}
