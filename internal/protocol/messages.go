package protocol

import (
	"encoding/json"
	"strconv"

	"signald/internal/fault"
)

// Welcome is S→C "welcome", the first event of every connection.
type Welcome struct {
	Protocol int      `json:"protocol"`
	Server   string   `json:"server"` // program and version
	Node     string   `json:"node"`
	Epoch    string   `json:"epoch"` // changes when the server was started anew
	Time     int64    `json:"time"`  // ms since 1970
	Features []string `json:"features"`
	Limits   Limits   `json:"limits"`
	Ping     Ping     `json:"ping"`
	Sub      string   `json:"sub,omitempty"` // by whose name it can be rung: the handshake's token is good
}

// Limits are in bytes, but for Batch and Peers, which count.
type Limits struct {
	Message   int `json:"message"`
	SDP       int `json:"sdp"`
	Candidate int `json:"candidate"`
	Batch     int `json:"batch"`
	Chat      int `json:"chat"`
	Meta      int `json:"meta"`
	Peers     int `json:"peers"`
}

// Ping is the heartbeat of the connection, in ms.
type Ping struct {
	Interval int64 `json:"interval"`
	Timeout  int64 `json:"timeout"`
}

// Peer is a participant as the others see it: never with an address.
type Peer struct {
	PeerID      string `json:"peer_id"`
	UserID      string `json:"user_id"`
	Name        string `json:"name"`
	Role        string `json:"role"`  // host, cohost, guest
	State       string `json:"state"` // online, away
	Media       Media  `json:"media"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Verified    bool   `json:"verified,omitempty"` // user_id is vouched for by a token
	Protocol    int    `json:"protocol,omitempty"` // 1: it has the original client; absent: 2
	Polite      *bool  `json:"polite,omitempty"`   // in a join's answer only: for the asker
}

// Blobs is a participant in protocol 1's map.
type Blobs struct {
	SDP       json.RawMessage `json:"SDP"`
	Candidate json.RawMessage `json:"CANDIDATE"`
}

// Joined is the ack of "join", and join_response, for both protocols.
type Joined struct {
	Status  string          `json:"status"` // "success"
	Message string          `json:"message"`
	Room    json.RawMessage `json:"room_participants,omitempty"` // protocol 1

	OK          bool   `json:"ok"`
	MeetingID   string `json:"meeting_id"`
	PeerID      string `json:"peer_id"`
	Rev         int64  `json:"rev"`
	Role        string `json:"role"`
	Resumed     bool   `json:"resumed,omitempty"`
	ResumeToken string `json:"resume_token"`
	ResumeTTLMS int64  `json:"resume_ttl_ms"`

	AdmissionToken string   `json:"admission_token,omitempty"` // spares the lobby from now on
	PastPeerIDs    []string `json:"past_peer_ids,omitempty"`   // the seats whose messages it may read, too

	Peers      []Peer      `json:"peers"`
	Meeting    Meeting     `json:"meeting"`
	ICEServers []ICEServer `json:"ice_servers"`
	ICETTL     int64       `json:"ice_ttl_s"`

	Code fault.Code `json:"code,omitempty"` // already_joined
}

// Meeting is what a participant may know of its meeting.
type Meeting struct {
	Name string `json:"name"`
	MeetingState
}

// ICEServer is an RTCIceServer.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// ICE is the answer of GET /api/v1/ice.
type ICE struct {
	Servers []ICEServer `json:"ice_servers"`
	TTL     int64       `json:"ice_ttl_s"`
}

// Change is what has changed of a participant; what is absent has not.
type Change struct {
	PeerID string `json:"peer_id"`
	Name   string `json:"name,omitempty"`
	Role   string `json:"role,omitempty"`
	State  string `json:"state,omitempty"`
	Media  *Media `json:"media,omitempty"`
}

// Left says who is out, and why.
type Left struct {
	PeerID string `json:"peer_id"`
	Reason string `json:"reason"`
}

// Update is S→C "update_participants" of protocol 2: the net effect of all changes
// after Since up to Rev.
type Update struct {
	MeetingID string   `json:"meeting_id"`
	Since     int64    `json:"since"`
	Rev       int64    `json:"rev"`
	Joined    []Peer   `json:"joined,omitempty"`
	Changed   []Change `json:"changed,omitempty"`
	Left      []Left   `json:"left,omitempty"`
}

// Roster is S→C "roster" and the ack of "sync".
type Roster struct {
	OK        bool   `json:"ok"`
	MeetingID string `json:"meeting_id"`
	Rev       int64  `json:"rev"`
	Full      bool   `json:"full"`
	Peers     []Peer `json:"peers"`

	Self    *Peer         `json:"self,omitempty"` // the asker
	Meeting *MeetingState `json:"meeting,omitempty"`
}

// SignalOut is S→C "signal". Seq counts what From has sent to the receiver.
type SignalOut struct {
	MeetingID string            `json:"meeting_id"`
	From      string            `json:"from"`
	Seq       uint64            `json:"seq"`
	Neg       string            `json:"neg,omitempty"`
	Kind      string            `json:"kind"`
	SDP       json.RawMessage   `json:"sdp,omitempty"`
	Restart   bool              `json:"restart,omitempty"`
	List      []json.RawMessage `json:"list,omitempty"`
	End       bool              `json:"end,omitempty"`
}

// AppendJSON appends the message as JSON. SDP and List are JSON already and go in as
// they are.
func (s *SignalOut) AppendJSON(b []byte) []byte {
	b = appendString(append(b, `{"meeting_id":`...), s.MeetingID)
	b = appendString(append(b, `,"from":`...), s.From)
	b = strconv.AppendUint(append(b, `,"seq":`...), s.Seq, 10)
	if s.Neg != "" {
		b = appendString(append(b, `,"neg":`...), s.Neg)
	}
	b = appendString(append(b, `,"kind":`...), s.Kind)
	if len(s.SDP) > 0 {
		b = append(append(b, `,"sdp":`...), s.SDP...)
	}
	if s.Restart {
		b = append(b, `,"restart":true`...)
	}
	for i, c := range s.List {
		if i == 0 {
			b = append(b, `,"list":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, c...)
	}
	if len(s.List) > 0 {
		b = append(b, ']')
	}
	if s.End {
		b = append(b, `,"end":true`...)
	}
	return append(b, '}')
}

// Closed is S→C "closed": the server is about to end the connection.
type Closed struct {
	MeetingID string `json:"meeting_id,omitempty"`
	Code      string `json:"code"`
	Reason    string `json:"reason"`
	Rejoin    bool   `json:"rejoin"` // whether joining again may work
}

// Draining is S→C "server_draining".
type Draining struct {
	ReconnectAfterMS int64 `json:"reconnect_after_ms"`
}

// Failed is S→C "error_event": an error for an event that asked for no ack.
type Failed struct {
	Event   string     `json:"event"`
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
	Field   string     `json:"field,omitempty"`
}

// MapRev is the second argument of protocol 1's update_participants.
type MapRev struct {
	Rev int64 `json:"rev"`
}

// JoinFailed is join_response when it failed.
type JoinFailed struct {
	Error  string     `json:"error"`
	Code   fault.Code `json:"code"`
	Ticket string     `json:"ticket,omitempty"` // waiting
}

// Done is the ack of an event with nothing more to say.
type Done struct {
	OK     bool  `json:"ok"`
	Rev    int64 `json:"rev,omitempty"`
	Queued bool  `json:"queued,omitempty"` // signal: the receiver is away and will have it when it returns
	Time   int64 `json:"time,omitempty"`   // heartbeat
}
