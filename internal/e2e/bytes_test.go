package e2e

import (
	"fmt"
	"testing"

	"signald/internal/client"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// TestBytesOfAJoinGrowWithTheMeetingAndNoFaster: with N members the server sends the
// roster once and a delta to each, and not the roster to each.
func TestBytesOfAJoinGrowWithTheMeetingAndNoFaster(t *testing.T) {
	addr := loopback(t)
	n := testnode.Start(t, "SIGNALD_METRICS_LISTEN="+addr, "SIGNALD_MAX_PEERS=100", "SIGNALD_MAX_SOCKETS_PER_IP=0",
		"SIGNALD_RATE_LIMITS=off", "SIGNALD_PING_INTERVAL=60s", "SIGNALD_PING_TIMEOUT=30s")
	m := meeting(t, n, map[string]any{"policy": map[string]any{"max_peers": 100}})
	var members []*client.Participant
	// sent is what the server has sent in all once so many are in and know it.
	sent := func(joined int) float64 {
		for len(members) < joined {
			members = append(members, join(t, n, as(m, fmt.Sprint("user-", len(members))), nil))
		}
		for _, p := range members {
			if err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == joined-1 }); err != nil {
				t.Fatal(err)
			}
		}
		return valuesOf(t, addr)["signald_sent_bytes_total"]
	}
	nine, ten := sent(9), sent(10)
	ninetyNine, hundred := sent(99), sent(100)
	tenth, hundredth := ten-nine, hundred-ninetyNine
	t.Logf("%.0f bytes for the 10th join, %.0f for the 100th, %.1f times as many", tenth, hundredth, hundredth/tenth)
	if tenth <= 0 || hundredth > 12*tenth {
		t.Error("that is not in proportion to the meeting")
	}
}
