package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

func TestEveryoneSeesEveryone(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		names := []string{"a", "b", "c", "d", "e"}
		all := make([]*client.Participant, len(names))
		for i, name := range names {
			all[i] = join(t, n[i%len(n)], as(m, name), nil)
		}
		for i, p := range all {
			want := map[string]string{}
			for j, name := range names {
				if j != i {
					want[name] = "online"
				}
			}
			sees(t, p, want)
			if p.Gaps() != 0 {
				t.Errorf("%s had %d gaps", names[i], p.Gaps())
			}
		}
		var info struct{ Participants int }
		if err := client.Request(ctx(t), http.MethodGet, n[0].URL, "/api/v1/meetings/"+m.MeetingID, "", nil, &info); err != nil || info.Participants != 5 {
			t.Errorf("%d participants (%v)", info.Participants, err)
		}
	})
}

func TestJoinAnswersWhoIsThereAndWhoIsPolite(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"name": "演示", "policy": map[string]any{"chat": false}})
		host := as(m, "host")
		host.HostKey = m.HostKey
		a := join(t, n[0], host, nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		got := b.Joined()
		if len(got.Peers) != 1 || got.Peers[0].PeerID != a.PeerID() || got.Peers[0].Role != "host" || got.Role != "guest" {
			t.Fatalf("got %+v", got)
		}
		if polite := got.Peers[0].Polite; polite == nil || *polite != (b.PeerID() < a.PeerID()) {
			t.Errorf("polite is %v", polite)
		}
		if got.Meeting.Name != "演示" || got.Meeting.Policy.Chat || !got.Meeting.Policy.Speak {
			t.Errorf("meeting is %+v", got.Meeting)
		}
		if got.Rev != a.Joined().Rev+1 {
			t.Errorf("rev %d after %d", got.Rev, a.Joined().Rev)
		}
	})
}

func TestSignalsReachOneInOrderFromWhoSentThem(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		box, other := newInbox(), newInbox()
		b := join(t, n[0], as(m, "b"), box)
		join(t, n[0], as(m, "c"), other)
		a := join(t, n[len(n)-1], as(m, "a"), nil)
		const count = 200
		for i := range count {
			err := a.Conn().Emit("signal", map[string]any{
				"to": b.PeerID(), "from": "p_forged", "seq": 7, "kind": "offer", "neg": fmt.Sprint(i), "sdp": "v=0",
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		box.await(t, "200 signals", func() bool { return len(box.signals) == count })
		for i, s := range box.signals {
			if s.From != a.PeerID() || s.Seq != uint64(i+1) || s.Neg != fmt.Sprint(i) {
				t.Fatalf("signal %d is %+v", i, s)
			}
		}
		if len(other.signals) != 0 {
			t.Errorf("somebody else got %d signals", len(other.signals))
		}
	})
}

func TestSignalsStayInTheirMeeting(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		box := newInbox()
		x := join(t, n[len(n)-1], as(meeting(t, n[0], nil), "x"), box)
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		_, err := a.Signal(ctx(t), x.PeerID(), "offer", "1", "v=0")
		wantCode(t, err, fault.NotInMeeting)

		b := join(t, n[len(n)-1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		if err := b.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		sees(t, a, map[string]string{})
		_, err = a.Signal(ctx(t), b.PeerID(), "offer", "1", "v=0")
		wantCode(t, err, fault.PeerGone)
		_, err = a.Signal(ctx(t), a.PeerID(), "offer", "1", "v=0")
		wantCode(t, err, fault.InvalidPayload)
		if len(box.signals) != 0 {
			t.Errorf("a signal crossed meetings: %+v", box.signals)
		}
	})
}

func TestSignalNeverOvertakesJoined(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		order := make(chan string, 1000)
		watcher, err := client.Dial(ctx(t), n[len(n)-1].URL, client.Options{OnEvent: func(event string, args []json.RawMessage) {
			switch event {
			case protocol.EventUpdateParticipants:
				var u protocol.Update
				_ = json.Unmarshal(args[0], &u)
				for _, p := range u.Joined {
					order <- "joined " + p.PeerID
				}
			case protocol.EventSignal:
				var s client.Signal
				_ = json.Unmarshal(args[0], &s)
				order <- "signal " + s.From
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(watcher.Kill)
		var me protocol.Joined
		if err := watcher.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "w", "v": 2}, &me); err != nil {
			t.Fatal(err)
		}
		const others = 30
		for i := range others {
			p := join(t, n[i%len(n)], as(m, fmt.Sprint(i)), nil)
			if _, err := p.Signal(ctx(t), me.PeerID, "offer", "1", "v=0"); err != nil {
				t.Fatal(err)
			}
		}
		joined := map[string]bool{}
		for range others * 2 {
			what, who, _ := strings.Cut(<-order, " ")
			if what == "joined" {
				joined[who] = true
			} else if !joined[who] {
				t.Fatalf("the signal of %s came before it had joined", who)
			}
		}
	}, "SIGNALD_MAX_PEERS=100")
}

func TestLeavingIsToldAtOnceAndLeavesNoRow(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		if err := b.Conn().Call(ctx(t), "leave", map[string]any{}, nil); err != nil {
			t.Fatal(err)
		}
		sees(t, a, map[string]string{})
		wantCode(t, b.Conn().Call(ctx(t), "leave", map[string]any{}, nil), fault.NotJoined)
		if err := b.Conn().Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "b", "v": 2}, nil); err != nil {
			t.Errorf("joining again: %v", err)
		}
		sees(t, a, map[string]string{"b": "online"})

		// As a page that is being closed does.
		c := join(t, n[len(n)-1], as(m, "c"), nil)
		sees(t, a, map[string]string{"b": "online", "c": "online"})
		body := map[string]any{"peer_id": c.PeerID(), "resume_token": c.Joined().ResumeToken}
		if err := client.Request(ctx(t), http.MethodPost, n[0].URL, "/api/v1/leave", "", body, nil); err != nil {
			t.Fatal(err)
		}
		sees(t, a, map[string]string{"b": "online"})
		wantCode(t, client.Request(ctx(t), http.MethodPost, n[0].URL, "/api/v1/leave", "", body, nil), fault.NotJoined)

		db := database(t, n[0])
		var rows int
		if err := db.QueryRowContext(ctx(t), `SELECT count(*) FROM participants`).Scan(&rows); err != nil || rows != 2 {
			t.Errorf("%d rows (%v)", rows, err)
		}
	})
}

