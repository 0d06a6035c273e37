package socketio

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// What costs the server a system call or a turn and reaches no handler, so that no handler can limit it.
func TestClientThatSendsWithoutEndIsCut(t *testing.T) {
	for name, packet := range map[string][]byte{
		"pongs": maskedFrame(opText, []byte("3")), "noops": maskedFrame(opText, []byte("6")), "upgrades": maskedFrame(opText, []byte("5")),
		"events": maskedFrame(opText, []byte(`42["x"]`)), "acks": maskedFrame(opText, []byte("431[]")),
		"WebSocket pongs": maskedFrame(opPong, nil), "WebSocket pings": maskedFrame(opPing, nil),
		"empty fragments": maskedFrame(opContinuation, nil)[:0],
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, Options{Packets: Pace{PerSecond: 10, Burst: 100}}, func(t *testing.T, v *virtual) {
				c := v.connect(t)
				if len(packet) == 0 {
					c.writes(t, unfinal(maskedFrame(opText, []byte("4"))))
					packet = unfinal(maskedFrame(opContinuation, nil))
				}
				go func() { // as long as it is read
					for range 1000 {
						if _, err := c.conn.NetConn().Write(packet); err != nil {
							return
						}
					}
				}()
				for {
					if _, err := c.read(); err != nil {
						if !websocket.IsCloseError(err, closePolicy) {
							t.Errorf("ended with %v", err)
						}
						break
					}
				}
				equal(t, "reason", <-v.ended, ReasonRateLimited)
				equal(t, "counted", v.Stats().Flooded.Load(), 1)
			})
		})
	}
}

func TestFrameInPiecesWithoutEndIsCut(t *testing.T) {
	inVirtualTime(t, Options{Packets: Pace{PerSecond: 10, Burst: 100}}, func(t *testing.T, v *virtual) {
		c := v.connect(t)
		written := 0
		for _, b := range maskedFrame(opText, bytes.Repeat([]byte("4"), 1000)) {
			if _, err := c.conn.NetConn().Write([]byte{b}); err != nil {
				break
			}
			written++
		}
		if written > 110 {
			t.Errorf("%d bytes were read one by one", written)
		}
	})
}

func TestPostsOfManyPacketsAreCut(t *testing.T) {
	inVirtualTime(t, Options{Packets: Pace{PerSecond: 10, Burst: 100}}, func(t *testing.T, v *virtual) {
		for name, body := range map[string]string{"in one": strings.Repeat("6\x1e", 200) + "6", "one by one": "6"} {
			p := v.poller(t)
			p.posts(t, "40")
			p.gets(t)
			status, posts := http.StatusOK, 0
			for ; status == http.StatusOK && posts < 200; posts++ {
				status, _ = p.post(t, body)
			}
			equal(t, name, status, http.StatusTooManyRequests)
			equal(t, "reason", <-v.ended, ReasonRateLimited)
		}
	})
}

func TestPaceIsBurstAndThenAsManyASecond(t *testing.T) {
	inVirtualTime(t, Options{Packets: Pace{PerSecond: 10, Burst: 100}, PingInterval: time.Hour}, func(t *testing.T, v *virtual) {
		c := v.connect(t) // two of the burst
		for range 45 {
			c.says(t, "6")
		}
		for range 100 { // for ever
			time.Sleep(time.Second)
			for range 5 { // a read and a frame each
				c.says(t, "6")
			}
		}
		synctest.Wait()
		equal(t, "sessions", v.Count(), 1)
		for range 100 {
			if err := c.send("6"); err != nil {
				break
			}
		}
		if _, err := c.read(); err == nil {
			t.Error("more than that is read")
		}
		equal(t, "reason", <-v.ended, ReasonRateLimited)
	})
}

// unfinal makes a frame one that another follows.
func unfinal(frame []byte) []byte {
	frame[0] &^= 0x80
	return frame
}

func (c *wsClient) writes(t *testing.T, b []byte) {
	t.Helper()
	_, err := c.conn.NetConn().Write(b)
	must(t, err)
}
