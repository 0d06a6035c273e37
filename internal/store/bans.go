package store

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"signald/internal/netid"
)

// ErrBanNotFound: nobody was removed under this peer id, or it was taken back.
var ErrBanNotFound = errors.New("ban not found")

// The kinds of a Ban.
const (
	Denied = "denied" // in the lobby: the same person is refused
	Kicked = "kicked" // and others of its site wait for a host
	Banned = "banned" // and others of its network are refused, unless they are vouched for
)

// Person is what is known of who somebody is.
type Person struct {
	UserID   string
	Network  string // see Network; empty when unknown
	Verified bool   // UserID was vouched for
}

// Is reports whether two are the same person, as far as one can tell: vouched for, or both not and of the same
// network.
func (p Person) Is(q Person) bool {
	return p.UserID == q.UserID && p.Verified == q.Verified && (p.Verified || p.Network == q.Network)
}

// Ban keeps out, until its time is up, who was in the meeting, or its lobby, as PeerID.
type Ban struct {
	PeerID string
	Kind   string
	Person
	Name  string
	At    time.Time
	Until time.Time
}

// Network names whom an address belongs to: the address itself, or the /64 of an IPv6 one.
func Network(a netip.Addr) string {
	return netid.String(netid.Network(a))
}

// Match is how far a newcomer is whom a ban is about.
type Match uint8

// The matches.
const (
	Another Match = iota // it is not
	Perhaps              // it comes from the same site: a host is asked
	Same                 // as far as anybody can tell
)

// Match tells how far the ban is about such a newcomer, now. Whom a join token vouches for is that person at
// any address, and nobody else is: neither does a claim of its name make anybody that person, nor has it to
// answer for others of its name or its network. Without a token a name proves nothing by itself.
func (b Ban) Match(who Person, now time.Time) Match {
	switch {
	case !now.Before(b.Until):
		return Another
	case who.Verified:
		if b.Verified && b.UserID == who.UserID {
			return Same
		}
		return Another
	case !b.Verified && b.UserID == who.UserID && (b.Network == who.Network || b.Network == ""):
		return Same
	case !b.Verified && b.Kind == Banned && b.Network == who.Network && b.Network != "":
		return Same
	case b.Kind != Denied && SameSite(b.Network, who.Network):
		return Perhaps
	}
	return Another
}

// SameSite reports whether two networks, as Network writes them, are of one site. An unknown one is of none.
func SameSite(a, b string) bool {
	site := siteOf(a)
	return site.IsValid() && site == siteOf(b)
}

func siteOf(network string) netip.Prefix {
	address, _, _ := strings.Cut(network, "/")
	ip, _ := netip.ParseAddr(address) // the zero address has no site
	return netid.Site(ip)
}

func bansOf(meetingID string) (query, *[]Ban) {
	list := new([]Ban)
	return query{
		statement{
			sql:  `SELECT peer_id, kind, user_id, name, network, verified, at, until FROM bans WHERE meeting_id = $1 ORDER BY at, peer_id`,
			args: []any{meetingID},
		},
		func(r row) error {
			var b Ban
			if err := r.Scan(&b.PeerID, &b.Kind, &b.UserID, &b.Name, &b.Network, &b.Verified, scanTime{&b.At}, scanTime{&b.Until}); err != nil {
				return err
			}
			*list = append(*list, b)
			return nil
		},
	}, list
}

// Bans lists those of a meeting, in order of time.
func (s *Store) Bans(ctx context.Context, meetingID string) ([]Ban, error) {
	if err := key("meeting id", meetingID); err != nil {
		return nil, err
	}
	q, list := bansOf(meetingID)
	if err := s.read(ctx, "read the bans", q); err != nil {
		return nil, err
	}
	return *list, nil
}

// Bans lists those of this meeting. Where nobody is banned it asks nothing.
func (t *Tx) Bans(ctx context.Context) ([]Ban, error) {
	if !t.banned {
		return nil, t.err
	}
	q, list := bansOf(t.locked.MeetingID)
	if err := t.ask(ctx, q); err != nil {
		return nil, err
	}
	return *list, nil
}

// Ban adds a ban, or replaces the one of the same peer id.
func (t *Tx) Ban(b Ban) error {
	var texts texts
	texts.indexed("peer id", b.PeerID)
	texts.indexed("user id", b.UserID)
	texts.plain("name", b.Name)
	if texts.err != nil {
		return texts.err
	}
	t.banned = true
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO bans (meeting_id, peer_id, kind, user_id, name, network, verified, at, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (meeting_id, peer_id) DO UPDATE SET kind = excluded.kind, at = excluded.at, until = excluded.until`,
		args: []any{t.locked.MeetingID, b.PeerID, b.Kind, b.UserID, b.Name, b.Network, b.Verified, t.s.d.time(b.At), t.s.d.time(b.Until)},
	})
	return nil
}

// Unban takes a ban back; ErrBanNotFound.
func (t *Tx) Unban(ctx context.Context, peerID string) error {
	bans, err := t.Bans(ctx)
	if err != nil {
		return err
	}
	for _, b := range bans {
		if b.PeerID == peerID {
			t.queue = append(t.queue, statement{sql: `DELETE FROM bans WHERE meeting_id = $1 AND peer_id = $2`, args: []any{t.locked.MeetingID, peerID}})
			return nil
		}
	}
	return ErrBanNotFound
}