func TestLostConnectionIsAwayThenOut(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		b.Conn().Kill()
		sees(t, a, map[string]string{"b": "away"})
		sees(t, a, map[string]string{})
	}, "SIGNALD_GRACE=300ms")
}

func TestResumeKeepsTheSeatAndWhatCameMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		b.Conn().Kill()
		sees(t, a, map[string]string{"b": "away"})
		for i := range 5 {
			queued, err := a.Signal(ctx(t), b.PeerID(), "offer", fmt.Sprint(i), "v=0")
			if err != nil || !queued {
				t.Fatalf("queued %v, %v", queued, err)
			}
		}
		box := newInbox()
		j := as(m, "b")
		j.ResumeToken = b.Joined().ResumeToken
		back := join(t, n[0], j, box)
		if back.PeerID() != b.PeerID() || !back.Joined().Resumed || back.Joined().ResumeToken == b.Joined().ResumeToken {
			t.Fatalf("came back as %+v", back.Joined())
		}
		sees(t, a, map[string]string{"b": "online"})
		box.await(t, "the signals", func() bool { return len(box.signals) == 5 })
		for i, s := range box.signals {
			if s.Neg != fmt.Sprint(i) || s.Seq != uint64(i+1) {
				t.Errorf("signal %d is %+v", i, s)
			}
		}
		awaitNoRow(t, n[0], previousTokens) // the client has shown that it has the next one
		_, err := client.Join(ctx(t), n[0].URL, j, client.Handlers{}, client.Options{})
		wantCode(t, err, fault.ResumeExpired)
		sees(t, a, map[string]string{"b": "online"})
	})
}

func TestResumeTakesTheSeatFromAConnectionThatLooksAlive(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		box := newInbox()
		old := join(t, n[0], as(m, "b"), box)
		j := as(m, "b")
		j.ResumeToken = old.Joined().ResumeToken
		now := join(t, n[len(n)-1], j, nil)
		box.await(t, "closed", func() bool { return len(box.closed) == 1 })
		if c := box.closed[0]; c.Code != "replaced" || c.Rejoin {
			t.Errorf("closed with %+v", c)
		}
		select {
		case <-old.Conn().Done():
		case <-ctx(t).Done():
			t.Fatal("the old connection was not closed")
		}
		// Its end must not take the seat from the new one.
		if err := now.Conn().Call(ctx(t), "media_state", map[string]any{"audio": true}, nil); err != nil {
			t.Errorf("the new connection lost its seat: %v", err)
		}
	})
}

