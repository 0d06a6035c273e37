// Package protocol is the words on the wire: the events of both protocols, their
// payloads and their limits. docs/PROTOCOL.md says what they mean.
package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"signald/internal/fault"
)

// Version is the newest protocol; 1 is the one without a version.
const Version = 2

// Events from client to server.
const (
	EventJoin         = "join"
	EventLeave        = "leave"
	EventSignal       = "signal"
	EventUpdateSignal = "update_signal"
	EventSync         = "sync"
	EventMediaState   = "media_state"
	EventRename       = "rename"
	EventHeartbeat    = "heartbeat"
	EventControl      = "control"
	EventModerate     = "moderate"
)

// Events from server to client. EventSignal goes both ways.
const (
	EventWelcome            = "welcome"
	EventJoinResponse       = "join_response"
	EventUpdateParticipants = "update_participants"
	EventRoster             = "roster"
	EventClosed             = "closed"
	EventServerDraining     = "server_draining"
	EventError              = "error_event"
	EventRoomState          = "room_state"
	EventModerated          = "moderated"
	EventLobby              = "lobby"
	EventAdmitted           = "admitted"
	EventDenied             = "denied"
)

// Limits of single values. Those of whole messages are settings.
const (
	MaxKey       = 64       // characters of a meeting's key
	MaxName      = 64       // characters of a user's or a meeting's name
	MaxBlob      = 32 << 10 // bytes of a protocol 1 SDP or CANDIDATE, and of a signal's sdp
	MaxCandidate = 2 << 10  // bytes of one candidate
	MaxBatch     = 32       // candidates in a signal
	MaxNeg       = 64       // bytes of a negotiation's name
	MaxSecret    = 128      // characters of a password, key or token
	MaxMemo      = 256      // characters
	MaxToken     = 4 << 10  // bytes of a join token

	// Characters of a secret of the client's own making, which needs 128 random bits.
	MinAttempt, MaxAttempt = 22, 64
)

// Kinds of a signal.
const (
	KindOffer       = "offer"
	KindAnswer      = "answer"
	KindCandidates  = "candidates"
	KindRenegotiate = "renegotiate"
	KindBye         = "bye"
)

// Media is what a participant says of the media it sends. Hand is when the hand
// was raised, in ms since 1970; null when it is down.
type Media struct {
	Audio  bool   `json:"audio"`
	Video  bool   `json:"video"`
	Screen bool   `json:"screen"`
	Hand   *int64 `json:"hand"`
}

// Policy is what a meeting allows.
type Policy struct {
	Camera   bool `json:"camera"`
	Speak    bool `json:"speak"`
	Rename   bool `json:"rename"`
	Chat     bool `json:"chat"`
	Locked   bool `json:"locked"`
	Lobby    bool `json:"lobby"`
	Takeover bool `json:"takeover"` // without host and co-host, the longest present takes over
	MaxPeers int  `json:"max_peers"`
}

// Join is C→S "join" of both protocols.
type Join struct {
	MeetingID string          `json:"meeting_id"`
	UserID    string          `json:"user_id"`
	SDP       json.RawMessage `json:"SDP"`       // string or JSON, echoed byte for byte
	Candidate json.RawMessage `json:"CANDIDATE"` // likewise

	Version     int    `json:"v"` // absent: 1
	Name        string `json:"name"`
	HostKey     string `json:"host_key"`
	Password    string `json:"password"`
	JoinType    int    `json:"join_type"` // 0 coexist, 1 refuse, 2 replace
	ResumeToken string `json:"resume_token"`
	Fresh       bool   `json:"fresh"` // it comes back without its peer connections
	Media       *Media `json:"media"`
	Fingerprint string `json:"fingerprint"`
	Memo        string `json:"memo"` // for the lobby

	Ticket         string `json:"ticket"`          // of who waited in the lobby
	AdmissionToken string `json:"admission_token"` // of who was let in once
	Attempt        string `json:"attempt"`         // the client's own secret, by which it can ask for the seat again
	PastToken      string `json:"past_token"`      // the last resume token of a seat that was left: it reads on

	Token string `json:"token"` // of an application that vouches for the user
}

// Validate normalises the texts and reports the first field that is wrong.
func (j *Join) Validate() error {
	if j.Version == 0 {
		j.Version = 1
	}
	if j.Version < 1 || j.Version > Version {
		return fault.New(fault.UnsupportedVersion)
	}
	if j.JoinType < 0 || j.JoinType > 2 {
		return fault.Invalid("join_type", "join_type is 1 (refuse), 2 (replace) or absent.")
	}
	if err := blob("SDP", j.SDP); err != nil {
		return err
	}
	if err := blob("CANDIDATE", j.Candidate); err != nil {
		return err
	}
	if err := errors.Join( // the first is answered
		required("meeting_id", &j.MeetingID, MaxKey),
		j.user(),
		text("name", &j.Name, MaxName),
		text("host_key", &j.HostKey, MaxSecret),
		password("password", &j.Password, MaxSecret),
		text("resume_token", &j.ResumeToken, MaxSecret),
		text("fingerprint", &j.Fingerprint, MaxSecret),
		text("memo", &j.Memo, MaxMemo),
		text("ticket", &j.Ticket, MaxSecret),
		text("admission_token", &j.AdmissionToken, MaxSecret),
		text("past_token", &j.PastToken, MaxSecret),
		ownSecret("attempt", j.Attempt, MinAttempt, MaxAttempt),
	); err != nil {
		return err
	}
	if j.Name == "" {
		j.Name = j.UserID
	}
	return nil
}

