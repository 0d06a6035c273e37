package calls_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/calls"
	"signald/internal/fault"
	"signald/internal/limits"
)

// exchange joins nodes; what is told arrives in order.
type exchange struct {
	mu    sync.Mutex
	nodes map[string]*calls.Service
}

type line struct {
	x    *exchange
	node string
}

func (l line) Tell(node string, body []byte) {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	for name, s := range l.x.nodes {
		if name != l.node && (node == "" || node == name) {
			go s.Receive(l.node, body)
		}
	}
}

func nodes(names ...string) *exchange {
	x := &exchange{nodes: map[string]*calls.Service{}}
	for _, name := range names {
		x.nodes[name] = calls.New(name, line{x, name}, limits.NewLimit(calls.Invites, false))
	}
	return x
}

// device notes what it is told.
type device struct {
	id      string
	busy    bool
	expired bool

	mu   sync.Mutex
	told []string
	call calls.Call
}

func (d *device) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, fmt.Sprintf(format, args...))
}

func (d *device) ID() string { return d.id }
func (d *device) Busy() bool { return d.busy }

func (d *device) Expired() bool { return d.expired }
func (d *device) Ring(c calls.Call) {
	d.note("rings")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.call = c
}
func (d *device) Handled(_ string, o calls.Outcome) { d.note("handled %s", o) }
func (d *device) Told(_ string, o calls.Outcome)    { d.note("told %s", o) }

func (d *device) heard(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.told, want) {
		t.Errorf("%s: %q, want %q", d.id, d.told, want)
	}
	d.told = nil
}

// house is a caller at n1 and a callee with a device at each of two nodes.
type house struct {
	*exchange
	a, b1, b2 *device
	leave     func() // the caller's
	id        string
	err       error
}

func ringing(t *testing.T) *house {
	h := &house{exchange: nodes("n1", "n2"), a: &device{id: "a"}, b1: &device{id: "b1"}, b2: &device{id: "b2"}}
	h.leave = h.nodes["n1"].Register("ada", h.a)
	h.nodes["n1"].Register("bob", h.b1)
	h.nodes["n2"].Register("bob", h.b2)
	h.invite("bob")
	h.b1.heard(t, "rings")
	h.b2.heard(t, "rings")
	if h.err != nil || h.b2.call.MeetingID != "k" || h.b2.call.FromName != "Ada" || h.b2.call.ID != h.id {
		t.Fatalf("%v; rings for %+v", h.err, h.b2.call)
	}
	return h
}

func (h *house) invite(sub string) {
	h.nodes["n1"].Invite(calls.Call{MeetingID: "k", FromSub: "ada", FromName: "Ada", ToSub: sub}, h.a, func(id string, err error) { h.id, h.err = id, err })
	synctest.Wait()
}

func TestCallRingsAtAllDevicesAndIsAnsweredAtOne(t *testing.T) {
	for _, o := range []calls.Outcome{calls.Accepted, calls.Rejected, calls.Busy} {
		synctest.Test(t, func(t *testing.T) {
			h := ringing(t)
			if err := h.nodes["n2"].Answer(h.id, "bob", h.b2, o); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			h.a.heard(t, "told "+string(o))
			h.b1.heard(t, "handled "+string(o))
			h.b2.heard(t)
			if err := h.nodes["n1"].Answer(h.id, "bob", h.b1, calls.Accepted); fault.CodeOf(err) != fault.PeerGone {
				t.Errorf("answered twice: %v", err)
			}
			time.Sleep(2 * calls.RingFor)
			h.a.heard(t)
		})
	}
}

// The callee's connection is dead, and what rang there was never heard: it rings at the next one.
func TestDeviceThatComesWhileItIsCalledRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ringing(t)
		time.Sleep(20 * time.Second)
		for i, node := range []string{"n1", "n2"} {
			again := &device{id: fmt.Sprint("again", i)}
			leave := h.nodes[node].Register("bob", again)
			synctest.Wait()
			if again.call.ID != h.id || again.call.LeftMS != 40_000 {
				t.Errorf("at %s it rings for %+v", node, again.call)
			}
			again.heard(t, "rings")
			leave()
		}
		busy := &device{id: "busy", busy: true}
		h.nodes["n2"].Register("bob", busy)
		h.nodes["n2"].Register("eve", &device{id: "e"})
		synctest.Wait()
		busy.heard(t)
		h.b1.heard(t) // the others ring on
		h.a.heard(t)
		if err := h.nodes["n1"].Cancel(h.id, h.a); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		late := &device{id: "late"}
		h.nodes["n2"].Register("bob", late)
		synctest.Wait()
		late.heard(t)
	})
}

