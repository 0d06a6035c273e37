package participants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

func media(s string) *protocol.MediaState {
	m := &protocol.MediaState{}
	if err := json.Unmarshal([]byte(s), m); err != nil {
		panic(err)
	}
	return m
}

func TestMediaStateAgainstThePolicy(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, c := range []struct {
			camera, speak bool
			said          string
			allowed       bool
		}{
			{true, true, `{"audio":true,"video":true,"screen":true}`, true},
			{false, true, `{"video":true}`, false},
			{false, true, `{"audio":true,"video":true}`, false},
			{false, true, `{"audio":true}`, true},
			{false, true, `{"video":false,"screen":true}`, true},
			{true, false, `{"audio":true}`, false},
			{true, false, `{"audio":true,"video":true}`, false},
			{true, false, `{"audio":false,"video":true}`, true},
			{false, false, `{"hand":true,"screen":true}`, true},
		} {
			id := fmt.Sprint("k", i)
			create(t, db, id, func(m *store.NewMeeting) { m.Policy.Camera, m.Policy.Speak = c.camera, c.speak })
			s := serve(t, db)
			guest, host := s.join(protocol.Join{MeetingID: id}), s.join(protocol.Join{MeetingID: id, HostKey: hostKey})
			rev := roster(guest).Rev
			err := s.SetMedia(context.Background(), guest.Seat, media(c.said))
			if c.allowed {
				must(t, err)
			} else {
				wantCode(t, c.said, err, fault.Forbidden)
				if roster(guest).Rev != rev || peer(guest, guest.Seat.PeerID).Media != (rooms.Media{}) {
					t.Errorf("%s: refused, and done all the same", c.said)
				}
			}
			must(t, s.SetMedia(context.Background(), host.Seat, media(c.said)))
			for _, g := range []struct {
				peerID string
				done   bool
			}{{guest.Seat.PeerID, c.allowed}, {host.Seat.PeerID, true}} {
				said, stored := media(c.said), peer(guest, g.peerID).Media
				p, _ := row(t, db, g.peerID)
				if rooms.Media(p.Media).Audio != stored.Audio || p.Media.Video != stored.Video || p.Media.Screen != stored.Screen {
					t.Errorf("%s: the store has %+v, the room %+v", c.said, p.Media, stored)
				}
				is := func(b *bool) bool { return g.done && b != nil && *b }
				if stored.Audio != is(said.Audio) || stored.Video != is(said.Video) || stored.Screen != is(said.Screen) {
					t.Errorf("%s: %+v", c.said, stored)
				}
			}
		}
	})
}

func TestMediaThatIsNotSpokenOfStays(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch, g := s.join(protocol.Join{}), s.join(protocol.Join{Media: &protocol.Media{Audio: true, Video: true}})
		must(t, s.SetMedia(context.Background(), g.Seat, media(`{"audio":false}`)))
		must(t, s.SetMedia(context.Background(), g.Seat, media(`{"screen":true}`)))
		want := rooms.Media{Video: true, Screen: true}
		if got := peer(g, g.Seat.PeerID).Media; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		eventually(t, "the others hear of it", func() bool { p, _ := watch.changed(g.Seat.PeerID); return p.Media == want })
	})
}

func TestJoiningAndReturningTakesWhatThePolicyForbidsAway(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		all := &protocol.Media{Audio: true, Video: true, Screen: true}
		g := s.join(protocol.Join{Media: all})
		set(t, db, "k", func(st *store.State) { st.Policy.Camera = false })
		back := s.join(protocol.Join{ResumeToken: g.ResumeToken})
		if got := peer(back, g.Seat.PeerID).Media; !got.Audio || got.Video || !got.Screen {
			t.Errorf("back without saying: %+v", got)
		}
		back = s.join(protocol.Join{ResumeToken: back.ResumeToken, Media: all})
		if got := peer(back, g.Seat.PeerID).Media; !got.Audio || got.Video || !got.Screen {
			t.Errorf("back: %+v", got)
		}
		set(t, db, "k", func(st *store.State) { st.Policy.Speak = false })
		if g := s.join(protocol.Join{Media: all}); peer(g, g.Seat.PeerID).Media != (rooms.Media{Screen: true}) {
			t.Errorf("new: %+v", peer(g, g.Seat.PeerID).Media)
		}
		if g := s.join(protocol.Join{Media: all, HostKey: hostKey}); peer(g, g.Seat.PeerID).Media != rooms.Media(*all) {
			t.Errorf("the host: %+v", peer(g, g.Seat.PeerID).Media)
		}
	})
}

