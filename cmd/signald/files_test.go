package main

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketsLeaveDescriptorsForTheRest(t *testing.T) {
	for _, c := range []struct{ setting, most int }{{0, descriptors() * 11 / 16}, {7, 7}, {1 << 30, descriptors() * 11 / 16}} {
		if got := (&Config{MaxSockets: c.setting}).sockets(); got < 1 || got > c.most+1 {
			t.Errorf("with setting %d: %d, want at most %d of %d descriptors", c.setting, got, c.most, descriptors())
		}
	}
}

func TestShareOfDescriptorsIsLookedAtOnceASecond(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("they are counted on Linux alone")
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := &files{limit: len(open) + 100}
		if f.Short() {
			t.Error("short of descriptors with a hundred left")
		}
		for range 100 {
			file, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
		}
		if f.Short() {
			t.Error("looked again within a second")
		}
		time.Sleep(countEvery)
		if !f.Short() {
			t.Error("not short of descriptors when all are in use")
		}
	})
}