// What a person may ring does not depend on devices, connections or nodes.
func TestPersonRingsOthersSoOftenFromAllDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := nodes("n1", "n2")
		x.nodes["n1"].Register("bob", &device{id: "b", busy: true}) // a call is over at once
		rung := func(node string) (ok bool) {
			a := &device{id: "new"} // one connection for each call
			leave := x.nodes[node].Register("ada", a)
			x.nodes[node].Invite(calls.Call{FromSub: "ada", ToSub: "bob"}, a, func(_ string, err error) {
				ok = err == nil
				if code := fault.CodeOf(err); !ok && code != fault.RateLimited {
					t.Errorf("%v", err)
				}
			})
			synctest.Wait()
			leave()
			synctest.Wait()
			return ok
		}
		n := 0
		for i := range 40 {
			if rung([]string{"n1", "n2"}[i%2]) {
				n++
			}
		}
		if n != 10 {
			t.Errorf("%d calls at once, want 10", n)
		}
		time.Sleep(20 * time.Second)
		for range 40 {
			if rung("n1") {
				n++
			}
		}
		if n != 20 {
			t.Errorf("%d calls after 20 s, want 10 more", n)
		}
		eve := &device{id: "e"}
		x.nodes["n1"].Invite(calls.Call{FromSub: "eve", ToSub: "bob"}, eve, func(_ string, err error) {
			if err != nil {
				t.Errorf("somebody else: %v", err)
			}
		})
		synctest.Wait()
	})
}

func TestNobodyRingsOrIsRungAfterTheTokenHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ringing(t)
		h.b1.expired = true // while it rings: it is told how that ends
		if err := h.nodes["n1"].Cancel(h.id, h.a); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		h.b1.heard(t, "handled cancelled")
		h.b2.heard(t, "handled cancelled")
		h.a.heard(t, "told cancelled")
		h.invite("bob")
		h.b1.heard(t)
		h.b2.heard(t, "rings")
		h.b2.expired = true
		h.invite("bob")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if h.b2.heard(t, "handled cancelled"); fault.CodeOf(h.err) != fault.PeerGone {
			t.Errorf("%v", h.err)
		}
		h.b2.expired, h.a.expired = false, true
		h.invite("bob")
		if h.b2.heard(t); fault.CodeOf(h.err) != fault.TokenExpired {
			t.Errorf("%v", h.err)
		}
	})
}

func TestNobodyElseAnswersACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ringing(t)
		eve := &device{id: "e"}
		h.nodes["n1"].Register("eve", eve)
		if err := h.nodes["n1"].Answer(h.id, "eve", eve, calls.Accepted); fault.CodeOf(err) != fault.PeerGone {
			t.Errorf("answered by somebody else: %v", err)
		}
		_ = h.nodes["n2"].Answer(h.id, "eve", eve, calls.Accepted)
		if err := h.nodes["n1"].Cancel(h.id, eve); fault.CodeOf(err) != fault.PeerGone {
			t.Errorf("cancelled by somebody else: %v", err)
		}
		synctest.Wait()
		h.a.heard(t)
		h.leave()
		synctest.Wait()
	})
}

func TestCallEndsWithItsCallerOrItsTime(t *testing.T) {
	for how, want := range map[string]calls.Outcome{"cancel": calls.Cancelled, "leave": calls.Cancelled, "wait": calls.NoAnswer} {
		synctest.Test(t, func(t *testing.T) {
			h := ringing(t)
			switch how {
			case "cancel":
				if err := h.nodes["n1"].Cancel(h.id, h.a); err != nil {
					t.Error(err)
				}
			case "leave":
				h.leave()
			case "wait":
				time.Sleep(calls.RingFor + time.Second)
			}
			synctest.Wait()
			h.a.heard(t, "told "+string(want))
			h.b1.heard(t, "handled "+string(want))
			h.b2.heard(t, "handled "+string(want))
		})
	}
}

// The answer to an invite is lost: its caller asks again, on another connection, at whatever node.
func TestCallAskedForAgainRingsOnceAtATime(t *testing.T) {
	for _, node := range []string{"n1", "n2"} {
		synctest.Test(t, func(t *testing.T) {
			h := ringing(t)
			again := &device{id: "a again"}
			leave := h.nodes[node].Register("ada", again)
			h.nodes[node].Invite(calls.Call{MeetingID: "k", FromSub: "ada", FromName: "Ada", ToSub: "bob"}, again, func(id string, err error) { h.id, h.err = id, err })
			synctest.Wait()
			h.a.heard(t, "told cancelled")
			for _, d := range []*device{h.b1, h.b2} {
				slices.Sort(d.told) // nodes tell in no order here
				d.heard(t, "handled cancelled", "rings")
			}
			h.leave() // the connection of the lost answer is found dead
			if err := h.nodes["n2"].Answer(h.id, "bob", h.b2, calls.Accepted); err != nil || h.err != nil {
				t.Error(err, h.err)
			}
			synctest.Wait()
			again.heard(t, "told accepted")
			h.b1.heard(t, "handled accepted")
			leave()
		})
	}
}

func TestCallToABusyPersonOrToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ringing(t)
		_ = h.nodes["n1"].Cancel(h.id, h.a)
		h.b2.busy = true
		synctest.Wait()
		h.a.told, h.b1.told = nil, nil
		h.invite("bob")
		if h.err != nil || !strings.HasPrefix(h.id, "n1/") {
			t.Errorf("%q, %v", h.id, h.err)
		}
		h.a.heard(t, "told busy")
		h.invite("carol")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if fault.CodeOf(h.err) != fault.PeerGone {
			t.Errorf("carol: %v", h.err)
		}
		h.a.heard(t)
	})
}