func TestSecondLogin(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		box := newInbox()
		first := join(t, n[0], as(m, "u"), box)
		watch := join(t, n[0], as(m, "w"), nil)
		try := func(joinType int, hostKey string) error {
			j := as(m, "u")
			j.JoinType, j.HostKey = joinType, hostKey
			p, err := client.Join(ctx(t), n[len(n)-1].URL, j, client.Handlers{}, client.Options{})
			if err == nil {
				t.Cleanup(p.Conn().Kill)
			}
			return err
		}
		wantCode(t, try(1, ""), fault.UserInUse)
		wantCode(t, try(2, ""), fault.Forbidden)
		if err := first.Conn().Call(ctx(t), "heartbeat", nil, nil); err != nil {
			t.Fatalf("the first was disturbed: %v", err)
		}
		if err := try(2, m.HostKey); err != nil {
			t.Fatal(err)
		}
		box.await(t, "closed", func() bool { return len(box.closed) == 1 && box.closed[0].Code == "replaced" })
		sees(t, watch, map[string]string{"u": "online"})
		if err := try(0, ""); err != nil { // beside
			t.Fatal(err)
		}
		if err := watch.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == 2 }); err != nil {
			t.Error(err)
		}
	})
}

func TestOneSocketInSeveralMeetings(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		var meetings [3]client.Meeting
		var watchers [3]*client.Participant
		for i := range meetings {
			meetings[i] = meeting(t, n[0], nil)
			watchers[i] = join(t, n[i%len(n)], as(meetings[i], "w"), nil)
		}
		c, err := client.Dial(ctx(t), n[0].URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range meetings {
			if err := c.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "a", "v": 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range watchers {
			sees(t, w, map[string]string{"a": "online"})
		}
		wantCode(t, c.Call(ctx(t), "media_state", map[string]any{"audio": true}, nil), fault.InvalidPayload)
		if err := c.Call(ctx(t), "media_state", map[string]any{"audio": true, "meeting_id": meetings[1].MeetingID}, nil); err != nil {
			t.Error(err)
		}
		if err := c.Call(ctx(t), "signal", map[string]any{"to": watchers[2].PeerID(), "kind": "bye"}, nil); err != nil {
			t.Errorf("a peer names its meeting: %v", err)
		}
		c.Kill()
		for _, w := range watchers {
			sees(t, w, map[string]string{})
		}
	})
}

func TestSeatLostInOneMeetingIsNotLostInOthers(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		closed := make(chan protocol.Closed, 10)
		c, err := client.Dial(ctx(t), n[0].URL, client.Options{OnEvent: func(event string, args []json.RawMessage) {
			var what protocol.Closed
			if event == protocol.EventClosed && json.Unmarshal(args[0], &what) == nil {
				closed <- what
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Kill)
		meetings := []client.Meeting{meeting(t, n[0], nil), meeting(t, n[0], nil), meeting(t, n[0], nil)}
		var seats []protocol.Joined
		var watchers []*traveller
		for _, m := range meetings {
			var joined protocol.Joined
			if err := c.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "a", "v": 2}, &joined); err != nil {
				t.Fatal(err)
			}
			seats = append(seats, joined)
			watchers = append(watchers, travel(t, m, "w", n[len(n)-1]))
		}
		if err := c.Call(ctx(t), "leave", map[string]any{"meeting_id": meetings[2].MeetingID}, nil); err != nil {
			t.Fatal(err)
		}
		takeover := func(i int) {
			t.Helper()
			j := as(meetings[i], "a")
			j.ResumeToken = seats[i].ResumeToken
			join(t, n[len(n)-1], j, nil)
			select {
			case what := <-closed:
				if what.MeetingID != meetings[i].MeetingID || what.Code != "replaced" {
					t.Errorf("closed with %+v", what)
				}
			case <-ctx(t).Done():
				t.Fatal("it was not told")
			}
		}
		mute := func(i int) error {
			return c.Call(ctx(t), "media_state", map[string]any{"meeting_id": meetings[i].MeetingID, "audio": true}, nil)
		}

		takeover(0)
		wantCode(t, mute(0), fault.NotJoined)
		if err := mute(1); err != nil {
			t.Errorf("in the other meeting: %v", err)
		}
		err = watchers[1].must(t).Await(ctx(t), func(peers map[string]protocol.Peer) bool {
			p := peers[seats[1].PeerID]
			if p.State == "away" {
				t.Error("away in the other meeting")
			}
			return p.Media.Audio
		})
		if err != nil {
			t.Fatal(err)
		}
		takeover(1) // its last
		select {
		case <-c.Done():
		case <-ctx(t).Done():
			t.Error("a connection without a seat was not ended")
		}
	})
}

