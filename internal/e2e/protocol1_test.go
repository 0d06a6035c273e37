package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"signald/internal/protocol"
	"signald/internal/testnode"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// The essay's client, unmodified: no version, no acks.
func TestEssayClientWorksToTheLetter(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		blob := strings.Repeat("v=0\r\no=- 王宇 é\u2028", 150)

		b := newEssay(t, n[0])
		if err := b.Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": "B", "SDP": "b", "CANDIDATE": "c"}); err != nil {
			t.Fatal(err)
		}
		b.next("join_response")

		a := newEssay(t, n[len(n)-1])
		if err := a.Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": "A", "SDP": blob, "CANDIDATE": map[string]any{"x": []int{1, 2}}}); err != nil {
			t.Fatal(err)
		}
		var r struct {
			Status  string
			Message string
			Room    map[string]protocol.Blobs `json:"room_participants"`
		}
		if err := json.Unmarshal(a.next("join_response")[0], &r); err != nil {
			t.Fatal(err)
		}
		if r.Status != "success" || r.Message != "User A joined meeting "+m.MeetingID+"." {
			t.Errorf("got %q, %q", r.Status, r.Message)
		}
		var sdp string
		if err := json.Unmarshal(r.Room["A"].SDP, &sdp); err != nil || sdp != blob {
			t.Errorf("SDP came back as %q (%v)", sdp, err)
		}
		if got := string(r.Room["A"].Candidate); got != `{"x":[1,2]}` {
			t.Errorf("CANDIDATE came back as %s", got)
		}

		for _, e := range []*essay{a, b} {
			all := e.mapOf("B", "A")
			if string(all["B"].SDP) != `"b"` || string(all["B"].Candidate) != `"c"` {
				t.Errorf("B is %s", all["B"].SDP)
			}
		}
		if err := a.Emit("update_signal", map[string]any{"SDP": "new"}); err != nil {
			t.Fatal(err)
		}
		for {
			if all := b.mapOf("B", "A"); string(all["A"].SDP) == `"new"` {
				break
			}
		}
		a.Kill()
		b.mapOf("B")
	})
}

func TestEssayClientIsToldOfAnUnknownMeeting(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		b := newEssay(t, n[0])
		if err := b.Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": "B"}); err != nil {
			t.Fatal(err)
		}
		b.mapOf("B")
		a := newEssay(t, n[len(n)-1])
		if err := a.Emit("join", map[string]any{"meeting_id": "no such key", "user_id": "A"}); err != nil {
			t.Fatal(err)
		}
		if got := string(a.next("join_response")[0]); got != `{"error":"会议不存在","code":"meeting_not_found"}` {
			t.Errorf("got %s", got)
		}
		if err := b.Call(ctx(t), "heartbeat", nil, nil); err != nil { // whatever B was told is here by now
			t.Fatal(err)
		}
		for len(b.events) > 0 {
			if s := <-b.events; s.event != protocol.EventUpdateParticipants {
				t.Errorf("B was told %s", s.event)
			}
		}
	})
}

func TestTwoTabsOfOneNameDoNotDeleteEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		var tabs [3]*essay
		for i := range tabs {
			tabs[i] = newEssay(t, n[i%len(n)])
			if err := tabs[i].Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": "王", "SDP": i}); err != nil {
				t.Fatal(err)
			}
			tabs[i].next("join_response")
		}
		tabs[0].mapOf("王", "王 (2)", "王 (3)")
		tabs[1].Kill()
		all := tabs[0].mapOf("王", "王 (2)")
		if string(all["王 (2)"].SDP) != "2" {
			t.Errorf("who stayed is %v", all)
		}
	})
}

func TestMapsAreCoalesced(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		began := time.Now()
		first := newEssay(t, n[0])
		const others = 40
		for i := range others {
			e := first
			if i > 0 {
				e = newEssay(t, n[i%len(n)])
			}
			if err := e.Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": fmt.Sprint("u", i)}); err != nil {
				t.Fatal(err)
			}
			e.next("join_response")
		}
		maps := 0
		for {
			raw := first.next(protocol.EventUpdateParticipants)[0]
			if maps++; len(orderedKeys(t, raw)) == others {
				break
			}
		}
		if most := 2 + int(time.Since(began)/(250*time.Millisecond)); maps > most {
			t.Errorf("%d maps for %d joins in %s", maps, others, time.Since(began))
		}
	}, "SIGNALD_MAX_PEERS=100")
}