// user checks the user_id; a token may say who it is instead.
func (j *Join) user() error {
	if len(j.Token) > MaxToken {
		return tooLarge("token", MaxToken)
	}
	if j.Token != "" {
		return text("user_id", &j.UserID, MaxName)
	}
	return required("user_id", &j.UserID, MaxName)
}

func blob(field string, raw json.RawMessage) error {
	if len(raw) > MaxBlob {
		e := fault.New(fault.PayloadTooLarge)
		e.Field = field
		return e.WithMessage(fmt.Sprintf("%s is larger than %d bytes.", field, MaxBlob))
	}
	return nil
}

// Leave is C→S "leave".
type Leave struct {
	MeetingID string `json:"meeting_id"`
	MayReturn bool   `json:"may_return"` // as in LeaveByToken
}

// Validate checks the texts.
func (l *Leave) Validate() error { return text("meeting_id", &l.MeetingID, MaxKey) }

// LeaveByToken is the body of POST /api/v1/leave: of a participant, or of who waits
// in a lobby.
type LeaveByToken struct {
	PeerID      string `json:"peer_id" doc:"who leaves"`
	ResumeToken string `json:"resume_token" doc:"from the answer to its join"`
	MayReturn   bool   `json:"may_return" doc:"the page may be on its way back: for the grace time a join with the token takes the seat again"`
	MeetingID   string `json:"meeting_id" doc:"of who waits in its lobby, instead of the above"`
	Ticket      string `json:"ticket" doc:"from the answer waiting to its join"`
}

// Validate asks for a credential.
func (l *LeaveByToken) Validate() error {
	if l.ResumeToken == "" && l.Ticket == "" {
		return fault.New(fault.Unauthorized)
	}
	return text("meeting_id", &l.MeetingID, MaxKey)
}

// Signal is C→S "signal": a message for one other participant.
type Signal struct {
	MeetingID string            `json:"meeting_id"`
	To        string            `json:"to"`
	Neg       string            `json:"neg"`
	Kind      string            `json:"kind"`
	SDP       json.RawMessage   `json:"sdp"` // offer, answer: a string
	Restart   bool              `json:"restart"`
	List      []json.RawMessage `json:"list"` // candidates: RTCIceCandidateInit objects
	End       bool              `json:"end"`
}

// readField keeps the SDP and the candidates as they are in the payload.
func (s *Signal) readField(name string, value []byte) error {
	switch name {
	case "meeting_id":
		return readString(name, value, &s.MeetingID)
	case "to":
		return readString(name, value, &s.To)
	case "neg":
		return readString(name, value, &s.Neg)
	case "kind":
		return readString(name, value, &s.Kind)
	case "sdp":
		s.SDP = value
	case "restart":
		return readBool(name, value, &s.Restart)
	case "end":
		return readBool(name, value, &s.End)
	case "list":
		return s.readList(value)
	}
	return nil
}

func (s *Signal) readList(value []byte) error {
	s.List = nil
	if value[0] != '[' {
		return wrongType("list", value)
	}
	for i := skipSpace(value, 1); i < len(value) && value[i] != ']'; i = skipSpace(value, i) {
		start := i
		if i = skipValue(value, i); i == start {
			return errNotJSON
		}
		if s.List = append(s.List, value[start:i]); len(s.List) > MaxBatch {
			return nil // Validate says so
		}
		if i = skipSpace(value, i); i < len(value) && value[i] == ',' {
			i++
		}
	}
	return nil
}

// Validate checks what the kind asks for. The SDP and the candidates are the
// receiver's to understand.
func (s *Signal) Validate() error {
	if err := text("meeting_id", &s.MeetingID, MaxKey); err != nil {
		return err
	}
	switch {
	case s.To == "":
		return fault.Invalid("to", "to is missing: the peer_id of another participant.")
	case len(s.Neg) > MaxNeg:
		return fault.Invalid("neg", "neg is longer than "+strconv.Itoa(MaxNeg)+" bytes.")
	}
	s.dropForeign()
	switch s.Kind {
	case KindOffer, KindAnswer:
		if len(s.SDP) < len(`"x"`) || s.SDP[0] != '"' {
			return fault.Invalid("sdp", "sdp is missing: a string.")
		}
		if len(s.SDP) > MaxBlob {
			e := fault.New(fault.PayloadTooLarge)
			e.Field = "sdp"
			return e
		}
	case KindCandidates:
		if len(s.List) > MaxBatch {
			return fault.Invalid("list", "list holds more than "+strconv.Itoa(MaxBatch)+" candidates.")
		}
		for _, c := range s.List {
			if len(c) > MaxCandidate {
				e := fault.New(fault.PayloadTooLarge)
				e.Field = "list"
				return e
			}
			if len(c) == 0 || c[0] != '{' {
				return fault.Invalid("list", "list holds objects: RTCIceCandidateInit.")
			}
		}
	case KindRenegotiate, KindBye:
	default:
		return fault.Invalid("kind", "kind is one of offer, answer, candidates, renegotiate, bye.")
	}
	return nil
}

