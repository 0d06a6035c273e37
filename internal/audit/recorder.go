package audit

import (
	"context"
	"slices"

	"github.com/rs/zerolog"

	"signald/internal/store"
)

// Groups of events that may be recorded beside creations.
const (
	Actions = "actions" // what hosts and the admin do to others: kick, ban, end
	Logins  = "logins"  // failed logins of the admin
)

var groupOf = map[string]string{
	store.EventKick: Actions, store.EventBan: Actions, store.EventEnd: Actions, store.EventLoginFailed: Logins,
}

// Recorder writes events into the audit. A nil one writes none.
type Recorder struct {
	Store interface {
		AddAuditEvent(context.Context, store.NewAuditEvent) error
	}
	Groups  []string // of which events are recorded
	Privacy Privacy
	Log     zerolog.Logger
}

// Record writes the event down, unless its group is not recorded. It is durable when Record returns; that
// it could not be written is logged, and undoes nothing of what was done.
func (r *Recorder) Record(ctx context.Context, e store.NewAuditEvent) {
	if r == nil || !slices.Contains(r.Groups, groupOf[e.Kind]) {
		return
	}
	e.IP = r.Privacy.Of(e.IP)
	if err := r.Store.AddAuditEvent(context.WithoutCancel(ctx), e); err != nil { // the store bounds it
		r.Log.Error().Err(err).Str("kind", e.Kind).Msg("event not recorded in the audit")
	}
}
