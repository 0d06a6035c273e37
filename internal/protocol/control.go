package protocol

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"signald/internal/fault"
)

// MaxPeerID is the longest name of a peer or a ticket that is understood, in
// characters.
const MaxPeerID = 64

// Control is C→S "control": the host changes what the meeting allows. What is
// absent stays.
type Control struct {
	MeetingID string

	Camera, Speak, Rename, Chat, Locked, Lobby, Takeover *bool

	Password  *string // empty: none from now on
	Spotlight *string // a peer; empty: nobody from now on

	RequestID string // the client's own name for the request: asked again, it is not done twice

	fields map[string]json.RawMessage
}

// UnmarshalJSON keeps the fields for Validate, which knows them all: a switch that
// this server does not have must not seem to have been switched.
func (c *Control) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &c.fields) }

// Validate reads the fields and reports the first that is wrong.
func (c *Control) Validate() error {
	switches := map[string]**bool{
		"camera": &c.Camera, "speak": &c.Speak, "rename": &c.Rename, "chat": &c.Chat,
		"locked": &c.Locked, "lobby": &c.Lobby, "takeover": &c.Takeover,
	}
	about := map[string]*string{"meeting_id": &c.MeetingID, "request_id": &c.RequestID}
	texts := map[string]**string{"password": &c.Password, "spotlight": &c.Spotlight}
	for _, name := range slices.Sorted(maps.Keys(c.fields)) {
		value := c.fields[name]
		if into, is := switches[name]; is {
			*into = new(bool)
			if err := readBool(name, value, *into); err != nil {
				return err
			}
		} else if into, is := texts[name]; is {
			*into = new(string)
			if string(value) == "null" {
				continue
			}
			if err := readString(name, value, *into); err != nil {
				return err
			}
		} else if into, is := about[name]; !is {
			return fault.Invalid(name, name+" is nothing that can be controlled.")
		} else if err := readString(name, value, into); err != nil {
			return err
		}
	}
	names := len(c.fields)
	for name := range about {
		if _, named := c.fields[name]; named {
			names--
		}
	}
	c.fields = nil
	if names == 0 {
		return fault.Invalid("", "The payload names nothing to control.")
	}
	return errors.Join(
		text("meeting_id", &c.MeetingID, MaxKey),
		text("request_id", &c.RequestID, MaxClientID),
		optional(password, "password", c.Password, MaxSecret),
		optional(text, "spotlight", c.Spotlight, MaxPeerID),
	)
}

func optional(check func(string, *string, int) error, field string, s *string, limit int) error {
	if s == nil {
		return nil
	}
	return check(field, s, limit)
}

// Actions of moderate and moderated.
const (
	ActionKick      = "kick"
	ActionBan       = "ban"
	ActionUnban     = "unban"
	ActionMute      = "mute"
	ActionStopVideo = "stop_video"
	ActionPromote   = "promote"
	ActionDemote    = "demote"
	ActionAdmit     = "admit"
	ActionDeny      = "deny"
	ActionEnd       = "end"
)

// Moderate is C→S "moderate": what the host does to someone.
type Moderate struct {
	MeetingID string `json:"meeting_id"`
	Action    string `json:"action"`
	PeerID    string `json:"peer_id"`
	Ticket    string `json:"ticket"`  // of who waits; admit and deny without one: everyone
	Network   bool   `json:"network"` // deny: and all others of the same address who wait
	Reason    string `json:"reason"`  // for those who are told

	Lock  bool `json:"lock"`  // kick, ban: in the same step nobody else is let in
	Lobby bool `json:"lobby"` // kick, ban: in the same step all that come have to wait for a host

	RequestID string `json:"request_id"` // as of Control
}

// Validate checks what the action asks for.
func (m *Moderate) Validate() error {
	if err := errors.Join(
		text("meeting_id", &m.MeetingID, MaxKey),
		text("peer_id", &m.PeerID, MaxPeerID),
		text("ticket", &m.Ticket, MaxPeerID),
		text("reason", &m.Reason, MaxMemo),
		text("request_id", &m.RequestID, MaxClientID),
	); err != nil {
		return err
	}
	if (m.Lock || m.Lobby) && m.Action != ActionKick && m.Action != ActionBan {
		return fault.Invalid("lock", "lock and lobby go with kick and ban alone. Otherwise use control.")
	}
	if m.Network && (m.Action != ActionDeny || m.Ticket == "") {
		return fault.Invalid("network", "network goes with deny and a ticket.")
	}
	switch m.Action {
	case ActionKick, ActionBan, ActionUnban, ActionMute, ActionStopVideo, ActionPromote, ActionDemote:
		if m.PeerID == "" {
			return fault.Invalid("peer_id", "peer_id is missing: whom the action is about.")
		}
	case ActionAdmit, ActionDeny, ActionEnd:
	default:
		return fault.Invalid("action", "action is one of kick, ban, unban, mute, stop_video, promote, demote, admit, deny, end.")
	}
	return nil
}

// MeetingState is what of a meeting its host can change, as all its members know it.
type MeetingState struct {
	Policy     Policy  `json:"policy"`
	Password   bool    `json:"password"`    // there is one
	Attendance bool    `json:"attendance"`  // who was there and when is kept
	Retention  int64   `json:"retention_s"` // for so long after the last has left, and what was said, too
	Spotlight  *string `json:"spotlight"`   // the peer that all are to look at, or null
}

// RoomState is S→C "room_state": the meeting's state as of Rev.
type RoomState struct {
	MeetingID string `json:"meeting_id"`
	Rev       int64  `json:"rev"`
	MeetingState
}

// Moderated is S→C "moderated", to whom it was done and to the hosts.
type Moderated struct {
	MeetingID string `json:"meeting_id"`
	Action    string `json:"action"`
	PeerID    string `json:"peer_id"`
	By        string `json:"by,omitempty"` // absent: nobody did it, it came to that
	Reason    string `json:"reason,omitempty"`
	At        int64  `json:"at"`
}

// Lobby is S→C "lobby", to hosts: everyone who waits to be let in.
type Lobby struct {
	MeetingID string   `json:"meeting_id"`
	Rev       int64    `json:"rev"`
	Waiting   []Waiter `json:"waiting"`
}

// Waiter is someone in the lobby.
type Waiter struct {
	Ticket  string `json:"ticket"` // to admit or deny by; it lets nobody in by itself
	UserID  string `json:"user_id"`
	Name    string `json:"name"`
	Memo    string `json:"memo"`
	Country string `json:"country,omitempty"` // of the address, if that is known
	Since   int64  `json:"since"`

	Verified bool   `json:"verified,omitempty"` // user_id is vouched for by a join token
	Like     string `json:"like,omitempty"`     // kicked or banned: how somebody of the same site was removed, who it may be
}

// Decided is S→C "admitted" and "denied", to who waited.
type Decided struct {
	MeetingID string `json:"meeting_id"`
}