// dropForeign forgets what does not belong to the kind: unchecked, it would be
// relayed past the limits.
func (s *Signal) dropForeign() {
	if s.Kind != KindOffer && s.Kind != KindAnswer {
		s.SDP = nil
	}
	if s.Kind != KindOffer {
		s.Restart = false
	}
	if s.Kind != KindCandidates {
		s.List, s.End = nil, false
	}
}

// UpdateSignal is C→S "update_signal": new blobs; those absent stay.
type UpdateSignal struct {
	MeetingID string          `json:"meeting_id"`
	SDP       json.RawMessage `json:"SDP"`
	Candidate json.RawMessage `json:"CANDIDATE"`
}

// Validate checks the sizes.
func (u *UpdateSignal) Validate() error {
	return errors.Join(text("meeting_id", &u.MeetingID, MaxKey), blob("SDP", u.SDP), blob("CANDIDATE", u.Candidate))
}

// Sync is C→S "sync": the roster, please.
type Sync struct {
	MeetingID string `json:"meeting_id"`
	HaveRev   int64  `json:"have_rev"`
}

// Validate checks the texts.
func (s *Sync) Validate() error { return text("meeting_id", &s.MeetingID, MaxKey) }

// MediaState is C→S "media_state"; what is absent stays as it is.
type MediaState struct {
	MeetingID string          `json:"meeting_id"`
	Audio     *bool           `json:"audio"`
	Video     *bool           `json:"video"`
	Screen    *bool           `json:"screen"`
	Hand      json.RawMessage `json:"hand"` // true or a number raises, false or null lowers; the server stamps the time
}

// Validate checks the hand's type.
func (m *MediaState) Validate() error {
	if len(m.Hand) > 0 && !strings.ContainsRune("tfn-0123456789", rune(m.Hand[0])) {
		return fault.Invalid("hand", "hand is true, false, a number or null.")
	}
	return text("meeting_id", &m.MeetingID, MaxKey)
}

// HandUp reports whether the event speaks of the hand, and how.
func (m *MediaState) HandUp() (up, said bool) {
	if len(m.Hand) == 0 {
		return false, false
	}
	return m.Hand[0] != 'f' && m.Hand[0] != 'n', true
}

// Rename is C→S "rename".
type Rename struct {
	MeetingID string `json:"meeting_id"`
	Name      string `json:"name"`
}

// Validate checks the texts.
func (r *Rename) Validate() error {
	return errors.Join(text("meeting_id", &r.MeetingID, MaxKey), required("name", &r.Name, MaxName))
}

// Heartbeat is C→S "heartbeat", whatever its payload.
type Heartbeat struct{}

// Validate accepts everything.
func (*Heartbeat) Validate() error { return nil }

// Decode reads a payload. Wrong types answer invalid_payload with the field's
// name; unknown fields are ignored.
func Decode(raw json.RawMessage, into interface{ Validate() error }) error {
	var err error
	if r, ok := into.(fieldReader); ok && len(raw) > 0 && raw[0] == '{' {
		err = readFields(raw, r)
	} else {
		err = DecodeObject(raw, into)
	}
	if err != nil {
		return err
	}
	return first(into.Validate())
}

// DecodeObject is Decode without validation, for what has its own.
func DecodeObject(raw []byte, into any) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return fault.Invalid("", "The payload is a JSON object.")
	}
	if !utf8.Valid(raw) { // encoding/json would replace what is not
		return fault.Invalid("", "The payload is not valid UTF-8.")
	}
	if err := json.Unmarshal(hideMisspelt(raw, reflect.TypeOf(into)), into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return unlike(wrong.Field, wrong.Value)
		}
		return fault.Invalid("", "The payload is not valid JSON.").Because(err)
	}
	return nil
}

// first unpacks the first of joined errors.
func first(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		if errs := joined.Unwrap(); len(errs) > 0 {
			return errs[0]
		}
	}
	return err
}

// Validate checks what is no payload of its own, and reports the first that is wrong.
func Validate(v interface{ Validate() error }) error { return first(v.Validate()) }

// Claims are the texts of a join token.
type Claims struct{ Sub, Name, Meeting *string }

// Validate normalises the texts.
func (c *Claims) Validate() error {
	return errors.Join(
		required("sub", c.Sub, MaxName),
		text("name", c.Name, MaxName),
		required("meeting", c.Meeting, MaxKey),
	)
}

// Meta is what people call a meeting: the texts of POST /api/v1/meetings.
type Meta struct{ MeetingID, Name, Password string }

// Validate normalises the texts; all may be empty.
func (m *Meta) Validate() error {
	return first(errors.Join(
		text("meeting_id", &m.MeetingID, MaxKey),
		text("name", &m.Name, MaxName),
		password("password", &m.Password, MaxSecret),
	))
}
