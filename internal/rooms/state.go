package rooms

// State is what of a meeting all its members know.
type State struct {
	Camera, Speak, Rename, Chat bool // allowed to all, not only to hosts
	Locked, Lobby, Takeover     bool
	MaxPeers                    int
	Password                    bool  // there is one
	Attendance                  bool  // who was there and when is kept
	Retention                   int64 // for so many seconds after the last has left, and what was said, too
	Spotlight                   string
}

// The roles that rule a meeting.
const (
	RoleHost   = "host"
	RoleCohost = "cohost"
)

// Leads reports whether a role may rule the meeting.
func Leads(role string) bool { return role == RoleHost || role == RoleCohost }

func (s *seat) leads() bool { return Leads(s.Role) }

// Notice is what a host has done to a participant. It is told to that participant
// and to the hosts, those who are here and not away: the roster tells the rest.
type Notice struct {
	Action string
	PeerID string // whom it was done to
	By     string // the peer who did it; empty: nobody, it came to that
	Reason string
	At     int64 // ms since 1970
}

// ruleLocked sets the meeting's state as of a revision.
func (r *Room) ruleLocked(s State, rev int64) {
	if r.state != s {
		r.state, r.stateRev = s, rev
	}
}

// notifyLocked tells a notice to whom it concerns.
func (r *Room) notifyLocked(n Notice) {
	var frame Frame
	for _, s := range r.peers {
		m := s.member
		if m == nil || m.protocol < 2 || s.PeerID != n.PeerID && !s.leads() {
			continue
		}
		if frame == nil {
			frame = lazily(512, func(e Encoder) Frame { return e.Notice(r.id, n) })
		}
		r.tellLocked(s, frame)
	}
}
