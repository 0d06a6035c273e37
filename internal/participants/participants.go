// Package participants is who someone is in a meeting: joining, coming back,
// changing, leaving, being reaped.
//
// Whether someone may join, and as whom, is decided in the store's transaction
// that holds the meeting's lock, so that two joins never take the last seat, on
// any nodes. What was decided becomes changes with revisions, which go to the
// room in that order.
package participants

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/password"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// Store is what we ask of the database. Calls are bounded in time, and what a
// nil error says was done survives a restart.
type Store interface {
	InMeeting(ctx context.Context, meetingID string, fn func(context.Context, *store.Tx) error) error
	ParticipantByResume(ctx context.Context, hash []byte) (store.Participant, error)
	// LobbyOf is the meeting in whose lobby the ticket of this hash waits; empty: none.
	LobbyOf(ctx context.Context, ticketHash []byte) (meetingID string, err error)
	HasSecret(ctx context.Context, meetingID string, hashes ...[]byte) (bool, error)
	AwayBefore(ctx context.Context, t time.Time) ([]store.Presence, error)
	Abandoned(ctx context.Context, live []string) ([]store.Presence, error)
	RegisterNode(ctx context.Context, nodeID string) error
	ForgetNode(ctx context.Context, nodeID string) error
	Confirm(ctx context.Context, conns map[string]string) error
	Expired(ctx context.Context, after, upTo time.Time) ([]string, error)
	Revs(ctx context.Context, meetingIDs []string) (map[string]int64, error)
	Nodes(ctx context.Context) (map[string]time.Time, error)
	Gone(ctx context.Context, nodes []string) ([]store.Gone, error)
	Purge(ctx context.Context, now time.Time) error
	Expire(ctx context.Context, now time.Time) error
	// Sweep deletes some of what is marked as gone, and reports whether there may be more.
	Sweep(ctx context.Context) (more bool, err error)
	// Pause waits until some more may be deleted: deletions leave others most of the time.
	Pause(ctx context.Context) error
	Meeting(ctx context.Context, id string) (store.Meeting, store.State, int, error)
}

// Cluster is the other nodes.
type Cluster interface {
	// Announce tells them of changes, without waiting. What is lost on the way they find in the store.
	// Of the context only the trace counts.
	Announce(ctx context.Context, meetingID string, changes []rooms.Change)
	// Handover fetches what a node keeps for a participant that has come here by a
	// revision. An error means that it was not reached and may be asked again: one of
	// package cluster says why.
	Handover(ctx context.Context, node, meetingID, peerID string, rev int64) (rooms.Held, error)
	// Up reports whether what is announced arrives, as far as can be known.
	Up() bool
	// Hint tells the nodes of a meeting something that may get lost.
	Hint(meetingID string, s rooms.Speech)
	// Report tells them what a participant says of its pairs. It may get lost.
	Report(meetingID string, r pairs.Report)
}

// Roles of a participant.
const (
	Host   = rooms.RoleHost   // by the host key, or in place of who has it
	Cohost = rooms.RoleCohost // by a host's word
	Guest  = "guest"
)

// Reasons for a participant's end that are ours to give.
const (
	ReasonLeave    = "leave"
	ReasonTimeout  = "timeout"
	ReasonReplaced = "replaced"
	ReasonEnded    = "ended"
	ReasonKicked   = "kicked"
	ReasonBanned   = "banned"
)

// Options of a Service.
type Options struct {
	NodeID  string
	Alone   bool          // no other node uses the database
	Cluster Cluster       // nil: there are no other nodes
	Grace   time.Duration // how long someone away keeps the seat

	// Country is that of an address, for who lets people in; empty when unknown.
	Country func(netip.Addr) string

	Passwords *password.Hasher // nil: one of its own
	Guesses   *limits.Guesses  // at passwords; nil: without a bound
	Log       zerolog.Logger
}

// Service seats participants.
type Service struct {
	store Store
	rooms *rooms.Rooms
	opts  Options

	missed atomic.Bool // messages of other nodes may be lost
	outage outage
	leases leases
	late   late
	stats  Stats

	// each of one task of Tasks alone
	compared  time.Time
	expired   time.Time                 // up to when meetings were looked for whose time has passed
	behind    map[string]int64          // rosters that were behind, and what they were behind of
	abandoned sightings[string]         // connections of dead nodes
	since     sightings[store.Presence] // participants that are away
	gone      sightings[store.Gone]     // places in lobbies whose connection is gone
	setbacks  struct{ late, doubtful, stale, strays, abandoned, lobbies, away, expired setbacks }

	mu   sync.Mutex
	owed []debt // what other nodes still hold for participants of this one

	doubtful map[string]bool   // meetings of which a change may have been made unanswered
	waits    map[string]string // tickets that wait at this node, and their connections

	confirmed map[string]string // participants whose previous tokens are to end, and their connections
}

