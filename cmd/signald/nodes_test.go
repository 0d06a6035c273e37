package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/store"
)

func TestClockIsTheDatabases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead, broken := 3*time.Hour, error(nil)
		c := &databaseClock{began: time.Now(), read: func(context.Context) (store.Cluster, error) {
			return store.Cluster{Now: time.Now().Add(ahead)}, broken
		}}
		expect := func(when string, want time.Duration) {
			t.Helper()
			if got := time.Until(c.now()); got != want {
				t.Errorf("%s: %s ahead, want %s", when, got, want)
			}
		}
		look := func() error { return c.look(t.Context()) }
		if err := look(); err != nil {
			t.Fatal(err)
		}
		expect("read", 3*time.Hour)
		time.Sleep(time.Hour)
		expect("later", 3*time.Hour)
		ahead = -time.Hour
		if err := look(); err != nil {
			t.Fatal(err)
		}
		expect("read again", -time.Hour)
		ahead, broken = 0, errors.New("away")
		if look() == nil {
			t.Error("no error")
		}
		expect("without the database", -time.Hour)
	})
}
