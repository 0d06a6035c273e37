package protocol_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/pairs"
	"signald/internal/protocol"
)

type payload interface{ Validate() error }

// fromClients is what the files of clients decode to. In a raw value white space
// is as the client sent it: there it is written as in the file.
var fromClients = map[string]payload{
	"join_v1": &protocol.Join{
		MeetingID: "K7F3", UserID: "王宇", Name: "王宇", Version: 1,
		SDP:       raw(`"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\n"`),
		Candidate: raw(`{"candidate": "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host", "sdpMLineIndex": 0}`),
	},
	"join_v2": &protocol.Join{
		MeetingID: "7h2k9m4p0qrstvwx3z8y", UserID: "王宇", Name: "王宇", Version: 2, SDP: raw(`""`), Candidate: raw(`""`),
		HostKey: "hk_AAAAAAAAAAAAAAAAAAAAAA", Password: "open sesame", JoinType: 1,
		Media: &protocol.Media{Audio: true, Video: true}, Fingerprint: "sha-256 1A:2B", Memo: "from the sales team",
	},
	"signal_offer_in": &protocol.Signal{
		To: "p_1a2b3c4d5e6f7g8h", Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "offer", SDP: raw(`"v=0\r\ns=<é>\r\n"`), Restart: true,
	},
	"mesh_report": &protocol.MeshReport{Pairs: []protocol.MeshPair{
		{PeerID: "p_1a2b3c4d5e6f7g8h", State: pairs.Connected, Hears: true, Relayed: true, Poor: true},
		{PeerID: "p_2a2b3c4d5e6f7g8h", State: pairs.Failed},
	}},
	"signal_answer_in": &protocol.Signal{
		To: "p_1a2b3c4d5e6f7g8h", Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "answer", SDP: raw(`"v=0\r\n"`),
	},
	"signal_candidates_in": &protocol.Signal{
		To: "p_1a2b3c4d5e6f7g8h", Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "candidates", List: []json.RawMessage{
			raw(`{"candidate": "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "F7gI"}`),
			raw(`{"candidate": "", "sdpMid": null, "sdpMLineIndex": null, "usernameFragment": null}`),
		}, End: true,
	},
	"signal_renegotiate_in": &protocol.Signal{MeetingID: "K7F3", To: "p_1a2b3c4d5e6f7g8h", Kind: "renegotiate"},
	"signal_bye_in":         &protocol.Signal{To: "p_1a2b3c4d5e6f7g8h", Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "bye"},
	"update_signal":         &protocol.UpdateSignal{MeetingID: "K7F3", SDP: raw(`"v=0\r\n"`), Candidate: raw(`["a", {"b": 1.50}]`)},
	"sync":                  &protocol.Sync{MeetingID: "K7F3", HaveRev: 41},
	"media_state":           &protocol.MediaState{Audio: ptr(true), Video: ptr(false), Screen: ptr(false), Hand: raw(`true`)},
	"rename":                &protocol.Rename{MeetingID: "K7F3", Name: "王 小宇"},
	"leave":                 &protocol.Leave{MeetingID: "K7F3"},
	"leave_may_return":      &protocol.Leave{MayReturn: true},
	"leave_http":            &protocol.LeaveByToken{PeerID: "p_9c8b7a6d5e4f3g2h", ResumeToken: "rt_AAAAAAAAAAAAAAAAAAAAAA"},
	"leave_http_may_return": &protocol.LeaveByToken{PeerID: "p_9c8b7a6d5e4f3g2h", ResumeToken: "rt_AAAAAAAAAAAAAAAAAAAAAA", MayReturn: true},
	"leave_http_lobby":      &protocol.LeaveByToken{MeetingID: "K7F3", Ticket: "w_9c8b7a6d5e4f3g2h.AAAAAAAAAAAAAAAAAAAAAA"},
	"heartbeat":             &protocol.Heartbeat{},
	"chat_in": &protocol.Chat{
		MeetingID: "K7F3", ClientID: "c-1", To: "p_1a2b3c4d5e6f7g8h", Text: "两点见？\nsee <you>", Meta: raw(`{"lang": "zh", "n": 1.50}`),
	},
	"chat_sync":     &protocol.ChatSync{MeetingID: "K7F3", After: 41, Limit: 50, Own: true},
	"chat_revoke":   &protocol.ChatRevoke{MeetingID: "K7F3", MessageID: "m_0123456789abcdef"},
	"invite_in":     &protocol.Invite{MeetingID: "K7F3", ToSub: "u-2"},
	"invite_answer": &protocol.InviteAnswer{CallID: callID, Answer: "accept"},
	"invite_cancel": &protocol.InviteCancel{CallID: callID},
	"typing_in":     &protocol.Typing{MeetingID: "K7F3", To: "p_1a2b3c4d5e6f7g8h"},
	"join_fresh": &protocol.Join{
		MeetingID: "K7F3", UserID: "王宇", Name: "王宇", Version: 2, Fingerprint: "sha-256 1A:2B",
		ResumeToken: "rt_AAAAAAAAAAAAAAAAAAAAAA", Fresh: true,
	},
	"join_ticket": &protocol.Join{
		MeetingID: "K7F3", UserID: "王宇", Name: "王宇", Version: 2, Memo: "from the sales team",
		Ticket: "w_1a2b3c4d5e6f7g8h.AAAAAAAAAAAAAAAAAAAAAA", AdmissionToken: "at_AAAAAAAAAAAAAAAAAAAAAA",
	},
	"join_past": &protocol.Join{
		MeetingID: "K7F3", UserID: "王宇", Name: "王宇", Version: 2, PastToken: "rt_AAAAAAAAAAAAAAAAAAAAAA",
	},
	"control": &protocol.Control{
		MeetingID: "K7F3", Camera: ptr(false), Speak: ptr(true), Rename: ptr(true), Chat: ptr(false), Locked: ptr(true),
		Lobby: ptr(true), Takeover: ptr(true), Password: ptr("open sesame"), Spotlight: ptr("p_1a2b3c4d5e6f7g8h"),
	},
	"control_undo":   &protocol.Control{Password: ptr(""), Spotlight: ptr("")},
	"moderate":       &protocol.Moderate{MeetingID: "K7F3", Action: "kick", PeerID: "p_1a2b3c4d5e6f7g8h", Reason: "shouting"},
	"moderate_admit": &protocol.Moderate{Action: "admit", Ticket: "w_1a2b3c4d5e6f7g8h"},
}