// New makes a Service, whose Tasks are to be run.
func New(s Store, r *rooms.Rooms, opts Options) *Service {
	if opts.Cluster == nil {
		opts.Cluster = cluster.Alone{}
	}
	if opts.Passwords == nil {
		opts.Passwords = password.New()
	}
	if opts.Country == nil {
		opts.Country = func(netip.Addr) string { return "" }
	}
	return &Service{
		store: s, rooms: r, opts: opts, leases: leases{signs: map[string]sign{}},
		abandoned: sightings[string]{}, since: sightings[store.Presence]{}, gone: sightings[store.Gone]{},
		doubtful: map[string]bool{}, waits: map[string]string{}, confirmed: map[string]string{},
	}
}

// Connection is what joins: one connection of one client.
type Connection struct {
	ID  string // unique among all connections there have been
	Out rooms.Outbox
	IP  netip.Addr

	Lane     string    // names the client's connection among those that guess at passwords
	Patience time.Time // until when it may wait for its turn; zero: as the limit says

	Identity *identity.Identity // vouched for by a token; nil: whoever it says
}

// Seat is a connection's place in a meeting. Its fields are read-only.
type Seat struct {
	*rooms.Member
	MeetingID, PeerID, UserID, Role string
	Verified                        bool // the user id is the subject of a join token
	Protocol                        int
	connID                          string
	ip                              netip.Addr

	// HasPrevious: another token is good beside the one in the answer, until Confirmed.
	HasPrevious bool
}

// Participant is the seat's row, unless another connection has the seat by now.
func (s *Seat) Participant(ctx context.Context, tx *store.Tx) (store.Participant, error) {
	p, err := tx.ByPeer(ctx, s.PeerID)
	if err == nil && p.ConnID != s.connID {
		err = rooms.ErrSeatTaken
	}
	return p, err
}

// Joined is what a join came to.
type Joined struct {
	Seat        *Seat
	Roster      rooms.Roster // as of the join or later
	State       store.State  // of the meeting
	ResumeToken string
	Resumed     bool

	AdmissionToken string   // spares the lobby from now on; empty unless it was new
	Past           []string // the seats that it had before, and whose messages it may read

	Wait *Wait // if there is no seat yet: its place in the lobby, and nothing else here
}

// Join seats a connection in a meeting, as someone new or, by its resume token,
// as who it was before. What happens in the room is held back until
// Seat.Start has sent the answer.
//
// Errors: those of docs/PROTOCOL.md, "Join".
func (s *Service) Join(ctx context.Context, j *protocol.Join, c Connection) (*Joined, error) {
	a := &admission{service: s, join: j, conn: c, peerID: newPeerID(), token: newResumeToken()}
	err := s.nowhere(ctx, j)
	if err == nil {
		err = s.store.InMeeting(ctx, j.MeetingID, a.decide)
	}
	for errors.Is(err, errPasswordUnchecked) { // too slow a thing to do under the meeting's lock
		if err = a.checkPassword(ctx); err == nil {
			err = s.store.InMeeting(ctx, j.MeetingID, a.decide)
		}
	}
	if a.mayBeAskedAgain(err) {
		err = s.askAgain(ctx, a, err)
	}
	if err != nil {
		if a.who.PeerID != "" && errors.Is(err, store.ErrUnavailable) { // it may have been done all the same
			s.postpone(a.undo())
		}
		return nil, s.settle(ctx, j.MeetingID, nil, err)
	}
	if a.waits != nil {
		return s.wait(ctx, a)
	}
	joined, err := s.seat(ctx, a)
	if errors.Is(err, rooms.ErrSeatTaken) {
		return nil, s.whyTaken(ctx, a)
	}
	if err != nil {
		_ = s.depart(context.WithoutCancel(ctx), a.undo()) // kept and tried again
		return nil, translate(err)
	}
	return joined, nil
}

// whyTaken puts into words for a join why its seat was taken before the connection had it.
func (s *Service) whyTaken(ctx context.Context, a *admission) error {
	err := s.store.InMeeting(ctx, a.join.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		if end := tx.State().ExpiresAt; end != nil && !time.Now().Before(*end) {
			return fault.New(fault.MeetingEnded)
		}
		kind, err := removed(ctx, tx, a.who)
		if err == nil && kind != "" {
			err = refusal(kind)
		}
		return err
	})
	if err == nil { // another connection has it, which came with the same token
		err = fault.New(fault.ResumeExpired)
	}
	return translate(err)
}