func TestBadEventsAreAnsweredAndHarmNobody(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		at := n[len(n)-1]
		pid := at.PID()
		m := meeting(t, n[0], nil)
		bystander := join(t, n[0], as(m, "b"), nil)
		c, err := client.Dial(ctx(t), at.URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Kill)
		for _, bad := range []struct {
			event   string
			payload any
			code    fault.Code
			field   string
		}{
			{"join", nil, fault.InvalidPayload, ""},
			{"join", "x", fault.InvalidPayload, ""},
			{"join", []int{}, fault.InvalidPayload, ""},
			{"join", map[string]any{}, fault.InvalidPayload, "meeting_id"},
			{"join", map[string]any{"meeting_id": map[string]any{}}, fault.InvalidPayload, "meeting_id"},
			{"join", map[string]any{"meeting_id": m.MeetingID, "user_id": "a\u0000b"}, fault.InvalidPayload, "user_id"},
			{"join", map[string]any{"meeting_id": m.MeetingID, "user_id": "u", "v": 3}, fault.UnsupportedVersion, ""},
			{"join", map[string]any{"meeting_id": m.MeetingID, "user_id": "u", "SDP": strings.Repeat("x", 33<<10)}, fault.PayloadTooLarge, "SDP"},
			{"signal", map[string]any{"to": "p", "kind": "offer", "sdp": "v=0"}, fault.NotJoined, ""},
			{"signal", map[string]any{"to": 1}, fault.InvalidPayload, "to"},
			{"rename", map[string]any{"name": strings.Repeat("x", 300)}, fault.InvalidPayload, "name"},
			{"unheard_of", map[string]any{}, fault.UnknownEvent, ""},
		} {
			err := c.Call(ctx(t), bad.event, bad.payload, nil)
			wantCode(t, err, bad.code)
			if f, ok := err.(*fault.Error); !ok || f.Field != bad.field || f.Message == "" { //nolint:errorlint // Call says so
				t.Errorf("%s %v: got %+v", bad.event, bad.payload, err)
			}
		}
		if err := bystander.Conn().Call(ctx(t), "heartbeat", nil, nil); err != nil || !at.Running() || at.PID() != pid {
			t.Errorf("a bystander was disturbed: %v", err)
		}
	})
}

func TestErrorsWithoutAnAckAreEvents(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		e := newEssay(t, n[len(n)-1])
		if err := e.Emit("rename", map[string]any{"name": "x"}); err != nil {
			t.Fatal(err)
		}
		var f protocol.Failed
		if err := json.Unmarshal(e.next("error_event")[0], &f); err != nil || f.Event != "rename" || f.Code != fault.NotJoined {
			t.Errorf("got %+v (%v)", f, err)
		}
	})
}

func TestFullMeetingRefusesNextJoin(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"policy": map[string]any{"max_peers": 2}})
		join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		_, err := client.Join(ctx(t), n[0].URL, as(m, "c"), client.Handlers{}, client.Options{})
		wantCode(t, err, fault.MeetingFull)
		if err := b.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		join(t, n[0], as(m, "c"), nil)
	})
}

func TestLeftoversOfAKilledServerAreGone(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		for i := range 5 {
			join(t, n[i%len(n)], as(m, fmt.Sprint(i)), nil)
		}
		for _, node := range n {
			node.Kill()
		}
		began := time.Now()
		n[0].Start() // the others stay dead
		eventually(t, "nobody is left", 30*time.Second, func() bool { return count(t, n[0], m) == 0 })
		t.Logf("with a grace of 500 ms no ghost %s after the restart", time.Since(began))
		join(t, n[0], as(m, "later"), nil)
	}, "SIGNALD_GRACE=500ms")
}

func TestResumeAfterTheServerWasKilled(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		a := join(t, n[0], as(m, "a"), nil)
		b := join(t, n[len(n)-1], as(m, "b"), nil)
		for _, node := range n {
			node.Kill()
		}
		for _, node := range n {
			node.Launch()
		}
		for _, node := range n {
			node.AwaitReady()
		}
		back := func(old *client.Participant, name string) *client.Participant {
			j := as(m, name)
			j.ResumeToken = old.Joined().ResumeToken
			p := join(t, n[len(n)-1], j, nil)
			if p.PeerID() != old.PeerID() {
				t.Errorf("%s is %s, was %s", name, p.PeerID(), old.PeerID())
			}
			return p
		}
		a2 := back(a, "a")
		back(b, "b")
		sees(t, a2, map[string]string{"b": "online"})
	})
}