var (
	king = protocol.Peer{
		PeerID: "p_1a2b3c4d5e6f7g8h", UserID: "王", Name: "王 <b>", Role: "guest", State: "online",
		Media: protocol.Media{Audio: true, Hand: ptr(int64(1795248000000))},
	}
	ada = protocol.Peer{
		PeerID: "p_v000000000000000", UserID: "Ada", Name: "Ada", Role: "guest", State: "online", Verified: true,
		Media: protocol.Media{Audio: true, Video: true},
	}
	old = protocol.Peer{ // with the original client
		PeerID: "p_w000000000000000", UserID: "小李", Name: "小李", Role: "guest", State: "online", Protocol: 1,
	}
	state  = protocol.MeetingState{Policy: policy}
	policy = protocol.Policy{Camera: true, Speak: true, Rename: true, Chat: true, MaxPeers: 8}
	ice    = []protocol.ICEServer{
		{URLs: []string{"stun:stun.example.org:3478"}},
		{
			URLs: []string{"turn:turn.example.org:3478"}, Username: "1795251600:p_9c8b7a6d5e4f3g2h",
			Credential: "tao4Rm3MSeT/3orE4SPZWa2gs9A=",
		},
	}
	said = protocol.ChatOut{
		MeetingID: "K7F3", MessageID: "m_0123456789abcdef", DeliveryID: 57, ClientID: "c-1", From: "p_9c8b7a6d5e4f3g2h", Name: "王宇",
		Text: "两点见？", At: 1795248000000,
	}
	blobs = raw(`{"王宇":{"SDP":"v=0\r\n","CANDIDATE":{"candidate":"candidate:1","sdpMLineIndex":0}},"王宇 (2)":{"SDP":"","CANDIDATE":""}}`)
)

