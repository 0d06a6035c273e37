package socketio

import (
	"strings"
	"testing"
)

// The cases of this file have the content of the 32 cases of the official
// Socket.IO v5 suite, which is not part of this repository.

func TestSocketIOCarriesEngineIO(t *testing.T) {
	t.Parallel()
	engineIO(t, serveSuite(t, "/socket.io/"))
}

func TestSocketIOConnect(t *testing.T) {
	t.Parallel()
	base := serveSuite(t, "/socket.io/") + "?EIO=4"
	for _, c := range []struct{ name, connect, answer, auth string }{
		{"default namespace", "40", `40{"sid":"`, `42["auth",{}]`},
		{"default namespace with auth", `40{"token":"123"}`, `40{"sid":"`, `42["auth",{"token":"123"}]`},
		{"named namespace", "40/custom,", `40/custom,{"sid":"`, `42/custom,["auth",{}]`},
		{"named namespace without a comma", "40/custom", `40/custom,{"sid":"`, `42/custom,["auth",{}]`},
		{"named namespace with auth", `40/custom,{"token":"abc"}`, `40/custom,{"sid":"`, `42/custom,["auth",{"token":"abc"}]`},
		{"named namespace with a query", `40/custom?a=b,{"token":"abc"}`, `40/custom,{"sid":"`, `42/custom,["auth",{"token":"abc"}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := mustDial(t, base)
			client.says(t, c.connect)
			answer := client.wantsPrefix(t, c.answer)
			if sid := strings.TrimPrefix(answer, c.answer); len(sid) <= len(`"}`) || !strings.HasSuffix(sid, `"}`) || strings.Contains(sid, ",") {
				t.Errorf("answer %q is more or less than a sid", answer)
			}
			client.wants(t, c.auth)
		})
	}
	t.Run("unknown namespace", func(t *testing.T) {
		t.Parallel()
		client := mustDial(t, base)
		client.says(t, "40/random")
		client.wants(t, `44/random,{"message":"Invalid namespace"}`)
		client.says(t, "40") // one refusal does not spoil the session
		client.wantsPrefix(t, "40{")
	})
	t.Run("something else first", func(t *testing.T) {
		t.Parallel()
		for _, packet := range []string{"4abc", `42["message"]`, "40[]", "40{", "4"} {
			client := mustDial(t, base)
			client.says(t, packet)
			client.wantsEnd(t)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		mustDial(t, base).wantsEnd(t) // by the connect timeout, as it answers pings
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		client := connectSuite(t, base)
		client.says(t, "40")
		client.wantsEnd(t)
	})
}

// connectSuite connects the default namespace and reads the auth event.
func connectSuite(t *testing.T, base string) *wsClient {
	t.Helper()
	c := mustConnect(t, base)
	c.wants(t, `42["auth",{}]`)
	return c
}

func TestSocketIODisconnect(t *testing.T) {
	t.Parallel()
	base := serveSuite(t, "/socket.io/") + "?EIO=4"
	t.Run("leaves the session open", func(t *testing.T) {
		t.Parallel()
		c := connectSuite(t, base)
		c.says(t, "41")
		ping, err := c.read()
		must(t, err)
		equal(t, "message", ping, "2")
	})
	t.Run("leaves the other namespace alone", func(t *testing.T) {
		t.Parallel()
		c := connectSuite(t, base)
		c.says(t, "40/custom")
		c.wantsPrefix(t, "40/custom,")
		c.wants(t, `42/custom,["auth",{}]`)
		c.says(t, "41/custom", `42["message","to the main namespace"]`)
		c.wants(t, `42["message-back","to the main namespace"]`)
	})
	t.Run("allows to connect again", func(t *testing.T) {
		t.Parallel()
		c := connectSuite(t, base)
		c.says(t, "41", "40")
		c.wantsPrefix(t, "40{")
	})
}

func TestSocketIOMessage(t *testing.T) {
	t.Parallel()
	base := serveSuite(t, "/socket.io/") + "?EIO=4"
	const two = `{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}`
	binary := []string{"\x01\x02\x03", "\x04\x05\x06"}
	for _, c := range []struct {
		name, sent string
		binary     []string
		want       string
	}{
		{"plain", `42["message",1,"2",{"3":[true]}]`, nil, `42["message-back",1,"2",{"3":[true]}]`},
		{"plain with ack", `42456["message-with-ack",1,"2",{"3":[false]}]`, nil, `43456[1,"2",{"3":[false]}]`},
		{"binary", `452-["message",` + two + `]`, binary, `452-["message-back",` + two + `]`},
		{"binary with ack", `452-789["message-with-ack",` + two + `]`, binary, `462-789[` + two + `]`},
		{"ack 0", `420["message-with-ack"]`, nil, `430[]`},
		{"spaces and escapes", `42[ "mess\u0061ge" , "\u738b\u5b87" , [ ] ]`, nil, `42["message-back","\u738b\u5b87",[ ]]`},
		{"unmasked text of other scripts", `42["message","王宇 🎥"]`, nil, `42["message-back","王宇 🎥"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := connectSuite(t, base)
			client.says(t, c.sent)
			for _, b := range c.binary {
				must(t, client.sendBinary([]byte(b)))
			}
			client.wants(t, c.want)
			for _, b := range c.binary {
				client.wants(t, b)
			}
		})
	}
	for name, packet := range map[string]string{
		"unknown type":           "4abc",
		"payload is no array":    "42{}",
		"ack id is no number":    `42abc["message-with-ack",1,"2",{"3":[false]}]`,
		"empty array":            "42[]",
		"name is no string":      "42[1]",
		"reserved name":          `42["disconnect"]`,
		"connect error":          `44{"message":"x"}`,
		"disconnect with a tail": `41{"a":1}`,
		"text after attachments": `451-["message",{"_placeholder":true,"num":0}]`,
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			t.Parallel()
			client := connectSuite(t, base)
			client.says(t, packet)
			if strings.HasPrefix(packet, "451-") {
				client.says(t, `42["message"]`) // where the attachment should be
			}
			client.wantsEnd(t)
		})
	}
}
