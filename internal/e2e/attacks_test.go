package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
)

// post is a request from an address.
func (s *siege) post(ctx context.Context, address, method, path, body string) {
	req, err := http.NewRequestWithContext(ctx, method, s.node.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("X-Forwarded-For", address)
	resp, err := flood.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			s.unanswered()
		} else {
			s.add("connection lost")
		}
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // its status tells
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode < 300:
		s.add("ok")
	case resp.StatusCode == http.StatusTooManyRequests:
		s.add(string(fault.RateLimited))
	default:
		s.add(fmt.Sprint(resp.StatusCode))
	}
}

// flood makes requests over many connections that are used again.
var flood = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// dial connects from an address; nil if it is refused.
func (s *siege) dial(ctx context.Context, address string) *client.Conn {
	conn, err := client.Dial(ctx, s.node.URL, client.Options{Header: http.Header{"X-Forwarded-For": {address}}})
	if err != nil {
		if ctx.Err() == nil {
			s.err(err)
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	}
	return conn
}

// join joins a meeting from an address; nil if it is refused.
func (s *siege) join(ctx context.Context, address string, j protocol.Join) *client.Participant {
	p, err := client.Join(ctx, s.node.URL, j, client.Handlers{}, at(address))
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		s.err(err)
		time.Sleep(5 * time.Millisecond)
		return nil
	}
	return p
}

// inside is a join of the honest pair's meeting, which an attacker has the key of.
func (s *siege) inside(user string) protocol.Join {
	return protocol.Join{MeetingID: s.victim.Joined().MeetingID, UserID: user}
}

func (s *siege) call(ctx context.Context, c *client.Conn, event string, payload any) {
	if err := c.Call(ctx, event, payload, nil); ctx.Err() == nil {
		s.err(err)
	} else {
		s.unanswered()
	}
}

