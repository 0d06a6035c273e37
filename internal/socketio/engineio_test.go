package socketio

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
)

// The cases of this file have the content of the 24 cases of the official
// Engine.IO v4 suite, which is not part of this repository.

// serveSuite runs the server that the official suites ask for.
func serveSuite(t *testing.T, path string) string {
	t.Helper()
	handler, servers := newSuiteHandler(zerolog.Nop())
	web := httptest.NewServer(handler)
	t.Cleanup(func() {
		for _, s := range servers {
			stopAtOnce(s)
		}
		web.Close()
	})
	return web.URL + path
}

func TestEngineIOEcho(t *testing.T) {
	t.Parallel()
	engineIO(t, serveSuite(t, "/engine.io/"))

	base := serveSuite(t, "/engine.io/") + "?EIO=4"
	for name, body := range map[string]string{
		"one text packet":                 "4hello",
		"several text packets":            "4one\x1e4two\x1e4three",
		"text and binary packets":         "4hello\x1ebAQIDBA==",
		"an empty message":                "4",
		"a message that ends in a letter": "4\x1e4b",
	} {
		t.Run("polling echoes "+name, func(t *testing.T) {
			t.Parallel()
			p := openPolling(t, base)
			p.posts(t, body)
			equal(t, "echo", p.gets(t), body)
		})
	}
	t.Run("polling ends at an invalid packet", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		status, _ := p.post(t, "abc")
		equal(t, "POST", status, http.StatusBadRequest)
		status, _ = p.get(t)
		equal(t, "the poll after it", status, http.StatusBadRequest)
	})
	t.Run("WebSocket echoes text", func(t *testing.T) {
		t.Parallel()
		c := mustDial(t, base)
		c.says(t, "4hello")
		c.wants(t, "4hello")
	})
	t.Run("WebSocket echoes binary", func(t *testing.T) {
		t.Parallel()
		c := mustDial(t, base)
		must(t, c.sendBinary([]byte{1, 2, 3, 4}))
		c.wants(t, "\x01\x02\x03\x04")
	})
	t.Run("WebSocket ends at an invalid packet", func(t *testing.T) {
		t.Parallel()
		c := mustDial(t, base)
		c.says(t, "abc")
		c.wantsEnd(t)
	})
	t.Run("a WebSocket carries messages after the upgrade", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		c := p.dialUpgrade(t)
		c.says(t, "2probe")
		c.wants(t, "3probe")
		equal(t, "the poll after the probe", p.gets(t), "6")
		c.says(t, "5", "4hello")
		c.wants(t, "4hello")
	})
	t.Run("the WebSocket stays after a poll and a second WebSocket were refused", func(t *testing.T) {
		t.Parallel()
		p, c := upgraded(t, base)
		p.dialUpgrade(t).wantsEnd(t)
		c.says(t, "4hello")
		c.wants(t, "4hello")
	})
}

// upgraded is a session that began with polling and has a WebSocket now.
func upgraded(t *testing.T, base string) (*poller, *wsClient) {
	t.Helper()
	p := openPolling(t, base)
	c := p.dialUpgrade(t)
	c.says(t, "2probe")
	c.wants(t, "3probe")
	c.says(t, "5")
	eventually(t, "polls are refused", func() bool {
		status, _ := p.get(t)
		return status == http.StatusBadRequest
	})
	return p, c
}

