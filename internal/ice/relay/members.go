package relay

import (
	"context"
	"maps"
	"slices"
	"time"
)

// DropStrangers ends what was allocated by those who are in no meeting any more, and
// takes no more of their credentials: who was thrown out does not go on relaying. It
// tells how many allocations those were.
func (s *Server) DropStrangers(ctx context.Context) (int, error) {
	users := s.quota.who()
	if len(users) == 0 {
		return 0, nil
	}
	members, err := s.opts.Members(ctx, users)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	var ending []*relayConn
	s.mu.Lock()
	maps.DeleteFunc(s.gone, func(_ string, until time.Time) bool { return now.After(until) })
	for _, user := range users {
		if !members[user] {
			s.gone[user] = now.Add(s.opts.TTL)
		}
	}
	for _, r := range s.relays {
		if _, gone := s.gone[r.user]; gone {
			ending = append(ending, r)
		}
	}
	s.mu.Unlock()
	for _, r := range ending {
		_ = r.Close() // the library notices, and forgets the allocation
	}
	s.stats.Strangers.Add(int64(len(ending)))
	return len(ending), nil
}

func (s *Server) isGone(user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gone := s.gone[user]
	return gone
}

// who has allocations.
func (q *quota) who() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Keys(q.users))
}
