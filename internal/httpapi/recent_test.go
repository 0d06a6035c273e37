package httpapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadinessIsLookedUpOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent
		asked := 0
		answer := error(nil)
		question := func(context.Context) error {
			asked++
			return answer
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel() // of a request that nobody waits for
		for range 100 {
			if err := r.ask(gone, question); err != nil {
				t.Fatal(err)
			}
		}
		answer = errors.New("unavailable")
		time.Sleep(time.Second)
		for range 100 {
			if err := r.ask(t.Context(), question); err == nil {
				t.Fatal("an old answer is given after a second")
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times in a second", asked)
		}
	})
}
