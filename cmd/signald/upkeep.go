package main

import (
	"context"
	"fmt"
	"time"

	"signald/internal/geo"
	"signald/internal/upkeep"
	"signald/internal/webhook"
)

const (
	repeatCountsEvery  = 10 * time.Second // Redis may have lost what other nodes were told
	dropStrangersEvery = 5 * time.Second  // a participant that has left relays no more after it
	pruneEvery         = time.Hour
	tellSpentEvery     = time.Second // what one node allows too much of meanwhile is what an account holds
)

// tasks are all that this server does again and again.
func (s *server) tasks() []upkeep.Task {
	tasks := append(s.participants.Tasks(), upkeep.Task{Name: "repeat_counts", Every: repeatCountsEvery, Run: s.repeatCounts})
	if s.config.RedisURL != "" {
		tasks = append(tasks, upkeep.Task{Name: "forget_dead_counts", Every: time.Second, Run: s.forgetDeadCounts},
			upkeep.Task{Name: "tell_spent", Every: tellSpentEvery, Run: s.tellSpent},
			upkeep.Task{Name: "read_clock", Every: readClockEvery, Run: s.clock.look})
	}
	if s.relay != nil {
		tasks = append(tasks, upkeep.Task{Name: "drop_strangers", Every: dropStrangersEvery, Run: s.dropStrangers})
	}
	if s.tls != nil {
		tasks = append(tasks, upkeep.Task{Name: "look_at_certificate", Every: lookAtCertificateEvery, MaxBackoff: orderBackoff, Run: s.certificates.look})
	}
	if len(s.config.GeoIPDB) > 0 {
		tasks = append(tasks, upkeep.Task{Name: "watch_geoip", Every: geo.LookEvery, Run: s.places.Look})
	}
	if s.webhooks != nil {
		tasks = append(tasks, upkeep.Task{Name: "count_webhooks", Every: webhook.CountEvery, Run: s.webhooks.Count})
	} else {
		tasks = append(tasks, upkeep.Task{Name: "drop_webhooks", Every: time.Hour, Run: s.dropWebhooks()})
	}
	if s.config.AuditRetention > 0 {
		tasks = append(tasks, upkeep.Task{Name: "prune_audit", Every: pruneEvery, Run: s.pruneAudit})
	}
	return tasks
}

// runUpkeep runs the tasks until ctx ends, and gives up the node's lease then.
func (s *server) runUpkeep(ctx context.Context) {
	upkeep.Runner{Observer: s.metrics, Tracer: s.tracer, Log: s.log}.Run(ctx, s.tasks()...)
	s.participants.Forget()
}

// repeatCounts tells the other nodes again how many sockets each address has here.
func (s *server) repeatCounts(context.Context) error {
	for ip, n := range s.sockets.CountPerIP() {
		s.others.Sockets(ip, n)
	}
	return nil
}

// tellSpent tells the other nodes what was spent of the limits that are theirs, too.
func (s *server) tellSpent(context.Context) error {
	for name, l := range s.shared {
		if spent := l.Spent(); len(spent) > 0 {
			s.others.Spent(name, spent)
		}
	}
	return nil
}

// forgetDeadCounts forgets how many sockets addresses had at nodes whose lease has expired: their seats are
// kept for the grace time, and their clients must get in meanwhile.
func (s *server) forgetDeadCounts(ctx context.Context) error {
	live, err := s.participants.LiveNodes(ctx)
	if err == nil {
		s.elsewhere.Keep(live)
	}
	return err
}

// dropStrangers ends the relays of participants that have left, or were removed.
func (s *server) dropStrangers(ctx context.Context) error {
	n, err := s.relay.DropStrangers(ctx)
	if n > 0 {
		s.log.Debug().Int("allocations", n).Msg("TURN ended for participants that have left")
	}
	return err
}

// pruneAudit deletes rows of the audit that are older than they are to be kept.
func (s *server) pruneAudit(ctx context.Context) error {
	n, err := s.store.PruneAudit(ctx, time.Now().Add(-s.config.AuditRetention))
	if n > 0 {
		s.log.Info().Int64("rows", n).Msg("old rows of the audit deleted")
	}
	if err != nil {
		return fmt.Errorf("%w; if the database's role may not delete them, run signald audit prune as its owner", err)
	}
	return nil
}
