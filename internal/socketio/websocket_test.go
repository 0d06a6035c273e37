package socketio

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// echoes answers every event with its first argument.
func echoes(_ *Socket, e *Event) { e.Ack(e.Args[0]) }

// TestIdleWebSocketsHaveNoGoroutine runs alone: it counts those of the process.
func TestIdleWebSocketsHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a watcher")
	}
	_, base := serve(t, Options{OnEvent: echoes, PingInterval: time.Hour})
	const clients = 300
	before := runtime.NumGoroutine()
	must(t, inParallel(clients, 32, func(int) error {
		c, err := dialConnected(base)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.conn.Close() })
		if err := c.send(`421["echo",1]`); err != nil {
			return err
		}
		_, err = c.next()
		return err
	}))
	last := 0
	defer func() { t.Logf("%d goroutines before, %d with %d WebSockets", before, last, clients) }()
	eventually(t, "few goroutines", func() bool {
		last = runtime.NumGoroutine() - before
		return last < clients/3
	})
}

func TestEventsArriveHoweverTheyAreSent(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{OnEvent: echoes})
	large, _ := json.Marshal(strings.Repeat("é", 20_000))
	for name, event := range map[string]string{"small": `["echo","x"]`, "large": `["echo",` + string(large) + `]`} {
		for _, piece := range []int{1, 7, 4095, 4096, 1 << 20} {
			if piece == 1 && name == "large" {
				continue // takes long and shows nothing more
			}
			t.Run(fmt.Sprintf("%s in pieces of %d", name, piece), func(t *testing.T) {
				t.Parallel()
				c, err := dialTCP(base)
				must(t, err)
				defer c.Close()
				must(t, c.sendFrames("40"))
				wire := append(clientFrame(fin|opText, "421"+event), clientFrame(opText, "422")...)
				wire = append(append(wire, clientFrame(fin|opPing, "")...), clientFrame(fin|opContinuation, event)...)
				go func() {
					for len(wire) > 0 {
						n, err := c.Write(wire[:min(piece, len(wire))])
						if err != nil {
							return // the test misses the answers
						}
						wire = wire[n:]
					}
				}()
				for _, want := range []string{"0{", "40{", "431[", "", "432["} {
					got, err := c.next()
					must(t, err)
					if !strings.HasPrefix(got, want) || want != "" && want[:2] == "43" && got[4:] != event[len(`["echo",`):] {
						t.Fatalf("got %.60q…, want %q…", got, want)
					}
				}
			})
		}
	}
}

func TestWebSocketsEndWithACode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wire   []byte
		code   int
		reason Reason
	}{
		"goodbye":                    {clientFrame(fin|opClose, "\x03\xe8"), 1000, ReasonTransportClose},
		"goodbye without a code":     {clientFrame(fin|opClose, ""), 1000, ReasonTransportClose},
		"the page is closed":         {clientFrame(fin|opClose, "\x03\xe9"), 1001, ReasonTransportClose},
		"an end of the client's own": {clientFrame(fin|opClose, "\x0f\xa0"), 4000, ReasonTransportError},
		"half a close code":          {clientFrame(fin|opClose, "\x03"), 1002, ReasonTransportError},
		"a frame without a mask":     {[]byte{fin | opText, 1, '3'}, 1002, ReasonTransportError},
		"text that is not UTF-8":     {clientFrame(fin|opText, "42[\"\xff\"]"), 1007, ReasonTransportError},
		"a message too large":        {clientFrame(fin|opText, strings.Repeat("x", 3000))[:20], 1009, ReasonTransportError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan Reason, 1)
			_, base := serve(t, Options{MaxMessage: 2000, OnDisconnect: func(_ *Socket, r Reason) { ended <- r }})
			client := mustConnect(t, base)
			_, err := client.conn.NetConn().Write(c.wire)
			must(t, err)
			_, err = client.next()
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != c.code {
				t.Errorf("ended with %v, want code %d", err, c.code)
			}
			equal(t, "reason", receive(t, "OnDisconnect", ended), c.reason)
		})
	}
	t.Run("the connection ends within a frame", func(t *testing.T) {
		t.Parallel()
		ended := make(chan Reason, 1)
		_, base := serve(t, Options{OnDisconnect: func(_ *Socket, r Reason) { ended <- r }})
		client := mustConnect(t, base)
		_, err := client.conn.NetConn().Write(clientFrame(fin|opText, "3")[:4])
		must(t, err)
		client.conn.Close()
		equal(t, "reason", receive(t, "OnDisconnect", ended), ReasonTransportClose)
	})
}
