package password_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"signald/internal/fault"
	"signald/internal/password"
)

var client = netip.MustParseAddr("192.0.2.1")

func TestOnlyTheRightPasswordFits(t *testing.T) {
	h := password.NewFast()
	long := strings.Repeat("long", 40)
	for _, right := range []string{"secret", long} {
		hash, err := h.Hash(t.Context(), client, right)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			password string
			fits     bool
		}{{right, true}, {right, true}, {right + "x", false}, {right[:len(right)-1], false}, {"", false}} {
			if fits, err := h.Matches(t.Context(), client, hash, c.password); err != nil || fits != c.fits {
				t.Errorf("%q for %q: %v, %v", c.password, right, fits, err)
			}
		}
	}
}

func TestTokensAreComparedAsOtherProgramsHashThem(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("token"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h := password.NewFast()
	for token, want := range map[string]bool{"token": true, "tokem": false} {
		if fits, err := h.MatchesToken(t.Context(), client, string(hash), token); err != nil || fits != want {
			t.Errorf("%s: %v, %v", token, fits, err)
		}
	}
}

// A crowd with the right password costs one comparison: a hash as slow as can be is not computed again.
func TestRightPasswordIsComparedOnce(t *testing.T) {
	h := password.NewFast()
	hash, err := h.Hash(t.Context(), client, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if fits, err := h.Matches(t.Context(), client, hash, "secret"); err != nil || !fits {
		t.Fatal(fits, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10_000 { // none of them waits
		if fits, err := h.Matches(over, client, hash, "secret"); err != nil || !fits {
			t.Fatal(fits, err)
		}
	}
}

// A crowd that comes at once, before the first of it is known to be right, waits for one comparison.
func TestSamePasswordAtOnceIsComparedOnce(t *testing.T) {
	h := password.NewFast()
	hash, err := h.Hash(t.Context(), client, "secret")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 1000 { // more than may wait for a comparison of their own
		all.Go(func() {
			if fits, err := h.Matches(t.Context(), client, hash, "secret"); err != nil || !fits {
				t.Error(fits, err)
			}
		})
	}
	all.Wait()
}

func TestOneNetworkQueuesOnlySoMuch(t *testing.T) {
	h := password.NewFast()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), 5)
	if err != nil {
		t.Fatal(err)
	}
	const guesses = 400
	codes := make(chan fault.Code, guesses)
	for i := range guesses {
		go func() {
			_, err := h.MatchesToken(t.Context(), client, string(hash), fmt.Sprint("wrong", i))
			codes <- fault.CodeOf(err)
		}()
	}
	counts := map[fault.Code]int{}
	for range guesses {
		counts[<-codes]++
	}
	if counts[fault.RateLimited] < guesses/2 {
		t.Errorf("the answers to %d guesses at once were %v", guesses, counts)
	}
}
