package signaling

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"io"
	"strconv"

	"signald/internal/pairs"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/socketio"
)

// Encoder puts a room's news on the wire: a rooms.Encoder.
type Encoder struct{}

// Delta is update_participants of protocol 2.
func (Encoder) Delta(d rooms.Delta) rooms.Frame {
	u := protocol.Update{MeetingID: d.MeetingID, Since: d.Since, Rev: d.Rev}
	for _, p := range d.Joined {
		u.Joined = append(u.Joined, peerOf(p))
	}
	for _, p := range d.Changed {
		peer := peerOf(p)
		u.Changed = append(u.Changed, protocol.Change{PeerID: p.PeerID, Name: peer.Name, Role: peer.Role, State: peer.State, Media: &peer.Media})
	}
	for _, l := range d.Left {
		u.Left = append(u.Left, protocol.Left(l))
	}
	return mustEncode(protocol.EventUpdateParticipants, u)
}

// Map is update_participants of protocol 1.
func (Encoder) Map(meetingID string, r rooms.Roster) rooms.Frame {
	topic := fnv.New32a()
	_, _ = io.WriteString(topic, meetingID) // never fails
	return mustEncode(protocol.EventUpdateParticipants, participantsMap(r), protocol.MapRev{Rev: r.Rev}).Superseding(topic.Sum32() | 1)
}

// Marshaled is an event on its way to rooms of any node: a chat.Encode.
func Marshaled(event string, payload any) []byte { return mustEncode(event, payload).Bytes() }

// State is room_state.
func (Encoder) State(meetingID string, rev int64, st rooms.State) rooms.Frame {
	return mustEncode(protocol.EventRoomState, protocol.RoomState{MeetingID: meetingID, Rev: rev, MeetingState: meetingState(st)})
}

// Notice is moderated.
func (Encoder) Notice(meetingID string, n rooms.Notice) rooms.Frame {
	return mustEncode(protocol.EventModerated, protocol.Moderated{
		MeetingID: meetingID, Action: n.Action, PeerID: n.PeerID, By: n.By, Reason: n.Reason, At: n.At,
	})
}

// Lobby is lobby.
func (Encoder) Lobby(meetingID string, rev int64, waiting []rooms.Waiter) rooms.Frame {
	body := protocol.Lobby{MeetingID: meetingID, Rev: rev, Waiting: []protocol.Waiter{}}
	for _, w := range waiting {
		body.Waiting = append(body.Waiting, protocol.Waiter{
			Ticket: w.Ticket, UserID: w.UserID, Name: w.Name, Memo: w.Memo, Country: w.Country, Since: w.Since,
			Verified: w.Verified, Like: w.Like,
		})
	}
	return mustEncode(protocol.EventLobby, body)
}

// Decided is admitted, or denied.
func (Encoder) Decided(meetingID string, admitted bool) rooms.Frame {
	event := protocol.EventDenied
	if admitted {
		event = protocol.EventAdmitted
	}
	return mustEncode(event, protocol.Decided{MeetingID: meetingID})
}

// Advice is mesh_advice.
func (Encoder) Advice(meetingID string, a pairs.Advice) rooms.Frame {
	return mustEncode(protocol.EventMeshAdvice, protocol.MeshAdvice{MeetingID: meetingID, PeerID: a.Peer, Action: a.Action, Offer: a.Offer})
}

// Matrix is mesh_matrix.
func (Encoder) Matrix(meetingID string, t pairs.Table) rooms.Frame {
	body := protocol.MeshMatrix{MeetingID: meetingID, Members: t.Members, Rows: t.Rows, Broken: []protocol.MeshBroken{}}
	for _, b := range t.Broken {
		body.Broken = append(body.Broken, protocol.MeshBroken(b))
	}
	return mustEncode(protocol.EventMeshMatrix, body)
}

// Size is the frame's size on the wire, in bytes.
func (Encoder) Size(f rooms.Frame) int { return f.(socketio.Frame).Len() }

// Marshal makes the frame ready for the way to another node.
func (Encoder) Marshal(f rooms.Frame) []byte { return f.(socketio.Frame).Bytes() }

// Unmarshal takes back what Marshal gave, at another node.
func (Encoder) Unmarshal(b []byte) (rooms.Frame, error) { return socketio.ParseFrame(b) }

// mustEncode is for payloads of our own making, which always encode.
func mustEncode(event string, args ...any) socketio.Frame {
	f, err := socketio.Encode(event, args...)
	if err != nil {
		panic(err)
	}
	return f
}

func peerOf(p rooms.Peer) protocol.Peer {
	state := "away"
	if p.Online {
		state = "online"
	}
	peer := protocol.Peer{
		PeerID: p.PeerID, UserID: p.UserID, Name: p.Name, Role: p.Role, State: state,
		Media: protocol.Media(p.Media), Fingerprint: p.Fingerprint, Verified: p.Verified,
	}
	if p.Protocol == 1 {
		peer.Protocol = 1
	}
	return peer
}

func meetingState(st rooms.State) protocol.MeetingState {
	state := protocol.MeetingState{
		Policy: protocol.Policy{
			Camera: st.Camera, Speak: st.Speak, Rename: st.Rename, Chat: st.Chat,
			Locked: st.Locked, Lobby: st.Lobby, Takeover: st.Takeover, MaxPeers: st.MaxPeers,
		},
		Password: st.Password, Attendance: st.Attendance, Retention: st.Retention,
	}
	if st.Spotlight != "" {
		state.Spotlight = &st.Spotlight
	}
	return state
}

// participantsMap is protocol 1's map of user_id to blobs, in the order of
// joining. Who shares a user_id with someone before gets "name (2)".
func participantsMap(r rooms.Roster) json.RawMessage {
	var b bytes.Buffer
	used := make(map[string]bool, len(r.Peers))
	b.WriteByte('{')
	for i, p := range r.Peers {
		name := p.UserID
		for n := 2; used[name]; n++ {
			name = p.UserID + " (" + strconv.Itoa(n) + ")"
		}
		used[name] = true
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSONString(&b, name)
		b.WriteString(`:{"SDP":`)
		b.Write(orEmpty(p.SDP))
		b.WriteString(`,"CANDIDATE":`)
		b.Write(orEmpty(p.Candidate))
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes()
}

func orEmpty(blob []byte) []byte {
	if len(blob) == 0 {
		return []byte(`""`)
	}
	return blob
}

func writeJSONString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	b.Truncate(b.Len() - 1)
}

func signalFrame(seat *participants.Seat, s *protocol.Signal) (socketio.Frame, error) {
	return socketio.Encode(protocol.EventSignal, &protocol.SignalOut{
		MeetingID: seat.MeetingID, From: seat.PeerID, Seq: seat.NextSeq(s.To),
		Neg: s.Neg, Kind: s.Kind, SDP: s.SDP, Restart: s.Restart, List: s.List, End: s.End,
	})
}

var closedBecause = map[string]string{
	participants.ReasonReplaced: "You have joined from another place.",
	participants.ReasonTimeout:  "You were away for too long.",
	"server":                    "The server has lost your place. Join again.",
	participants.ReasonKicked:   "The host has removed you.",
	participants.ReasonBanned:   "The host has removed you, for good.",
	participants.ReasonEnded:    "The meeting has been ended.",
}
