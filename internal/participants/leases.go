package participants

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"signald/internal/store"
)

const (
	// renewEvery is also the pause after a failure: whatever made it fail, the lease must not
	// expire because of a backoff.
	renewEvery = lease / 4

	forgetAfter = 10 * time.Minute // the lease of a dead node is deleted; a node that was only away takes it anew

	// A meeting's survivor has so long to look after what another node has left in it. Then
	// any node does: they may see different nodes live.
	survivorsTime = 2 * lease
)

// Register takes this node's lease: before its first join, or another node would
// think the participants that join abandoned.
func (s *Service) Register(ctx context.Context) error {
	return s.store.RegisterNode(ctx, s.opts.NodeID)
}

// renew keeps this node's lease, however long other tasks take: a node that is only
// slow must not lose its participants to another.
func (s *Service) renew(ctx context.Context) error {
	err := s.Register(ctx)
	s.outage.note(err)
	return err
}

// Forget ends the lease at a planned stop, when no task runs any more.
func (s *Service) Forget() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.store.ForgetNode(ctx, s.opts.NodeID) // it ends by itself, only later
}

// leases are the signs of life of all nodes.
type leases struct {
	mu    sync.Mutex
	signs map[string]sign
}

// sign is a node's last sign of life: what the store says of it, and when, by our
// monotonic clock, that was first seen.
type sign struct{ said, seen time.Time }

// LiveNodes lists the nodes that have given a sign of life within their lease, this one among
// them. It does not ask how old the sign is by any wall clock: one that jumps kills no node.
func (s *Service) LiveNodes(ctx context.Context) ([]string, error) { return s.liveNodes(ctx) }

func (s *Service) liveNodes(ctx context.Context) ([]string, error) {
	if s.opts.Alone {
		return []string{s.opts.NodeID}, nil
	}
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	live, _ := s.leases.look(nodes)
	if !slices.Contains(live, s.opts.NodeID) {
		live = append(live, s.opts.NodeID)
	}
	return live, nil
}

// forgetDeadNodes deletes the leases of nodes that ended without giving them up, also when this one is alone.
func (s *Service) forgetDeadNodes(ctx context.Context) error {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return err
	}
	_, dead := s.leases.look(nodes)
	var failed []error
	for _, id := range dead {
		if err := s.store.ForgetNode(ctx, id); err != nil {
			failed = append(failed, err)
			continue
		}
		s.leases.forget(id)
	}
	return errors.Join(failed...)
}

// look takes in what the store says, and sorts the nodes.
func (l *leases) look(nodes map[string]time.Time) (live, dead []string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, said := range nodes {
		last, known := l.signs[id]
		if !known || !last.said.Equal(said) {
			last = sign{said, now}
			l.signs[id] = last
		}
		switch age := now.Sub(last.seen); {
		case age < lease:
			live = append(live, id)
		case age > forgetAfter:
			dead = append(dead, id)
		}
	}
	maps.DeleteFunc(l.signs, func(id string, _ sign) bool { _, there := nodes[id]; return !there })
	return live, dead
}

func (l *leases) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.signs, id)
}

// survivor is the live node that looks after what dead ones have left in a meeting, the same
// for every node that sees the same ones live (rendezvous hashing).
func survivor(meetingID string, live []string) string {
	var best string
	var most uint64
	for _, node := range live {
		h := fnv.New64a()
		_, _ = h.Write([]byte(node)) // never fails, says its documentation
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(meetingID))
		if sum := mix(h.Sum64()); best == "" || sum > most || sum == most && node < best {
			best, most = node, sum
		}
	}
	return best
}

// mix spreads the bits of a sum whose last bytes differ little (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// adoptAbandoned marks participants away that are online at a node whose lease has expired.
func (s *Service) adoptAbandoned(ctx context.Context) error {
	live, err := s.liveNodes(ctx) // in any case: a lease runs from when it was seen first
	if err != nil {
		return err
	}
	if !s.opts.Alone && time.Since(s.outage.over()) < lease {
		return nil // after an outage every lease has expired: let the nodes renew theirs first
	}
	abandoned, err := s.store.Abandoned(ctx, live)
	if err != nil {
		return err
	}
	if len(abandoned) > 0 {
		if live, err = s.liveNodes(ctx); err != nil { // a node may have started since, and has joins already
			return err
		}
	}
	return perMeeting(ctx, &s.setbacks.abandoned, s.mine(abandoned, live), meetingOf, func(p store.Presence) error {
		return s.depart(ctx, departure{meetingID: p.MeetingID, peerID: p.PeerID, connID: p.ConnID, reason: ReasonTimeout, away: true, swept: true})
	})
}

// mine are the abandoned participants that this node marks away: those of its share of the
// meetings, and those that the other survivors have left lying.
func (s *Service) mine(abandoned []store.Presence, live []string) (mine []store.Presence) {
	seen := make(map[string]bool, len(abandoned))
	for _, p := range abandoned {
		if slices.Contains(live, p.NodeID) {
			continue
		}
		seen[p.ConnID] = true
		if age := s.abandoned.age(p.ConnID, time.Time{}); age >= survivorsTime || survivor(p.MeetingID, live) == s.opts.NodeID {
			mine = append(mine, p)
		}
	}
	s.abandoned.keep(seen)
	return mine
}