// fromServer is what the files of the server are made of.
var fromServer = map[string]any{
	"welcome_token": protocol.Welcome{
		Protocol: 2, Server: "signald/1.0.0", Node: "n_0123456789", Epoch: "abcdefghij", Time: 1795248000000, Features: []string{},
		Sub: "u-1",
	},
	"welcome": protocol.Welcome{
		Protocol: 2, Server: "signald/1.0.0", Node: "n_0123456789", Epoch: "abcdefghij", Time: 1795248000000,
		Features: []string{"protocol1", "resume", "sync", "media_state", "rename", "chat", "invite", "control", "moderate", "lobby", "mesh_report", "asked_again"},
		Limits:   protocol.Limits{Message: 131072, SDP: protocol.MaxBlob, Candidate: protocol.MaxCandidate, Batch: protocol.MaxBatch, Chat: protocol.MaxText, Meta: protocol.MaxMeta, Peers: 8},
		Ping:     protocol.Ping{Interval: 5000, Timeout: 5000},
	},
	"join_ack_v2": protocol.Joined{
		Status: "success", Message: "User 王宇 joined meeting 7h2k9m4p0qrstvwx3z8y.", OK: true,
		MeetingID: "7h2k9m4p0qrstvwx3z8y", PeerID: "p_9c8b7a6d5e4f3g2h", Rev: 41, Role: "host", Resumed: true,
		ResumeToken: "rt_AAAAAAAAAAAAAAAAAAAAAA", ResumeTTLMS: 10000, AdmissionToken: "at_AAAAAAAAAAAAAAAAAAAAAA",
		PastPeerIDs: []string{"p_0a0b0c0d0e0f0g0h"},
		Peers:       []protocol.Peer{polite(king, false), polite(away(ada), true)},
		Meeting:     protocol.Meeting{Name: "周会", MeetingState: state},
		ICEServers:  ice, ICETTL: 3600,
	},
	"join_response_v1": protocol.Joined{
		Status: "success", Message: "User 王宇 joined meeting K7F3.", Room: blobs, OK: true,
		MeetingID: "K7F3", PeerID: "p_9c8b7a6d5e4f3g2h", Rev: 2, Role: "guest",
		ResumeToken: "rt_AAAAAAAAAAAAAAAAAAAAAA", ResumeTTLMS: 10000,
		Peers: []protocol.Peer{}, Meeting: protocol.Meeting{MeetingState: state}, ICEServers: []protocol.ICEServer{}, ICETTL: 3600,
	},
	"join_response_error":    protocol.JoinFailed{Error: fault.New(fault.MeetingNotFound).Localized, Code: fault.MeetingNotFound},
	"update_participants_v1": []any{blobs, protocol.MapRev{Rev: 3}},
	"update_participants_v2": protocol.Update{
		MeetingID: "K7F3", Since: 41, Rev: 44, Joined: []protocol.Peer{ada, old},
		Changed: []protocol.Change{{
			PeerID: king.PeerID, Name: "王", Role: "guest", State: "away",
			Media: &protocol.Media{Audio: true, Screen: true, Hand: ptr(int64(1795248000000))},
		}},
		Left: []protocol.Left{{PeerID: "p_2b2b2b2b2b2b2b2b", Reason: "timeout"}},
	},
	"roster": protocol.Roster{OK: true, MeetingID: "K7F3", Rev: 44, Full: true, Peers: []protocol.Peer{ada, old}, Self: &king, Meeting: &state},
	"room_state": protocol.RoomState{MeetingID: "K7F3", Rev: 45, MeetingState: protocol.MeetingState{
		Policy:   protocol.Policy{Speak: true, Rename: true, Chat: true, Lobby: true, Takeover: true, MaxPeers: 8},
		Password: true, Attendance: true, Retention: 172800, Spotlight: &ada.PeerID,
	}},
	"moderated": protocol.Moderated{
		MeetingID: "K7F3", Action: "mute", PeerID: king.PeerID, By: ada.PeerID, Reason: "an echo", At: 1795248000000,
	},
	"lobby": protocol.Lobby{MeetingID: "K7F3", Rev: 46, Waiting: []protocol.Waiter{
		{Ticket: "w_1a2b3c4d5e6f7g8h", UserID: "王宇", Name: "王宇", Memo: "from the sales team", Country: "CN", Since: 1795248000000},
		{Ticket: "w_2a2b3c4d5e6f7g8h", UserID: "Ada", Name: "Ada", Since: 1795248000001},
	}},
	"admitted": protocol.Decided{MeetingID: "K7F3"},
	"denied":   protocol.Decided{MeetingID: "K7F3"},
	"ack_waiting": func() *fault.Error {
		f := fault.New(fault.Waiting)
		f.Ticket = "w_1a2b3c4d5e6f7g8h.AAAAAAAAAAAAAAAAAAAAAA"
		return f
	}(),
	"signal_offer_out": protocol.SignalOut{
		MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", Seq: 12, Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "offer",
		SDP: raw(`"v=0\r\ns=<é>\r\n"`), Restart: true,
	},
	"signal_answer_out": protocol.SignalOut{
		MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", Seq: 13, Neg: "p_1a2b3c4d5e6f7g8h-1", Kind: "answer", SDP: raw(`"v=0\r\n"`),
	},
	"signal_candidates_out": protocol.SignalOut{
		MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", Seq: 14, Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "candidates",
		List: []json.RawMessage{raw(`{"candidate":"candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"F7gI"}`)},
		End:  true,
	},
	"signal_renegotiate_out": protocol.SignalOut{MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", Seq: 15, Kind: "renegotiate"},
	"signal_bye_out": protocol.SignalOut{
		MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", Seq: 16, Neg: "p_9c8b7a6d5e4f3g2h-3", Kind: "bye",
	},
	"mesh_advice": protocol.MeshAdvice{MeetingID: "K7F3", PeerID: "p_1a2b3c4d5e6f7g8h", Action: pairs.Relay, Offer: true},
	"mesh_matrix": protocol.MeshMatrix{
		MeetingID: "K7F3", Members: []string{"p_1a2b3c4d5e6f7g8h", "p_2a2b3c4d5e6f7g8h", "p_9c8b7a6d5e4f3g2h"},
		Rows: []string{"-+n", "~-?", "!c-"},
		Broken: []protocol.MeshBroken{
			{A: "p_1a2b3c4d5e6f7g8h", B: "p_9c8b7a6d5e4f3g2h", Tried: pairs.Restart},
			{A: "p_2a2b3c4d5e6f7g8h", B: "p_9c8b7a6d5e4f3g2h"},
		},
	},
	"closed":          protocol.Closed{MeetingID: "K7F3", Code: "replaced", Reason: "You have joined from another place."},
	"server_draining": protocol.Draining{ReconnectAfterMS: 1250},
	"error_event":     protocol.Failed{Event: "rename", Code: fault.InvalidPayload, Message: "name is missing.", Field: "name"},
	"chat_out": func() protocol.ChatOut {
		out := said
		out.To, out.Text, out.Meta = "p_1a2b3c4d5e6f7g8h", "两点见？\nsee <you>", raw(`{"lang":"zh","n":1.50}`)
		return out
	}(),
	"chat_update": protocol.ChatUpdate{MeetingID: "K7F3", MessageID: said.MessageID, DeliveryID: 58, Revoked: true},
	"ack_chat":    protocol.ChatDone{OK: true, MessageID: said.MessageID, DeliveryID: 57, At: 1795248000000},
	"ack_chat_sync": protocol.ChatPage{
		OK: true, MeetingID: "K7F3", Last: 59,
		Messages: []protocol.ChatOut{said, {
			MeetingID: "K7F3", MessageID: "m_fedcba9876543210", DeliveryID: 59, ClientID: "c-2", From: said.From, Name: said.Name,
			At: 1795248001000, Revoked: true,
		}},
		Updates: []protocol.ChatUpdate{{MeetingID: "K7F3", MessageID: "m_00000000000000aa", DeliveryID: 58, Revoked: true}},
	},
	"invite_out":     protocol.InviteOut{CallID: callID, MeetingID: "K7F3", From: protocol.Caller{Sub: "u-1", Name: "王宇"}, ExpiresInMS: 60000},
	"ack_invite":     protocol.InviteDone{OK: true, CallID: callID, ExpiresInMS: 60000},
	"invite_update":  protocol.InviteState{CallID: callID, State: "no_answer"},
	"invite_handled": protocol.InviteState{CallID: callID, State: "accepted"},
	"typing_out":     protocol.TypingOut{MeetingID: "K7F3", From: "p_9c8b7a6d5e4f3g2h", To: "p_1a2b3c4d5e6f7g8h"},
	"ack_ok":         protocol.Done{OK: true},
	"ack_queued":     protocol.Done{OK: true, Queued: true},
	"ack_heartbeat":  protocol.Done{OK: true, Time: 1795248000000},
	"ack_error":      fault.New(fault.RateLimited).RetryAfter(20e6),
	"ack_error_internal": func() *fault.Error {
		f := fault.New(fault.Internal)
		f.Ref = "0123456789ab"
		return f
	}(),
	"http_error": fault.New(fault.MeetingNotFound),
	"ice":        protocol.ICE{Servers: ice, TTL: 3600},
}

const callID = "n_0123456789/0123456789abcdef"

// elsewhere are the files that another package's test writes.
var elsewhere = map[string]string{"meeting_created": "internal/httpapi", "meeting_info": "internal/httpapi", "attendees": "internal/httpapi"}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func ptr[T any](v T) *T { return &v }

func polite(p protocol.Peer, is bool) protocol.Peer {
	p.Polite = &is
	return p
}

func away(p protocol.Peer) protocol.Peer {
	p.State, p.Media, p.Fingerprint = "away", protocol.Media{}, "sha-256 1A:2B"
	return p
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenMessagesOfClientsAreUnderstood(t *testing.T) {
	for name, want := range fromClients {
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(payload)
		if err := protocol.Decode(golden(t, name), got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestGoldenMessagesOfTheServerAreWhatItSends(t *testing.T) {
	for name, message := range fromServer {
		var file, sent bytes.Buffer
		if err := json.Compact(&file, golden(t, name)); err != nil {
			t.Fatal(err)
		}
		enc := json.NewEncoder(&sent) // as on the wire: no white space, < as it is
		enc.SetEscapeHTML(false)
		if err := enc.Encode(message); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(sent.String()); got != file.String() {
			t.Errorf("%s:\n got %s\nwant %s", name, got, file.String())
		}
	}
}

func TestEveryGoldenFileIsTestedAndListed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	readme, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		_, in := fromClients[name]
		_, out := fromServer[name]
		_, other := elsewhere[name]
		if !in && !out && !other {
			t.Errorf("%s is in no test", name)
		}
		if !bytes.Contains(readme, []byte("`"+name+"`")) {
			t.Errorf("%s is not in the README", name)
		}
	}
}
