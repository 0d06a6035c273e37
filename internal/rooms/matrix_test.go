package rooms_test

import (
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/pairs"
	"signald/internal/rooms"
)

func hears(peerID string) pairs.Pair {
	return pairs.Pair{PeerID: peerID, State: pairs.Connected, Hears: true}
}

func lost(peerID string) pairs.Pair { return pairs.Pair{PeerID: peerID, State: pairs.Failed} }

func (h *hall) reports(from string, list ...pairs.Pair) {
	h.Report("k", pairs.Report{From: from, Pairs: list})
}

func TestThoseWhoLeadAreToldWhoHearsWhomAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, host := h.join(role(person("p_a", "c"), rooms.RoleHost))
		_, guest := h.join(person("p_b", "c"))
		_, cohost := h.join(role(at(node, "p_c", "c"), rooms.RoleCohost))
		time.Sleep(time.Second)
		if n := len(only[pairs.Table](host)); n != 0 {
			t.Fatalf("told %d tables though nobody has reported", n)
		}
		for range 50 {
			h.reports("p_a", hears("p_b"), hears("p_c"))
			h.reports("p_a", lost("p_b"), hears("p_c"))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		for who, b := range map[string]*box{"host": host, "co-host": cohost} {
			got := only[pairs.Table](b)
			if len(got) < 1 || len(got) > 7 || got[len(got)-1].Rows[0] != "-f+" {
				t.Errorf("%s was told %v", who, got)
			}
		}
		if got := only[pairs.Table](guest); len(got) != 0 {
			t.Errorf("a guest was told %v", got)
		}

		h.reports("p_a", lost("p_b"), hears("p_c"))
		told := len(only[pairs.Table](host))
		time.Sleep(2 * time.Second)
		if got := only[pairs.Table](host); len(got) != told {
			t.Errorf("told again what has not changed: %v", got[told:])
		}

		h.apply(h.truth.put(role(person("p_b", "c"), rooms.RoleCohost)))
		time.Sleep(100 * time.Millisecond)
		if got := only[pairs.Table](guest); len(got) != 1 || got[0].Rows[0] != "-f+" {
			t.Errorf("who was made co-host is told %v at once", got)
		}

		h.apply(h.truth.leave("p_b", "leave"))
		time.Sleep(time.Second)
		if got := only[pairs.Table](host); got[len(got)-1].Rows[0] != "-+" || len(got[len(got)-1].Broken) != 0 {
			t.Errorf("after it has left: %v", got[len(got)-1])
		}
	})
}

func TestNodeOfWhoIsToMendAPairAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		_, a := h.join(person("p_a", "c1"))
		_, b := h.join(person("p_b", "c2"))
		far := at(other, "p_z", "c3")
		h.apply(h.truth.put(far))
		broken := func() {
			h.reports("p_b", lost("p_a"), lost("p_z"))
			h.reports("p_a", lost("p_b"))
			h.reports("p_z", lost("p_b"))
		}
		broken()
		if n := h.BrokenPairs(); n != 0 {
			t.Errorf("%d pairs broken at once", n)
		}
		time.Sleep(4 * time.Second)
		if n := h.BrokenPairs(); n != 2 {
			t.Errorf("%d pairs broken, want 2", n)
		}
		broken()
		want := pairs.Advice{To: "p_b", Peer: "p_z", Action: pairs.Restart, Offer: true}
		if got := only[pairs.Advice](b); len(got) != 2 || got[1] != want && got[0] != want {
			t.Errorf("who is broken to all was asked %v", got)
		}
		if got := only[pairs.Advice](a); len(got) != 0 {
			t.Errorf("another was asked %v", got)
		}
		time.Sleep(9 * time.Second)
		broken()
		if got := only[pairs.Advice](a); len(got) != 1 || got[0].Action != pairs.Relay || got[0].Offer {
			t.Errorf("the other side of a relay was asked %v", got)
		}
		// The far one's side is its own node's to ask; here only what was sent counts.
		if restart, relay := h.Stats().AskedRestart.Load(), h.Stats().AskedRelay.Load(); restart != 2 || relay != 2 {
			t.Errorf("counted %d restarts and %d relays", restart, relay)
		}
		h.Report("nowhere", pairs.Report{From: "p_a"})
		h.reports("p_nobody", lost("p_a"))
	})
}
