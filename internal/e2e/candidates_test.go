package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// hearsSignals is a member that notes the signals as they come.
func hearsSignals(t *testing.T, n *testnode.Node, m client.Meeting) (peerID string, signals chan json.RawMessage) {
	t.Helper()
	signals = make(chan json.RawMessage, 64)
	conn, err := client.Dial(ctx(t), n.URL, client.Options{OnEvent: func(event string, args []json.RawMessage) {
		if event == protocol.EventSignal {
			signals <- args[0]
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Kill)
	var joined struct {
		PeerID string `json:"peer_id"`
	}
	if err := conn.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "b", "v": 2}, &joined); err != nil {
		t.Fatal(err)
	}
	return joined.PeerID, signals
}

const (
	insideCandidate = "candidate:1 1 udp 2122260223 192.168.1.5 50000 typ host"
	mdnsCandidate   = "candidate:2 1 udp 2122260223 4d3c2b1a-0000-4000-8000-000000000000.local 50000 typ host"
	publicCandidate = "candidate:3 1 udp 1685987071 81.2.69.142 50000 typ srflx raddr 192.168.1.5 rport 50000"
	hiddenCandidate = "candidate:3 1 udp 1685987071 81.2.69.142 50000 typ srflx raddr 0.0.0.0 rport 0"
)

// signalIn is a signal as a browser reads it.
type signalIn struct {
	SDP  string `json:"sdp"`
	List []struct {
		Candidate string `json:"candidate"`
		Mid       string `json:"sdpMid"`
	} `json:"list"`
	End bool `json:"end"`
}

func TestCandidatesAtPrivateAddressesArePassedOnUnlessTheSettingSaysNo(t *testing.T) {
	for setting, want := range map[string][]string{
		"all":    {insideCandidate, mdnsCandidate, publicCandidate, insideCandidate, ""},
		"public": {hiddenCandidate, ""},
	} {
		t.Run(setting, func(t *testing.T) {
			onEach(t, func(t *testing.T, n []*testnode.Node) {
				m := meeting(t, n[0], nil)
				b, signals := hearsSignals(t, n[len(n)-1], m)
				a := join(t, n[0], as(m, "a"), nil)
				sees(t, a, map[string]string{"b": "online"})
				send := func(payload map[string]any) (got signalIn) {
					t.Helper()
					payload["to"], payload["neg"] = b, "1"
					if err := a.Conn().Call(ctx(t), "signal", payload, nil); err != nil {
						t.Fatal(err)
					}
					select {
					case raw := <-signals:
						if err := json.Unmarshal(raw, &got); err != nil {
							t.Fatal(err)
						}
						if setting == "public" && (strings.Contains(string(raw), "192.168.") || strings.Contains(string(raw), ".local")) {
							t.Errorf("%s", raw)
						}
					case <-ctx(t).Done():
						t.Fatal("no signal came")
					}
					return got
				}
				var list []any
				for _, c := range []string{insideCandidate, mdnsCandidate, publicCandidate} {
					list = append(list, map[string]any{"candidate": c, "sdpMid": "0", "usernameFragment": "F7gI"})
				}
				// A browser takes the last of two fields of the same name.
				list = append(list, json.RawMessage(`{"candidate":"","candidate":"`+insideCandidate+`","sdpMid":"0"}`), map[string]any{"candidate": "", "sdpMid": "0"})
				got := send(map[string]any{"kind": "candidates", "list": list, "end": true})
				var texts []string
				for _, c := range got.List {
					if texts = append(texts, c.Candidate); c.Mid != "0" {
						t.Errorf("%+v", c)
					}
				}
				if !slices.Equal(texts, want) || !got.End {
					t.Errorf("%q, %v, want %q", texts, got.End, want)
				}
				sdp := "v=0\r\no=- 1 2 IN IP4 192.168.1.5\r\nm=audio 9 X 0\r\na=" + insideCandidate + "\r\na=mid:<0>\r\n"
				wantSDP := sdp
				if setting == "public" {
					wantSDP = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\nm=audio 9 X 0\r\na=mid:<0>\r\n"
				}
				if got := send(map[string]any{"kind": "offer", "sdp": sdp}).SDP; got != wantSDP {
					t.Errorf("%q", got)
				}
				if got := send(map[string]any{"kind": "candidates", "list": list[:2]}); setting == "public" && len(got.List) != 0 { // the ack is as of any other
					t.Errorf("%+v", got)
				}
			}, "SIGNALD_CANDIDATES="+setting)
		})
	}
}
