package main

import (
	"strings"
	"testing"
	"time"

	"signald/internal/identity"
)

func TestTokenCommandMakesATokenThatIsGood(t *testing.T) {
	const key = "a:HS256:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	t.Setenv("SIGNALD_TOKEN_KEYS", key)
	code, out, stderr := command(t, "token", "--sub=u-1", "--name=王宇", "--meeting=k7f", "--role=cohost", "--ttl=5m")
	if code != 0 {
		t.Fatalf("%d %s", code, stderr)
	}
	keys, err := identity.ParseKeys([]string{key})
	if err != nil {
		t.Fatal(err)
	}
	got, err := keys.Verify(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	got.Until = time.Time{}
	if want := (identity.Identity{Sub: "u-1", Name: "王宇", Meeting: "k7f", Role: "cohost"}); *got != want {
		t.Errorf("%+v", got)
	}
	for _, args := range [][]string{{"token"}, {"token", "--sub=u", "--role=admin"}, {"token", "--sub=u", "--ttl=0s"}, {"token", "--sub=u", "--kid=b"},
		{"token", "--sub="}, {"token", "--sub=" + strings.Repeat("u", 65)}, {"token", "--sub=u", "--name=a\nb"}, {"token", "--sub=u", "--meeting="}} {
		if code, out, _ := command(t, args...); code == 0 || strings.Contains(out, "ey") {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if _, _, stderr := command(t, "token", "--sub=u", "--kid=b"); !strings.Contains(stderr, `no key "b"`) {
		t.Errorf("a key that there is not: %s", stderr)
	}
	t.Setenv("SIGNALD_TOKEN_KEYS", "")
	if code, _, stderr := command(t, "token", "--sub=u"); code == 0 || !strings.Contains(stderr, "SIGNALD_TOKEN_KEYS") {
		t.Errorf("without keys: %d %s", code, stderr)
	}
}