// seat brings what was decided into the room, and the connection to its seat.
func (s *Service) seat(ctx context.Context, a *admission) (*Joined, error) {
	room := s.rooms.Open(a.join.MeetingID) // before others hear of it: what they send at once waits there
	defer s.rooms.Release(room)
	s.announce(ctx, a.join.MeetingID, a.changes...) // though the room may not load for us
	if err := room.Load(ctx); err != nil {
		return nil, err
	}
	rev := a.changes[len(a.changes)-1].Rev
	if err := room.Await(ctx, rev); err != nil {
		return nil, fault.New(fault.Unavailable).Because(err)
	}
	member, roster, err := room.Attach(a.who.PeerID, a.conn.ID, a.conn.Out)
	if err != nil {
		return nil, err
	}
	if a.resumed {
		member.Resumed()
	}
	if a.cameFrom != "" && a.cameFrom != s.opts.NodeID {
		s.fetch(ctx, owedBy(a.cameFrom, a.join.MeetingID, a.who.PeerID, rev, member))
	}
	return &Joined{
		Seat: &Seat{
			Member: member, MeetingID: a.join.MeetingID, PeerID: a.who.PeerID, UserID: a.who.UserID,
			Role: a.who.Role, Verified: a.who.Verified, Protocol: a.who.Protocol, connID: a.conn.ID, ip: a.conn.IP,
			HasPrevious: a.resumed || len(a.who.PreviousHash) > 0,
		},
		Roster: roster, State: a.state, ResumeToken: a.token, Resumed: a.resumed, AdmissionToken: a.admissionToken, Past: a.past,
	}, nil
}

// Confirmed takes the client's word that it has the answer to its join, and so its next token: the
// previous one ends soon.
func (s *Service) Confirmed(seat *Seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed[seat.PeerID] = seat.connID
}

// confirmAtOnce is how many tokens end by one statement.
const confirmAtOnce = 500

// endPrevious ends the previous tokens of participants whose clients have the next ones.
func (s *Service) endPrevious(ctx context.Context) error {
	for {
		some := map[string]string{}
		s.mu.Lock()
		for peerID, connID := range s.confirmed {
			if some[peerID] = connID; len(some) == confirmAtOnce {
				break
			}
		}
		s.mu.Unlock()
		if len(some) == 0 {
			return nil
		}
		if err := s.store.Confirm(ctx, some); err != nil {
			return err
		}
		s.mu.Lock()
		for peerID, connID := range some {
			if s.confirmed[peerID] == connID {
				delete(s.confirmed, peerID)
			}
		}
		s.mu.Unlock()
	}
}

// change changes the participant of a seat, unless another connection has it by
// now, and tells the room.
func (s *Service) change(ctx context.Context, seat *Seat, f func(store.State, *store.Participant) error) error {
	var changes []rooms.Change
	err := s.store.InMeeting(ctx, seat.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		p, err := seat.Participant(ctx, tx)
		if err != nil {
			return err
		}
		if err := f(*tx.State(), &p); err != nil {
			return err
		}
		changes = append(changes, rooms.Change{Rev: tx.NextRev(), Kind: rooms.Changed, Peer: peerOf(p)})
		return tx.Update(ctx, p)
	})
	if err != nil {
		return translate(err)
	}
	s.announce(ctx, seat.MeetingID, changes...)
	return nil
}

// announceAtOnce is how many changes go to other nodes in one message: with protocol
// 1's blobs more would be larger than they take.
const announceAtOnce = 8

// announce tells the room here, and the rooms of other nodes.
func (s *Service) announce(ctx context.Context, meetingID string, changes ...rooms.Change) {
	s.rooms.Apply(meetingID, changes...)
	for some := range slices.Chunk(changes, announceAtOnce) {
		s.opts.Cluster.Announce(ctx, meetingID, some)
	}
}

// Announce is for changes of others' making: the room here is told of them, and
// the rooms of other nodes.
func (s *Service) Announce(ctx context.Context, meetingID string, changes ...rooms.Change) {
	s.announce(ctx, meetingID, changes...)
}

// Doubt is for changes of others' making that the store has not answered: they may
// have been made all the same, and are read as soon as that is possible.
func (s *Service) Doubt(meetingID string, err error) {
	_ = s.settle(context.Background(), meetingID, nil, err) // the caller has it
}

