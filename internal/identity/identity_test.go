package identity_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"signald/internal/fault"
	"signald/internal/identity"
)

var (
	secret          = []byte("0123456789abcdef0123456789abcdef")
	public, private = func() (ed25519.PublicKey, ed25519.PrivateKey) {
		k := ed25519.NewKeyFromSeed(secret)
		return k.Public().(ed25519.PublicKey), k
	}()
	b64 = base64.StdEncoding.EncodeToString
)

func keys(t testing.TB, list ...string) *identity.Keys {
	t.Helper()
	k, err := identity.ParseKeys(list)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTokenSaysWhoItsBearerIs(t *testing.T) {
	want := identity.Identity{Sub: "u-1", Name: "王宇", Meeting: "k7f", Role: identity.Cohost}
	hmac, ed := "a:HS256:"+b64(secret), "b:EdDSA:"+b64(private)
	both, verifier := keys(t, hmac, ed), keys(t, "b:EdDSA:"+base64.RawURLEncoding.EncodeToString(public), hmac)
	for _, kid := range []string{"", "a", "b"} {
		token, err := both.Sign(kid, want, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := verifier.Verify(token)
		if err != nil || got.Expired() || time.Until(got.Until) < 30*time.Second || time.Until(got.Until) > 2*time.Minute {
			t.Fatalf("signed by %q: %+v, %v", kid, got, err)
		}
		if got.Until = want.Until; *got != want || !got.Expired() {
			t.Errorf("signed by %q: %+v", kid, got)
		}
	}
	if !want.Good("k7f") || want.Good("other") || !(&identity.Identity{Meeting: identity.Any}).Good("other") {
		t.Error("good for the wrong meetings")
	}
	if _, err := keys(t, "b:EdDSA:"+b64(public)).Sign("", want, time.Minute); err == nil {
		t.Error("a public key signed")
	}
	if _, err := both.Sign("c", want, time.Minute); err == nil {
		t.Error("a key that is not there signed")
	}
}

// forge makes a token by hand: header, claims, and how it is signed.
func forge(t *testing.T, method jwt.SigningMethod, kid string, by any, with jwt.MapClaims, headers ...string) string {
	t.Helper()
	c := jwt.MapClaims{"sub": "u", "meeting": "*", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range with {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	for _, name := range headers {
		token.Header[name] = []string{"x"}
	}
	s, err := token.SignedString(by)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokensThatAreNotGoodAreRefused(t *testing.T) {
	k := keys(t, "a:HS256:"+b64(secret), "b:EdDSA:"+b64(public))
	good := forge(t, jwt.SigningMethodHS256, "a", secret, nil)
	hour := time.Now().Add(time.Hour).Unix()
	parts := strings.Split(good, ".")
	for _, c := range []struct {
		name, token string
		code        fault.Code
	}{
		{"good", good, ""},
		{"by EdDSA", forge(t, jwt.SigningMethodEdDSA, "b", private, nil), ""},
		{"a clock that is behind", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"nbf": time.Now().Add(5 * time.Second).Unix()}), ""},
		{"expired", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}), fault.TokenExpired},
		{"expired, of another key", forge(t, jwt.SigningMethodHS256, "a", secret[:31], jwt.MapClaims{"exp": 1}), fault.Unauthorized},
		{"alg none", forge(t, jwt.SigningMethodNone, "a", jwt.UnsafeAllowNoneSignatureType, nil), fault.Unauthorized},
		{"the public key as a secret", forge(t, jwt.SigningMethodHS256, "b", []byte(public), nil), fault.Unauthorized},
		{"another algorithm of the same secret", forge(t, jwt.SigningMethodHS512, "a", secret, nil), fault.Unauthorized},
		{"an unknown key", forge(t, jwt.SigningMethodHS256, "c", secret, nil), fault.Unauthorized},
		{"no key named, and two to choose from", forge(t, jwt.SigningMethodHS256, "", secret, nil), fault.Unauthorized},
		{"a critical header that nobody knows", forge(t, jwt.SigningMethodHS256, "a", secret, nil, "crit"), fault.Unauthorized},
		{"without an end", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"exp": nil}), fault.Unauthorized},
		{"not yet good", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"nbf": hour}), fault.Unauthorized},
		{"without a sub", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"sub": nil}), fault.Unauthorized},
		{"without a meeting", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"meeting": nil}), fault.Unauthorized},
		{"of a role there is not", forge(t, jwt.SigningMethodHS256, "a", secret, jwt.MapClaims{"role": "admin"}), fault.Unauthorized},
		{"changed", parts[0] + "." + parts[1] + "x." + parts[2], fault.Unauthorized},
		{"cut", parts[0] + "." + parts[1], fault.Unauthorized},
		{"nothing", "", fault.Unauthorized},
		{"huge", strings.Repeat("x", 1<<20), fault.Unauthorized},
	} {
		if _, err := k.Verify(c.token); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
	if _, err := keys(t).Verify(good); fault.CodeOf(err) != fault.Unauthorized {
		t.Errorf("without keys: %v", err)
	}
	if _, err := keys(t, "x:HS256:"+b64(secret)).Verify(forge(t, jwt.SigningMethodHS256, "", secret, nil)); err != nil {
		t.Errorf("no key named, and one there is: %v", err)
	}
}

func TestKeysAreReadFromAFileAndReportedAllAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("# old\na:HS256:"+b64(secret)+"\n\nb:EdDSA:"+b64(public)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys(t, "@"+path).Verify(forge(t, jwt.SigningMethodHS256, "a", secret, nil)); err != nil {
		t.Error(err)
	}
	_, err := identity.ParseKeys([]string{
		"@/nowhere", "x", "short:HS256:" + b64(secret[:16]), "odd:EdDSA:" + b64(secret[:31]), "weak:none:" + b64(secret), "bad:HS256:?",
		"a:HS256:" + b64(secret), "a:HS256:" + b64(secret),
	})
	for _, want := range []string{"/nowhere", "kid:alg:base64", "short has 16", "odd has 31", "weak:", "bad is not base64", "two keys are called a"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), b64(secret)) {
		t.Error("a key is told")
	}
}

// A token says who somebody is in texts of the same rules as everybody's.
func TestTokensTextsAreTidied(t *testing.T) {
	k := keys(t, "a:HS256:"+b64(secret))
	verify := func(i identity.Identity) (*identity.Identity, error) {
		token, err := k.Sign("", i, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return k.Verify(token)
	}
	got, err := verify(identity.Identity{Sub: "u-1\u200b", Name: "\u3164e\u0301\u00ad", Meeting: "\ufeffk\u20607f"})
	if err != nil || got.Sub != "u-1" || got.Name != "é" || !got.Good("k7f") {
		t.Errorf("%+q, %v", got, err)
	}
	for _, bad := range []identity.Identity{
		{Sub: "\u200b", Meeting: "*"}, {Sub: "u", Name: "\u2800\u3164", Meeting: "*"}, {Sub: "u", Meeting: "\u2060"}, {Sub: "u\x00", Meeting: "*"},
		{Sub: strings.Repeat("u", 65), Meeting: "*"}, {Sub: "u", Name: "a\u202eb", Meeting: "*"},
	} {
		if got, err := verify(bad); fault.CodeOf(err) != fault.Unauthorized {
			t.Errorf("%+q is %+q, %v", bad, got, err)
		}
	}
}
