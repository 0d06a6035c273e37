package store

import (
	"net/netip"
	"time"
)

// Meeting is one row of the audit: who created which meeting, when, from where. It never changes
// and is never deleted. Seq is the order of creation; PrevHash and Hash chain the rows (see
// [ChainHash]).
type Meeting struct {
	ID        string
	Name      string
	CreatorIP netip.Addr // without a zone, IPv4 never mapped into IPv6; the zero Addr when unknown

	Country   *string
	Region    *string
	City      *string
	Lat       *float64
	Lon       *float64
	GeoSource string

	UserAgent string
	CreatedAt time.Time // UTC, whole microseconds

	Seq      int64
	PrevHash []byte
	Hash     []byte
}

// NewMeeting is what CreateMeeting needs to know: the audit row's content and the first State.
type NewMeeting struct {
	ID        string
	Name      string // in the audit
	Title     string // for guests, see State
	CreatorIP netip.Addr

	Country   *string
	Region    *string
	City      *string
	Lat       *float64 // Lat and Lon are kept only together and only when they are a place on Earth
	Lon       *float64
	GeoSource string

	UserAgent string
	CreatedAt time.Time // zero means now

	Policy       Policy
	PasswordHash []byte
	HostKeyHash  []byte
	ExpiresAt    *time.Time
	Retention    time.Duration
}

// Policy is what a meeting's participants may do.
type Policy struct {
	Camera   bool `json:"camera"`
	Speak    bool `json:"speak"`
	Rename   bool `json:"rename"`
	Chat     bool `json:"chat"`
	Locked   bool `json:"locked"`
	Lobby    bool `json:"lobby"`
	Takeover bool `json:"takeover"` // without host and co-host, the longest present takes over
	MaxPeers int  `json:"max_peers"`

	Attendance bool `json:"attendance"` // who was there and when is kept; said at creation, for good
}

// Live is what lasts as long as somebody is in the meeting.
type Live struct {
	Spotlight string `json:"spotlight,omitempty"`  // the peer that all are to look at
	Acting    string `json:"acting,omitempty"`     // the peer that is host in place of who has the key
	ActingWas string `json:"acting_was,omitempty"` // the role it had before
}

// State is what of a meeting changes. Rev counts the changes of its roster and never repeats.
type State struct {
	MeetingID    string
	Title        string // what guests may see; empty when the creator gave no name. It never changes
	Rev          int64
	Policy       Policy
	PasswordHash []byte // nil when there is no password
	HostKeyHash  []byte
	CreatedAt    time.Time
	ExpiresAt    *time.Time
	Live         Live
	Retention    time.Duration // of messages and attendance, from when the last has left; whole seconds. It never changes

	MessagesUntil   *time.Time // when what was said goes; nil while somebody is there, or nothing is kept
	AttendanceUntil *time.Time // likewise who was there

	// Up to these revisions it is gone, though rows may be left: see Sweep.
	MessagesGone, AttendanceGone int64
	ToSweep                      bool // set by this transaction; never read

	Waiting []Waiting // in the lobby, in order; read by Snapshot alone
}

// The values of Participant.State.
const (
	Online = "online"
	Away   = "away"

	// Returning has left and may come back as the same: a page that is being reloaded. Only its resume
	// token finds it, and who cleans up; for everything else it is not there.
	Returning = "returning"
)

// Participant is one participation in one meeting. Nothing of it stays once it is deleted.
type Participant struct {
	PeerID    string
	MeetingID string
	UserID    string
	Name      string
	Role      string
	Protocol  int

	SDP           []byte // kept byte for byte, any bytes; nil when empty
	Candidate     []byte
	SDPJSON       bool // SDP is JSON text and not the bytes of a string; CandidateJSON likewise
	CandidateJSON bool
	Media         Media

	State       string
	NodeID      string
	ConnID      string
	ResumeHash  []byte // unique among all participants; nil for those who cannot resume
	Fingerprint string
	JoinedAt    time.Time
	AwaySince   *time.Time
	IP          netip.Addr
	Verified    bool // somebody we trust vouches for UserID

	AdmissionHash []byte // of the admission it came in by; nil for none

	// PreviousHash is that of the token before ResumeHash, as long as it is good; unique. Insert writes it,
	// then SetPrevious and Confirm.
	PreviousHash []byte
	Requests     string // the names of its last requests, as the caller writes them
	Reader       string // the first seat of the same reader; empty: it has shown none. ReadOn writes it
}

// Person is who the participant is, for who removes it.
func (p Participant) Person() Person {
	return Person{UserID: p.UserID, Network: Network(p.IP), Verified: p.Verified}
}

// Media is what a participant says he sends; Hand is when he raised it, in Unix milliseconds.
type Media struct {
	Audio  bool   `json:"audio"`
	Video  bool   `json:"video"`
	Screen bool   `json:"screen"`
	Hand   *int64 `json:"hand"`
}

// Presence is as much of a participant as a clean-up needs in order to ask InMeeting for the rest.
type Presence struct {
	MeetingID string
	PeerID    string
	ConnID    string
	NodeID    string
	State     string
	AwaySince *time.Time
}

// AuditQuery selects audit rows. A zero field selects everything.
type AuditQuery struct {
	From    time.Time    // created at or after
	To      time.Time    // created before
	IP      netip.Prefix // one address is a prefix of its full length
	OrIP    netip.Addr   // with IP: or this one, under which the audit may know it
	Country string       // as stored: an ISO code
	City    string       // whole, in any case
	Q       string       // the beginning of the name, in any case, or of the key
	Cursor  string       // NextCursor of the page before
	Limit   int          // 0 means 50; at most 500
}

// AuditPage is one page of the audit, newest first. NextCursor is empty on the last page.
type AuditPage struct {
	Items      []Meeting
	NextCursor string
}