func TestHandIsStampedOnceWhenItGoesUp(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		g := s.join(protocol.Join{Media: &protocol.Media{}})
		say := func(what string) *int64 {
			t.Helper()
			must(t, s.SetMedia(context.Background(), g.Seat, media(what)))
			return peer(g, g.Seat.PeerID).Media.Hand
		}
		before := time.Now().UnixMilli()
		up := say(`{"hand":12345}`) // the server's clock counts
		if up == nil || *up < before || *up > time.Now().UnixMilli() {
			t.Fatalf("up at %v", up)
		}
		for _, again := range []string{`{"hand":true}`, `{"hand":99}`, `{"audio":true}`} {
			eventually(t, "time goes on", func() bool { return time.Now().UnixMilli() > *up })
			if now := say(again); now == nil || *now != *up {
				t.Errorf("%s stamped it again", again)
			}
		}
		g = s.join(protocol.Join{ResumeToken: g.ResumeToken, Media: &protocol.Media{Hand: ptr(int64(7))}})
		if now := peer(g, g.Seat.PeerID).Media.Hand; now == nil || *now != *up {
			t.Errorf("coming back stamped it again: %v", now)
		}
		for _, down := range []string{`{"hand":false}`, `{"hand":null}`, `{"hand":false}`} {
			if now := say(down); now != nil {
				t.Errorf("%s: %v", down, *now)
			}
			if down == `{"hand":false}` {
				if now := say(`{"hand":true}`); now == nil || *now <= *up {
					t.Errorf("up again: %v", now)
				}
			}
		}
	})
}

func TestRenameAgainstThePolicy(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		ctx := context.Background()
		watch, g, host := s.join(protocol.Join{UserID: "watch"}), s.join(protocol.Join{UserID: "王"}), s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		must(t, s.Rename(ctx, g.Seat, "王宇"))
		eventually(t, "the others hear of it", func() bool { p, _ := watch.changed(g.Seat.PeerID); return p.Name == "王宇" && p.UserID == "王" })
		set(t, db, "k", func(st *store.State) { st.Policy.Rename = false })
		wantCode(t, "rename", s.Rename(ctx, g.Seat, "refused"), fault.Forbidden)
		must(t, s.Rename(ctx, host.Seat, "the host"))
		if p, _ := row(t, db, g.Seat.PeerID); p.Name != "王宇" || peer(g, g.Seat.PeerID).Name != "王宇" {
			t.Errorf("named %q", p.Name)
		}
		if p, _ := row(t, db, host.Seat.PeerID); p.Name != "the host" {
			t.Errorf("the host is named %q", p.Name)
		}
	})
}

// The blobs of protocol 1, as JSON.
var blobs = []string{
	`""`, `"v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\n"`, `"王宇 🎧"`, `"\u738b\uD83C\uDFA7"`, `"a\u0000b"`, `"\ud800"`, `"\udc00\ud800"`,
	`"\/\b\f"`, `"<script>&amp;"`, "\"\u2028\u2029\"", `"\u2028"`, `"'; DROP TABLE participants;--"`, `"\\\""`, `"\ufffd"`, `"null"`, `"\u0041"`,
	`{ "type" : "offer",` + "\r\n\t" + `"sdp":"v=0\r\n" }`, `{"b":1,"a":2,"a":3}`, `[ 1 , 2.50, -0, 1e400 ]`, `12345678901234567890.10`, `0`, `true`, `{}`, `[]`,
}

func TestBlobsAreEchoedByteForByte(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 1000 })
		s := serve(t, db)
		check := func(what string, r rooms.Roster, g guest, sdp, candidate string) {
			t.Helper()
			for _, p := range r.Peers {
				if p.PeerID == g.Seat.PeerID && (string(p.SDP) != sdp || string(p.Candidate) != candidate) {
					t.Errorf("%s: SDP %s came as %s, CANDIDATE %s as %s", what, sdp, p.SDP, candidate, p.Candidate)
				}
			}
		}
		read := func() rooms.Roster { // as a node reads it that has heard nothing
			r, err := serve(t, db, named("n2")).rooms.Acquire(context.Background(), "k")
			must(t, err)
			return r.Roster()
		}
		for i, sdp := range blobs {
			candidate := blobs[(i+1)%len(blobs)]
			sent, sentToo := raw(sdp), raw(candidate)
			g := s.join(protocol.Join{SDP: sent, Candidate: sentToo, Version: 1})
			copy(sent, "XXXX") // the parser's buffer is not ours to keep
			copy(sentToo, "XXXX")
			check("joined", g.Roster, g, sdp, candidate)
			check("read", read(), g, sdp, candidate)

			must(t, s.SetBlobs(context.Background(), g.Seat, nil, raw(sdp)))
			check("one replaced", roster(g), g, sdp, sdp)
			must(t, s.SetBlobs(context.Background(), g.Seat, raw(candidate), nil))
			check("the other replaced", roster(g), g, candidate, sdp)
			check("read", read(), g, candidate, sdp)
			must(t, s.Leave(context.Background(), g.Seat, false))
		}
		g := s.join(protocol.Join{Version: 1})
		check("none", g.Roster, g, "", "")
		must(t, s.SetBlobs(context.Background(), g.Seat, raw(`"x"`), raw(`null`)))
		check("null is none", read(), g, `"x"`, "")
		must(t, s.SetBlobs(context.Background(), g.Seat, raw(""), nil))
		check("nothing is none", read(), g, "", "")
	})
}

func TestStringBlobIsStoredAsItsPlainBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		g := serve(t, db).join(protocol.Join{Version: 1, SDP: raw(`"v=0\r\ns=<王>\r\n"`), Candidate: raw(`{"a": 1}`)})
		p, _ := row(t, db, g.Seat.PeerID)
		if string(p.SDP) != "v=0\r\ns=<王>\r\n" || p.SDPJSON || string(p.Candidate) != `{"a": 1}` || !p.CandidateJSON {
			t.Errorf("%q %v, %q %v", p.SDP, p.SDPJSON, p.Candidate, p.CandidateJSON)
		}
	})
}
