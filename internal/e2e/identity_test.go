package e2e

import (
	"encoding/base64"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// tokenKeys are what nodes are started with that know of tokens.
const tokenKeys = "SIGNALD_TOKEN_KEYS=app:HS256:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// token is signed by the application.
func token(t *testing.T, id identity.Identity, ttl time.Duration) string {
	t.Helper()
	keys, err := identity.ParseKeys([]string{"app:HS256:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		t.Fatal(err)
	}
	if id.Meeting == "" {
		id.Meeting = identity.Any
	}
	s, err := keys.Sign("", id, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func with(m client.Meeting, token string) protocol.Join {
	return protocol.Join{MeetingID: m.MeetingID, UserID: "whoever it says", Token: token}
}

func TestTokenSaysWhoJoinsAndAsWhat(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		m := meeting(t, n[0], map[string]any{"password": "secret"})
		box := newInbox()
		host := join(t, n[0], with(m, token(t, identity.Identity{Sub: "u-1", Name: "王宇", Role: identity.Host}, time.Minute)), box)
		if host.Joined().Role != "host" {
			t.Errorf("joined as %s", host.Joined().Role)
		}
		// Someone who only says so.
		j := as(m, "u-1")
		j.Password = "secret"
		imposter := join(t, n[len(n)-1], j, nil)
		_, peers := imposter.Roster()
		if p := peers[host.PeerID()]; p.UserID != "u-1" || p.Name != "王宇" || !p.Verified || p.Role != "host" {
			t.Errorf("seen as %+v", p)
		}
		sees(t, host, map[string]string{"u-1": "online"})
		if _, peers := host.Roster(); peers[imposter.PeerID()].Verified {
			t.Error("an imposter is verified")
		}
		wantCode(t, host.Conn().Call(ctx(t), "rename", map[string]any{"name": "x"}, nil), fault.Forbidden)

		// The same person somewhere else takes the place, and the imposter is not in the way.
		again := with(m, token(t, identity.Identity{Sub: "u-1", Name: "王宇"}, time.Minute))
		again.JoinType = 1
		_, err := client.Join(ctx(t), n[0].URL, again, client.Handlers{}, client.Options{})
		wantCode(t, err, fault.UserInUse)
		again.JoinType = 2
		second := join(t, n[len(n)-1], again, nil)
		box.await(t, "closed", func() bool { return len(box.closed) == 1 && box.closed[0].Code == "replaced" })
		if second.Joined().Role != "guest" || len(second.Joined().Peers) != 1 {
			t.Errorf("joined as %+v", second.Joined())
		}
		j.JoinType = 2
		_, err = client.Join(ctx(t), n[0].URL, j, client.Handlers{}, client.Options{})
		wantCode(t, err, fault.Forbidden)
	}, tokenKeys)
}

func TestTokensAreChecked(t *testing.T) {
	n := testnode.Start(t, tokenKeys)
	m := meeting(t, n, nil)
	for name, c := range map[string]struct {
		token string
		want  fault.Code
	}{
		"none":            {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1IiwibWVldGluZyI6IioiLCJleHAiOjk5OTk5OTk5OTl9.", fault.Unauthorized},
		"expired":         {token(t, identity.Identity{Sub: "u"}, -time.Minute), fault.TokenExpired},
		"another meeting": {token(t, identity.Identity{Sub: "u", Meeting: "other"}, time.Minute), fault.Forbidden},
		"a sub like this": {token(t, identity.Identity{Sub: "a\u202eb"}, time.Minute), fault.Unauthorized},
		"good":            {token(t, identity.Identity{Sub: "u", Meeting: m.MeetingID}, time.Minute), ""},
	} {
		_, err := client.Join(ctx(t), n.URL, with(m, c.token), client.Handlers{}, client.Options{})
		if fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, auth := range []map[string]any{{"token": 5}, {"token": map[string]any{}}, {"token": "x", "resume_token": 5}} {
		_, err := client.Join(ctx(t), n.URL, as(m, "u"), client.Handlers{}, client.Options{Auth: auth})
		if fault.CodeOf(err) != fault.Unauthorized {
			t.Errorf("%v in the handshake: %v", auth, err)
		}
	}
	_, err := client.Join(ctx(t), testnode.Start(t).URL, with(m, token(t, identity.Identity{Sub: "u"}, time.Minute)), client.Handlers{}, client.Options{})
	wantCode(t, err, fault.Unauthorized) // a server without keys
}

func TestServerThatNeedsTokensTakesNobodyWithout(t *testing.T) {
	n := testnode.Start(t, tokenKeys, "SIGNALD_TOKENS_REQUIRED=true")
	m := meeting(t, n, nil)
	host := as(m, "h")
	host.HostKey = m.HostKey
	for _, j := range []protocol.Join{as(m, "a"), host} {
		_, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, client.Options{})
		wantCode(t, err, fault.Unauthorized)
	}
	// By the handshake this time; and who was in comes back without.
	auth := map[string]any{"token": token(t, identity.Identity{Sub: "u-1", Name: "Ada"}, time.Minute)}
	p, err := client.Join(ctx(t), n.URL, as(m, "x"), client.Handlers{}, client.Options{Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	p.Conn().Kill()
	j := as(m, "x")
	j.ResumeToken = p.Joined().ResumeToken
	back := join(t, n, j, nil)
	other := join(t, n, with(m, token(t, identity.Identity{Sub: "u-2"}, time.Minute)), nil)
	if _, peers := other.Roster(); back.PeerID() != p.PeerID() || !peers[p.PeerID()].Verified || peers[p.PeerID()].UserID != "u-1" {
		t.Errorf("back as %+v", peers)
	}
}