func TestPlannedStopTellsEveryoneAndExitsWithZero(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		events := make(chan string, 100)
		c, err := client.Dial(ctx(t), n[0].URL, client.Options{OnEvent: func(event string, _ []json.RawMessage) { events <- event }})
		if err != nil {
			t.Fatal(err)
		}
		var me protocol.Joined
		if err := c.Call(ctx(t), "join", map[string]any{"meeting_id": m.MeetingID, "user_id": "a", "v": 2}, &me); err != nil {
			t.Fatal(err)
		}
		if code := n[0].Stop(ctx(t)); code != 0 {
			t.Errorf("exit code %d", code)
		}
		<-c.Done()
		draining := false
		for len(events) > 0 {
			draining = <-events == protocol.EventServerDraining || draining
		}
		if !draining {
			t.Error("nobody was told")
		}
		n[0].Start()
		j := as(m, "a")
		j.ResumeToken = me.ResumeToken
		if p := join(t, n[len(n)-1], j, nil); p.PeerID() != me.PeerID {
			t.Error("the seat was lost")
		}
	})
}

func TestParallelGuessesAtKeysGetNoFurther(t *testing.T) {
	n := testnode.Start(t, "SIGNALD_RATE_LIMITS=on")
	began := time.Now()
	var guessed, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			_, err := client.Join(ctx(t), n.URL, protocol.Join{MeetingID: fmt.Sprint("guess-", i), UserID: "u"}, client.Handlers{}, client.Options{})
			switch fault.CodeOf(err) {
			case fault.MeetingNotFound:
				guessed.Add(1)
			case fault.RateLimited:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most := 20 + int64(time.Since(began)/(4500*time.Millisecond)); guessed.Load() < 20 || guessed.Load() > most || guessed.Load()+refused.Load() != 60 {
		t.Errorf("%d guessed, %d refused; want 20 to %d", guessed.Load(), refused.Load(), most)
	}
}

func TestLogsHoldNoSecrets(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"password": "geheim-pass"})
		j := as(m, "a")
		j.HostKey = m.HostKey
		a := join(t, n[0], j, nil)
		j = as(m, "b")
		j.Password = "geheim-pass"
		b := join(t, n[len(n)-1], j, nil)
		sees(t, a, map[string]string{"b": "online"})
		if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "1", "v=0 a=candidate:secret-sdp"); err != nil {
			t.Fatal(err)
		}
		_, err := client.Join(ctx(t), n[0].URL, as(m, "c"), client.Handlers{}, client.Options{})
		wantCode(t, err, fault.BadPassword)
		if err := b.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		log := ""
		for _, node := range n {
			node.Stop(ctx(t))
			log += node.Log()
		}
		for _, want := range []string{"meeting created", "connected", "joined", "left"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		for _, secret := range []string{m.MeetingID, m.HostKey, a.Joined().ResumeToken, b.Joined().ResumeToken, "geheim-pass", "secret-sdp", "a=candidate", testnode.AdminToken} {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
}

func TestManyJoinAndLeaveAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], nil)
		stay := join(t, n[0], as(m, "stay"), nil)
		errs := make(chan error, 50)
		var refused atomic.Int64 // as unavailable, for want of a core
		enter := func(c context.Context, i int) (p *client.Participant, err error) {
			for {
				p, err = client.Join(c, n[i%len(n)].URL, as(m, fmt.Sprint("u", i)), client.Handlers{}, client.Options{})
				if fault.CodeOf(err) != fault.Unavailable || c.Err() != nil {
					return p, err
				}
				refused.Add(1)
				time.Sleep(time.Second)
			}
		}
		for i := range cap(errs) {
			go func() {
				errs <- func() error {
					c, cancel := context.WithTimeout(context.Background(), 40*time.Second)
					defer cancel()
					for range 3 {
						p, err := enter(c, i)
						if err != nil {
							return err
						}
						if err := p.Leave(c); err != nil {
							return err
						}
					}
					_, err := enter(c, i)
					return err
				}()
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if err := stay.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == cap(errs) }); err != nil {
			t.Fatal(err)
		}
		least := int64(1 + 7*cap(errs))
		most := least + 2*refused.Load() // a join that was refused may have been done, and is undone then
		if rev, _ := stay.Roster(); rev < least || rev > most {
			t.Errorf("rev %d, want %d to %d", rev, least, most)
		}
		if stay.Gaps() != 0 {
			t.Errorf("%d gaps", stay.Gaps())
		}
	}, "SIGNALD_MAX_PEERS=200")
}