// Hint tells who is in the meeting, here and at other nodes, what nobody needs to
// be told later.
func (s *Service) Hint(meetingID string, speech rooms.Speech) {
	s.rooms.Hint(meetingID, speech)
	s.opts.Cluster.Hint(meetingID, speech)
}

// Report tells the meeting's rooms, here and at other nodes, what a participant says
// of its connections to the others. What gets lost is said again.
func (s *Service) Report(seat *Seat, r pairs.Report) {
	s.rooms.Report(seat.MeetingID, r)
	s.opts.Cluster.Report(seat.MeetingID, r)
}

// SetMedia changes what the participant says of its media.
func (s *Service) SetMedia(ctx context.Context, seat *Seat, m *protocol.MediaState) error {
	return s.change(ctx, seat, func(st store.State, p *store.Participant) error {
		if !rooms.Leads(p.Role) && (on(m.Video) && !st.Policy.Camera || on(m.Audio) && !st.Policy.Speak) {
			return fault.New(fault.Forbidden).WithMessage("The host has switched this off for everyone.")
		}
		set(&p.Media.Audio, m.Audio)
		set(&p.Media.Video, m.Video)
		set(&p.Media.Screen, m.Screen)
		if up, said := m.HandUp(); said && !up {
			p.Media.Hand = nil
		} else if said && p.Media.Hand == nil {
			now := time.Now().UnixMilli()
			p.Media.Hand = &now
		}
		return nil
	})
}

func on(b *bool) bool { return b != nil && *b }

func set(field, value *bool) {
	if value != nil {
		*field = *value
	}
}

// Rename changes the participant's name.
func (s *Service) Rename(ctx context.Context, seat *Seat, name string) error {
	return s.change(ctx, seat, func(st store.State, p *store.Participant) error {
		if p.Verified {
			return fault.New(fault.Forbidden).WithMessage("Your name is that of your sign-in.")
		}
		if !rooms.Leads(p.Role) && !st.Policy.Rename {
			return fault.New(fault.Forbidden).WithMessage("The host does not allow renaming.")
		}
		p.Name = name
		return nil
	})
}

// SetBlobs replaces the blobs of protocol 1 that are not nil.
func (s *Service) SetBlobs(ctx context.Context, seat *Seat, sdp, candidate []byte) error {
	return s.change(ctx, seat, func(_ store.State, p *store.Participant) error {
		if sdp != nil {
			p.SDP, p.SDPJSON = keep(sdp)
		}
		if candidate != nil {
			p.Candidate, p.CandidateJSON = keep(candidate)
		}
		return nil
	})
}

// peerOf is the participant as the room knows it.
func peerOf(p store.Participant) rooms.Peer {
	return rooms.Peer{
		PeerID: p.PeerID, UserID: p.UserID, Name: p.Name, Role: p.Role,
		Online:      p.State == store.Online,
		Media:       rooms.Media(p.Media),
		Fingerprint: p.Fingerprint,
		Protocol:    p.Protocol,
		Verified:    p.Verified,
		SDP:         asJSON(p.SDP, p.SDPJSON),
		Candidate:   asJSON(p.Candidate, p.CandidateJSON),
		ConnID:      p.ConnID, NodeID: p.NodeID, Came: p.JoinedAt.UnixMicro(),
	}
}

// Loader reads a roster from a store, for rooms.New.
func Loader(db interface {
	Snapshot(ctx context.Context, meetingID string) (store.State, []store.Participant, error)
}) rooms.Loader {
	return func(ctx context.Context, meetingID string) (rooms.Roster, error) {
		st, list, err := db.Snapshot(ctx, meetingID)
		if err != nil {
			return rooms.Roster{}, err
		}
		roster := rooms.Roster{Rev: st.Rev, Peers: make([]rooms.Peer, len(list)), State: stateOf(st)}
		for _, w := range st.Waiting {
			roster.Lobby = append(roster.Lobby, waiterOf(w))
		}
		for i, p := range list {
			roster.Peers[i] = peerOf(p)
		}
		return roster, nil
	}
}

// Translate puts the store's and the room's errors into words for the client.
func Translate(err error) error { return translate(err) }

// translate puts the store's and the room's errors into words for the client.
func translate(err error) error {
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, store.ErrMeetingNotFound):
		return fault.New(fault.MeetingNotFound)
	case errors.Is(err, store.ErrParticipantNotFound), errors.Is(err, rooms.ErrSeatTaken):
		return fault.New(fault.NotJoined)
	case errors.Is(err, store.ErrBadText):
		return fault.Invalid("", "A text contains characters that cannot be stored.")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable).Because(err)
	default:
		return err
	}
}