// engineIO are the cases that both official suites share.
func engineIO(t *testing.T, url string) {
	base := url + "?EIO=4"

	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		checkHello := func(t *testing.T, hello map[string]any, upgrades ...any) {
			t.Helper()
			equal(t, "keys", strings.Join(slices.Sorted(maps.Keys(hello)), " "), "maxPayload pingInterval pingTimeout sid upgrades")
			if sid, ok := hello["sid"].(string); !ok || sid == "" {
				t.Errorf("sid is %v", hello["sid"])
			}
			if got := hello["upgrades"].([]any); !slices.Equal(got, upgrades) {
				t.Errorf("upgrades are %v, want %v", got, upgrades)
			}
			equal[any](t, "pingInterval", hello["pingInterval"], 300.0)
			equal[any](t, "pingTimeout", hello["pingTimeout"], 200.0)
			equal[any](t, "maxPayload", hello["maxPayload"], 1e6)
		}
		t.Run("polling", func(t *testing.T) {
			status, open := (&poller{base: base + "&transport=polling", web: http.DefaultClient}).get(t)
			equal(t, "status", status, http.StatusOK)
			var hello map[string]any
			must(t, json.Unmarshal([]byte(strings.TrimPrefix(open, "0")), &hello))
			checkHello(t, hello, "websocket")
		})
		t.Run("WebSocket", func(t *testing.T) {
			checkHello(t, mustDial(t, base).hello)
		})
		for _, query := range []string{
			"?transport=polling", "?EIO=abc&transport=polling", "?EIO=4", "?EIO=4&transport=abc",
			"?EIO=3&transport=polling", "?EIO=4&transport=websocket", "?EIO=4&transport=polling&sid=nobody",
		} {
			t.Run("refused "+query, func(t *testing.T) {
				status, _ := (&poller{base: url + query, web: http.DefaultClient}).get(t)
				equal(t, "status", status, http.StatusBadRequest)
			})
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead} {
			t.Run("refused "+method, func(t *testing.T) {
				status, _, err := (&poller{base: base + "&transport=polling", web: http.DefaultClient}).do(method, "")
				must(t, err)
				equal(t, "status", status, http.StatusBadRequest)
			})
		}
		for _, query := range []string{"?transport=websocket", "?EIO=abc&transport=websocket", "?EIO=4", "?EIO=4&transport=abc", "?EIO=4&transport=polling"} {
			t.Run("refused WebSocket "+query, func(t *testing.T) {
				conn, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+query, nil)
				if err == nil {
					conn.Close()
					t.Fatal("was let in")
				}
				equal(t, "status", answer.StatusCode, http.StatusBadRequest)
			})
		}
	})

	t.Run("heartbeat over polling", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		for range 3 {
			_, ping := p.get(t)
			equal(t, "poll", ping, "2")
			p.posts(t, "3")
		}
	})
	t.Run("heartbeat over WebSocket", func(t *testing.T) {
		t.Parallel()
		c := mustDial(t, base)
		for range 3 {
			ping, err := c.read()
			must(t, err)
			equal(t, "message", ping, "2")
			c.says(t, "3")
		}
	})
	t.Run("a polling session without pongs ends", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		eventually(t, "polls are refused", func() bool {
			status, _ := p.get(t)
			return status == http.StatusBadRequest
		})
	})
	t.Run("a WebSocket session without pongs ends", func(t *testing.T) {
		t.Parallel()
		equal(t, "ended", mustDial(t, base).endsWithin(patience), true)
	})

	t.Run("a close packet over polling ends the poll and the session", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		waiting := p.goGet()
		p.posts(t, "1")
		a := receive(t, "the poll's answer", waiting)
		must(t, a.err)
		// The POST may also have been faster than the poll.
		if a.body != "6" && a.status != http.StatusBadRequest {
			t.Errorf("poll answered %d %q", a.status, a.body)
		}
		status, _ := p.get(t)
		equal(t, "poll after the end", status, http.StatusBadRequest)
	})
	t.Run("a close packet ends the WebSocket", func(t *testing.T) {
		t.Parallel()
		c := mustDial(t, base)
		c.says(t, "1")
		c.wantsEnd(t)
	})

	t.Run("two polls at once end the session", func(t *testing.T) {
		t.Parallel()
		p := openPolling(t, base)
		first, second := p.goGet(), p.goGet()
		a, b := receive(t, "first poll", first), receive(t, "second poll", second)
		if a.status != http.StatusOK {
			a, b = b, a
		}
		if a.status != http.StatusOK || a.body != "1" || b.status != http.StatusBadRequest {
			t.Errorf("answered %d %q and %d %q", a.status, a.body, b.status, b.body)
		}
		status, _ := p.get(t)
		equal(t, "poll after the end", status, http.StatusBadRequest)
	})
	t.Run("upgrade", func(t *testing.T) {
		t.Parallel()
		p, _ := upgraded(t, base)
		p.dialUpgrade(t).wantsEnd(t)
	})
}
