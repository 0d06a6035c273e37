package admin_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/admin"
	"signald/internal/password"
	"signald/internal/store"
)

const token = "a token of the tests"

func hashed(t testing.TB) string {
	t.Helper()
	hash, err := admin.Hash(token)
	if err != nil || !strings.HasPrefix(hash, "$2") || admin.CheckHash(hash) != nil {
		t.Fatalf("%q, %v, %v", hash, err, admin.CheckHash(hash))
	}
	return hash
}

func TestOnlyTheTokenIsTheToken(t *testing.T) {
	for name, c := range map[string]*admin.Credential{"clear": admin.New(token, password.NewFast()), "hashed": admin.New(hashed(t), password.NewFast())} {
		for range 2 { // the second time it is known
			if !is(t, c, token) {
				t.Errorf("%s: it is not itself", name)
			}
			for _, wrong := range []string{"", token + "x", token[1:], strings.ToUpper(token), hashed(t), strings.Repeat("x", 1000)} {
				if is(t, c, wrong) {
					t.Errorf("%s: %q is let in", name, wrong)
				}
			}
		}
	}
	for _, wrong := range []string{"", " ", token} {
		if is(t, admin.New("", password.NewFast()), wrong) {
			t.Errorf("without a credential %q is let in", wrong)
		}
	}
}

func TestHashesOfTheSettingsAreChecked(t *testing.T) {
	for _, bad := range []string{"", "x", token, "$2a$04$" + strings.Repeat("x", 53)} {
		if admin.CheckHash(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := admin.Hash(strings.Repeat("x", 73)); err == nil {
		t.Error("a token is cut")
	}
}

func TestSessionsEnd(t *testing.T) {
	db, err := store.Open(context.Background(), "sqlite::memory:", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	hash := hashed(t)
	here, there := admin.NewSessions(db, admin.New(hash, password.NewFast()), time.Hour), admin.NewSessions(db, admin.New(hash, password.NewFast()), time.Hour)
	changed := admin.NewSessions(db, admin.New(hashed(t), password.NewFast()), time.Hour) // the same token, hashed anew
	inClear := admin.NewSessions(db, admin.New(token, password.NewFast()), time.Hour)
	open := func(s *admin.Sessions) string {
		t.Helper()
		session, _, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
	is := func(what string, s *admin.Sessions, session string, want bool) {
		t.Helper()
		if _, ok, err := s.Find(t.Context(), session); ok != want || err != nil {
			t.Errorf("%s: %v, %v", what, ok, err)
		}
	}
	a, b := open(here), open(here)
	is("at another node", there, a, true)
	is("after the credential was changed", changed, a, false)
	is("with the token in clear", inClear, a, false)
	is("a letter more", here, a+"x", false)
	is("a made-up one", here, "as_"+strings.Repeat("A", 43), false)
	is("none", here, "", false)
	if err := there.End(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	is("ended", here, a, false)
	is("the other", here, b, true)
	is("expired", here, open(admin.NewSessions(db, admin.New(hash, password.NewFast()), -time.Second)), false)
}

func is(t *testing.T, c *admin.Credential, token string) bool {
	t.Helper()
	fits, err := c.Is(t.Context(), netip.MustParseAddr("192.0.2.1"), token)
	if err != nil {
		t.Error(err)
	}
	return fits
}