var attacks = []attack{
	{
		name: "chat, connecting anew for each bucket",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 1, func(int) {
				p := s.join(ctx, attacker, s.inside("x"))
				if p == nil {
					return
				}
				for i := range 30 {
					s.call(ctx, p.Conn(), "chat", map[string]any{"client_id": fmt.Sprint(i), "text": "spam"})
				}
				_ = p.Conn().Call(ctx, "leave", map[string]any{}, nil)
				p.Conn().Kill()
			})
		},
		broken: atMost("ok", 3*30, 3*5),
	},
	{
		name: "chat from 50 connections of one address",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 50, func(i int) {
				p := s.join(ctx, attacker, s.inside(fmt.Sprint("x", i)))
				if p == nil {
					return
				}
				defer p.Conn().Kill()
				for i := 0; ctx.Err() == nil; i++ {
					s.call(ctx, p.Conn(), "chat", map[string]any{"client_id": fmt.Sprint(i), "text": "spam"})
					time.Sleep(50 * time.Millisecond)
				}
			})
		},
		broken: atMost("ok", 300, 10),
	},
	{
		name: "wrong keys over HTTP",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 20, func(i int) { s.post(ctx, attacker, "GET", fmt.Sprintf("/api/v1/meetings/guess-%d", i), "") })
		},
		broken: atMost("404", 20, 1/4.5),
	},
	{
		name: "wrong passwords from 20 connections",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 20, func(i int) {
				c := s.dial(ctx, attacker)
				if c == nil {
					return
				}
				defer c.Kill()
				for n := 0; ctx.Err() == nil; n++ {
					s.call(ctx, c, "join", protocol.Join{Version: 2, MeetingID: s.meeting.MeetingID, UserID: "x", Password: fmt.Sprint(i, n)})
				}
			})
		},
		broken: atMost(string(fault.BadPassword), 20, 1/4.5),
	},
	{
		name: "passwords to be hashed: creations with one",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 20, func(int) { s.post(ctx, attacker, "POST", "/api/v1/meetings", `{"password":"a long password"}`) })
		},
		broken: atMost("ok", 60, 3./60),
	},
	{
		name: "signals of 64 KiB to one member",
		run: func(ctx context.Context, s *siege) {
			list := make([]any, 31)
			for i := range list {
				list[i] = map[string]any{"candidate": strings.Repeat("x", 1990), "sdpMid": "0"}
			}
			s.times(ctx, 4, func(i int) {
				p := s.join(ctx, fmt.Sprint("203.0.113.", 60+i), s.inside(fmt.Sprint("x", i)))
				if p == nil {
					return
				}
				defer p.Conn().Kill()
				for ctx.Err() == nil {
					s.call(ctx, p.Conn(), "signal", map[string]any{"to": s.victim.PeerID(), "kind": "candidates", "neg": "n", "list": list})
				}
			})
		},
		broken: func(o *outcomes, _ time.Duration) string {
			if o.of(string(fault.RateLimited)) == 0 {
				return "no sender was told"
			}
			return atMost("ok", 4*66, 4*2)(o, 0) // the burst of each is 4 MiB
		},
	},
	{
		name: "names changed without end",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 20, func(i int) {
				p := s.join(ctx, attacker, s.inside(fmt.Sprint("x", i)))
				if p == nil {
					return
				}
				defer p.Conn().Kill()
				for n := 0; ctx.Err() == nil; n++ {
					s.call(ctx, p.Conn(), "rename", map[string]any{"name": fmt.Sprint(strings.Repeat("n", 40), n)})
				}
			})
		},
		broken: atMost("ok", 5000, 100),
	},
	{
		name: "answers that nobody reads",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 40, func(i int) {
				conn := dialFrom(s.t, s.node, fmt.Sprint("203.0.113.", 60+i%20))
				defer func() { _ = conn.Close() }()
				say := func(text string) bool {
					_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
					return conn.WriteMessage(websocket.TextMessage, []byte(text)) == nil
				}
				say(fmt.Sprintf(`42["join",{"v":2,"meeting_id":%q,"user_id":"x%d"}]`, s.victim.Joined().MeetingID, i))
				for n := 0; n < 200 && ctx.Err() == nil && say(`421["sync",{}]`); n++ {
					s.add("asked")
				}
				<-time.After(200 * time.Millisecond)
			})
		},
		broken: func(*outcomes, time.Duration) string { return "" }, // memory tells
	},
	{
		name: "silent connections",
		run: func(ctx context.Context, s *siege) {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Timeout: time.Second}
			var open []net.Conn
			for ctx.Err() == nil && len(open) < 4000 {
				conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.node.URL, "http://"))
				if err != nil {
					s.add("refused")
					continue
				}
				open = append(open, conn)
			}
			for _, conn := range open {
				_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
					s.add("open")
				} else {
					s.add("closed")
				}
				_ = conn.Close()
			}
		},
		broken: atMost("open", 2000, 0),
	},
	{
		name: "endless pongs",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 10, func(int) {
				conn := dialFrom(s.t, s.node, attacker)
				defer func() { _ = conn.Close() }()
				for ctx.Err() == nil {
					if conn.WriteMessage(websocket.TextMessage, []byte("3")) != nil {
						s.add("cut")
						return
					}
				}
			})
		},
		broken: func(o *outcomes, _ time.Duration) string {
			if o.of("cut") == 0 {
				return "nobody was cut"
			}
			return ""
		},
	},
	{
		name: "leaving with made-up tickets",
		run: func(ctx context.Context, s *siege) {
			body := fmt.Sprintf(`{"meeting_id":%q,"ticket":"wt_00000000000000000000000000"}`, s.victim.Joined().MeetingID)
			s.times(ctx, 20, func(int) { s.post(ctx, attacker, "POST", "/api/v1/leave", body) })
		},
		broken: func(o *outcomes, took time.Duration) string {
			return atMost("ok", 5000, 50)(o, took) // four tokens each
		},
	},
	{
		name: "every address of the page and the API",
		run: func(ctx context.Context, s *siege) {
			paths := []string{"/", "/ice", "/api/v1/ice", "/api/v1/meetings/x", "/assets/none.js", "/socket.io/?EIO=4&transport=polling"}
			s.times(ctx, 20, func(i int) { s.post(ctx, attacker, "GET", paths[i%len(paths)], "") })
		},
		broken: atMost("ok", 20_000, 200),
	},
	{
		name: "joining and leaving",
		run: func(ctx context.Context, s *siege) {
			s.times(ctx, 10, func(i int) {
				p := s.join(ctx, attacker, s.inside(fmt.Sprint("x", i)))
				if p == nil {
					return
				}
				s.add("ok")
				_ = p.Conn().Call(ctx, "leave", map[string]any{}, nil)
				p.Conn().Kill()
			})
		},
		broken: atMost("ok", 600, 0.1),
	},
}

func init() {
	// A lobby is filled from all the networks of one site.
	attacks = append(attacks, attack{
		name: "a lobby filled from one site",
		run: func(ctx context.Context, s *siege) {
			lobby := meeting(s.t, s.node, map[string]any{"policy": map[string]any{"lobby": true}})
			s.times(ctx, 10, func(i int) {
				for n := 0; ctx.Err() == nil; n++ {
					c := s.dial(ctx, fmt.Sprintf("2001:db8:1:%x::1", i*16+n%16))
					if c == nil {
						continue
					}
					s.call(ctx, c, "join", protocol.Join{Version: 2, MeetingID: lobby.MeetingID, UserID: fmt.Sprint("x", i, n)})
					time.Sleep(20 * time.Millisecond)
				}
			})
		},
		broken: atMost(string(fault.Waiting), 40, 0),
	})
}
