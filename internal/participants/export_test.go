package participants

import (
	"context"
	"time"

	"signald/internal/store"
)

// Since is what a Run remembers of who is away.
type Since = map[store.Presence]time.Time

// Sweep is one round of Run. What it put off shows in Late.
func (s *Service) Sweep(ctx context.Context, since Since) { _ = s.sweep(ctx, since) }
