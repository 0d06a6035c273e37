package ice_test

import (
	"reflect"
	"testing"
	"time"

	"signald/internal/ice"
)

// The credentials were computed with OpenSSL, as coturn does with use-auth-secret:
//
//	printf %s "$username" | openssl dgst -sha1 -hmac "$secret" -binary | base64
func TestCredentialsAreThoseOfCoturn(t *testing.T) {
	for _, c := range []struct {
		secret, peer, username, credential string
		now                                int64
		ttl                                time.Duration
	}{
		{"north", "ninefingers", "1433895918:ninefingers", "jy8hTxmOO7UtEKXqSkSlvakPVYA=", 1433809518, 24 * time.Hour},
		{"north", "p_9c8b7a6d5e4f3g2h", "1795251600:p_9c8b7a6d5e4f3g2h", "tao4Rm3MSeT/3orE4SPZWa2gs9A=", 1795248000, time.Hour},
		{"秘密", "", "1795251600:", "KaoVcJHMAicNNHfINw4yqb10E7U=", 1795251540, time.Minute},
	} {
		config := ice.Config{TURN: []string{"turn:a", "turns:b"}, Secret: c.secret, TTL: c.ttl}
		got := config.Servers(c.peer, time.Unix(c.now, 999_999_999))
		want := []ice.Server{{URLs: []string{"turn:a", "turns:b"}, Username: c.username, Credential: c.credential}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", c.peer, got, want)
		}
	}
}

func TestOnlyConfiguredServersAreNamed(t *testing.T) {
	now := time.Unix(1795248000, 0)
	if got := (ice.Config{Secret: "unused", TTL: time.Hour}).Servers("p", now); got == nil || len(got) != 0 {
		t.Errorf("none configured: %#v, want an empty list", got)
	}
	stun := ice.Server{URLs: []string{"stun:a", "stun:b"}}
	if got := (ice.Config{STUN: stun.URLs}).Servers("p", now); !reflect.DeepEqual(got, []ice.Server{stun}) {
		t.Errorf("STUN needs no credentials: %+v", got)
	}
	got := ice.Config{STUN: stun.URLs, TURN: []string{"turn:c"}, Secret: "s", TTL: time.Hour}.Servers("p", now)
	if len(got) != 2 || !reflect.DeepEqual(got[0], stun) || got[1].Credential == "" {
		t.Errorf("both: %+v", got)
	}
}

func TestCredentialsOfTwoPeersDiffer(t *testing.T) {
	config := ice.Config{TURN: []string{"turn:c"}, Secret: "s", TTL: time.Hour}
	a, b := config.Servers("p_a", time.Unix(0, 0))[0], config.Servers("p_b", time.Unix(0, 0))[0]
	if a.Username == b.Username || a.Credential == b.Credential {
		t.Errorf("%+v, %+v", a, b)
	}
}
