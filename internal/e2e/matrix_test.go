package e2e

import (
	"slices"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/pairs"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// between is a report on others of whom all are well but one.
func between(broken string, all ...*client.Participant) (report []protocol.MeshPair) {
	for _, p := range all {
		report = append(report, protocol.MeshPair{
			PeerID: p.PeerID(), State: pairs.Connected, Hears: p.PeerID() != broken, Relayed: true,
		})
	}
	return report
}

// repeat reports until the test is over, as clients do while a pair is broken.
func repeat(t *testing.T, p *client.Participant, report func() []protocol.MeshPair) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			_ = p.Conn().Emit(protocol.EventMeshReport, protocol.MeshReport{Pairs: report()})
			select {
			case <-time.After(2 * time.Second):
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func TestBrokenPairIsSeenByTheHostAndMended(t *testing.T) {
	onEach(t, func(t *testing.T, n []*testnode.Node) {
		far := n[len(n)-1]
		m := meeting(t, n[0], nil)
		hosts, as2, bs := newInbox(), newInbox(), newInbox()
		host := join(t, n[0], asHost(m), hosts)
		a := join(t, n[0], as(m, "a"), as2)
		b := join(t, far, as(m, "b"), bs)
		sees(t, b, map[string]string{"host": "online", "a": "online"})
		sees(t, a, map[string]string{"host": "online", "b": "online"})

		impolite, polite := a, b
		asked, others := as2, bs
		if a.PeerID() < b.PeerID() {
			impolite, polite, asked, others = b, a, bs, as2
		}
		mended := make(chan struct{})
		isMended := func() bool {
			select {
			case <-mended:
				return true
			default:
				return false
			}
		}
		cell := func(table protocol.MeshMatrix, from, of *client.Participant) byte {
			i, j := slices.Index(table.Members, from.PeerID()), slices.Index(table.Members, of.PeerID())
			if i < 0 || j < 0 {
				return '?'
			}
			return table.Rows[i][j]
		}
		last := func() (table protocol.MeshMatrix) {
			if len(hosts.tables) > 0 {
				table = hosts.tables[len(hosts.tables)-1]
			}
			return table
		}
		repeat(t, impolite, func() []protocol.MeshPair { return between("", host, polite) })
		repeat(t, host, func() []protocol.MeshPair { return between("", a, b) })
		hosts.await(t, "the host sees that one hears the other", func() bool { return cell(last(), impolite, polite) == '~' })
		// The polite one does not hear the impolite one; that one knows of nothing.
		repeat(t, polite, func() []protocol.MeshPair {
			if isMended() {
				return between("", host, impolite)
			}
			return between(impolite.PeerID(), host, impolite)
		})
		hosts.await(t, "the host sees that one does not hear the other", func() bool {
			return cell(last(), polite, impolite) == 'n' && cell(last(), impolite, polite) == '~' && cell(last(), host, a) == '~'
		})
		asked.await(t, "the impolite one is asked to restart, then to relay", func() bool {
			return slices.Equal(asked.advice, []protocol.MeshAdvice{
				{MeetingID: m.MeetingID, PeerID: polite.PeerID(), Action: pairs.Restart, Offer: true},
				{MeetingID: m.MeetingID, PeerID: polite.PeerID(), Action: pairs.Relay, Offer: true},
			})
		})
		others.await(t, "the other is told of the relay", func() bool {
			return slices.Equal(others.advice, []protocol.MeshAdvice{{MeetingID: m.MeetingID, PeerID: impolite.PeerID(), Action: pairs.Relay}})
		})
		hosts.await(t, "the host sees what is being done", func() bool {
			b := last().Broken
			return len(b) == 1 && b[0] == protocol.MeshBroken{A: polite.PeerID(), B: impolite.PeerID(), Tried: pairs.Relay}
		})
		close(mended)
		hosts.await(t, "the host sees it mended", func() bool {
			return cell(last(), polite, impolite) == '~' && len(last().Broken) == 0
		})

		moderate(t, host, protocol.Moderate{Action: protocol.ActionPromote, PeerID: b.PeerID()})
		bs.await(t, "who was made co-host sees it, too", func() bool { return len(bs.tables) > 0 })
		as2.await(t, "nothing", func() bool { return true })
		if len(as2.tables) > 0 || len(hosts.advice) > 0 {
			t.Errorf("a guest was told %v, the host asked %v", as2.tables, hosts.advice)
		}
	})
}

func TestMetricsTellOfBrokenPairs(t *testing.T) {
	t.Parallel()
	addr := loopback(t)
	n := testnode.Start(t, "SIGNALD_METRICS_LISTEN="+addr)
	m := meeting(t, n, nil)
	a, b := join(t, n, as(m, "a"), nil), join(t, n, as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	if err := b.Report(ctx(t), between("", a)...); err != nil { // whichever is asked understands
		t.Fatal(err)
	}
	shows(t, addr, values{`signald_mesh_pairs_broken`: 0})
	repeat(t, a, func() []protocol.MeshPair { return between(b.PeerID(), b) })
	shows(t, addr, values{
		`signald_mesh_pairs_broken`:                   1,
		`signald_mesh_advice_total{action="restart"}`: 1,
		`signald_mesh_advice_total{action="relay"}`:   1,
	})
}

func TestReportsOfPairsAreBounded(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, "SIGNALD_RATE_LIMITS=on")
	m := meeting(t, n, nil)
	outside, err := client.Dial(ctx(t), n.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(outside.Kill)
	wantCode(t, outside.Call(ctx(t), protocol.EventMeshReport, protocol.MeshReport{}, nil), fault.NotJoined)

	hosts := newInbox()
	host := join(t, n, asHost(m), hosts)
	wantCode(t, host.Report(ctx(t), make([]protocol.MeshPair, protocol.MaxPairs+1)...), fault.InvalidPayload)
	if err := host.Report(ctx(t), between("", host)...); err != nil {
		t.Fatal(err)
	}
	if err := host.Report(ctx(t), protocol.MeshPair{PeerID: "p_0000000000000000", State: pairs.Failed}); err != nil {
		t.Fatal(err)
	}
	hosts.await(t, "a table without strangers", func() bool {
		return len(hosts.tables) == 1 && slices.Equal(hosts.tables[0].Rows, []string{"-"}) && len(hosts.tables[0].Broken) == 0
	})
	for range 60 { // more than come back while they are handled
		if err := host.Conn().Emit(protocol.EventMeshReport, protocol.MeshReport{Pairs: []protocol.MeshPair{}}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, host.Report(ctx(t)), fault.RateLimited)
}
