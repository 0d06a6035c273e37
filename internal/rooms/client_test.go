package rooms_test

import (
	"fmt"
	"maps"
	"math"
	"reflect"

	"signald/internal/rooms"
)

// client is what a client of protocol 2 makes of its snapshot and its deltas, by
// the protocol's rule and nothing else.
type client struct {
	rev     int64
	peers   map[string]shown
	relayed []string
}

// shown is what a delta shows of a peer.
type shown struct {
	UserID, Name, Role string
	Online             bool
	Media              rooms.Media
	Fingerprint        string
}

func show(p rooms.Peer) shown {
	return shown{p.UserID, p.Name, p.Role, p.Online, p.Media, p.Fingerprint}
}

func showAll(r rooms.Roster) map[string]shown {
	all := map[string]shown{}
	for _, p := range r.Peers {
		all[p.PeerID] = show(p)
	}
	return all
}

// replay reads a member's frames from the first one, the snapshot. It reports the
// first that breaks the rule. A relayed message begins with its sender's peer id
// and the revision it joined at; without one, the client must know the sender.
func replay(frames []rooms.Frame) (*client, error) {
	if len(frames) == 0 {
		return nil, fmt.Errorf("no answer")
	}
	answer, ok := frames[0].(whole)
	if !ok {
		return nil, fmt.Errorf("first came %v, not the answer", frames[0])
	}
	c := &client{rev: answer.Rev, peers: showAll(answer.Roster)}
	for i, f := range frames[1:] {
		switch f := f.(type) {
		case rooms.Delta:
			if err := c.take(f); err != nil {
				return nil, fmt.Errorf("frame %d: %w", i+1, err)
			}
		case string:
			from, joined := "", int64(math.MaxInt64)
			_, _ = fmt.Sscan(f, &from, &joined)
			if _, known := c.peers[from]; !known && c.rev < joined { // else it has left meanwhile
				return nil, fmt.Errorf("frame %d: %q came before its sender", i+1, f)
			}
			c.relayed = append(c.relayed, f)
		}
	}
	return c, nil
}

func (c *client) take(d rooms.Delta) error {
	switch {
	case d.Rev <= c.rev:
		return nil
	case d.Since > c.rev:
		return fmt.Errorf("gap: at %d, delta of %d..%d", c.rev, d.Since, d.Rev)
	}
	for _, p := range d.Joined {
		c.peers[p.PeerID] = show(p)
	}
	for _, p := range d.Changed {
		mine, known := c.peers[p.PeerID]
		if !known {
			return fmt.Errorf("delta of %d..%d changes %s, who is not here", d.Since, d.Rev, p.PeerID)
		}
		mine.Name, mine.Role, mine.Online, mine.Media = p.Name, p.Role, p.Online, p.Media
		c.peers[p.PeerID] = mine
	}
	for _, l := range d.Left {
		delete(c.peers, l.PeerID)
	}
	c.rev = d.Rev
	return nil
}

// agrees reports what differs from the roster.
func (c *client) agrees(r rooms.Roster) error {
	if want := showAll(r); c.rev != r.Rev || !maps.EqualFunc(c.peers, want, func(a, b shown) bool { return reflect.DeepEqual(a, b) }) {
		return fmt.Errorf("client at rev %d has %v, the room at rev %d %v", c.rev, c.peers, r.Rev, want)
	}
	return nil
}
