package socketio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// handshakeFrom opens a session as a page of that origin would, and returns the status.
func handshakeFrom(t *testing.T, base, transport, origin string) int {
	t.Helper()
	head := http.Header{}
	if origin != "" {
		head.Set("Origin", origin)
	}
	if transport == "websocket" {
		conn, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"&transport=websocket", head)
		if err == nil {
			conn.Close()
		} else if answer == nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	r, err := http.NewRequest(http.MethodGet, base+"&transport=polling", nil)
	must(t, err)
	r.Header = head
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	answer.Body.Close()
	return answer.StatusCode
}

func TestOnlyAllowedOriginsConnect(t *testing.T) {
	t.Parallel()
	const friend = "https://friend.example"
	s, base := serve(t, Options{AllowOrigin: func(_ *http.Request, origin string) bool { return origin == friend }})
	for _, transport := range []string{"polling", "websocket"} {
		for origin, want := range map[string]bool{"": true, friend: true, "https://elsewhere.example": false, "null": false, friend + ".evil.example": false} {
			if status := handshakeFrom(t, base, transport, origin); (status < 400) != want || !want && status != http.StatusForbidden {
				t.Errorf("%s from %q: status %d", transport, origin, status)
			}
		}
	}

	p := openPolling(t, base)
	for method, body := range map[string]string{http.MethodGet: "", http.MethodPost: "40", http.MethodOptions: ""} {
		for origin, status := range map[string]int{friend: http.StatusOK, "https://elsewhere.example": http.StatusForbidden} {
			if method == http.MethodGet && origin == friend {
				continue // would wait
			}
			if method == http.MethodOptions && origin == friend {
				status = http.StatusNoContent
			}
			r, err := http.NewRequest(method, p.url(), strings.NewReader(body))
			must(t, err)
			r.Header.Set("Origin", origin)
			answer, err := http.DefaultClient.Do(r)
			must(t, err)
			answer.Body.Close()
			equal(t, method+" from "+origin, answer.StatusCode, status)
			allowed := answer.Header.Get("Access-Control-Allow-Origin")
			equal(t, method+" lets read "+origin, allowed == origin, origin == friend)
		}
	}
	equal(t, "refused clients had an effect", s.Stats().Refused.Load(), 0)
}

func TestSameOriginIsTheDefault(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://meet.example": true, "http://MEET.example": true,
		"https://meet.example:8443": false, "https://meet.example.evil.example": false, "null": false, "": false, "https://%zz": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "https://meet.example/socket.io/", nil)
		equal(t, origin, SameOrigin(r, origin), want)
	}
}

func TestOtherPathsAreNotServed(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{})
	status, _ := (&poller{base: strings.Replace(base, "socket.io", "elsewhere", 1) + "&transport=polling", web: http.DefaultClient}).get(t)
	equal(t, "status", status, http.StatusNotFound)
}

// refusedWith connects and reads the reason in the connect_error.
func refusedWith(t *testing.T, base string) string {
	t.Helper()
	c := mustDial(t, base)
	c.says(t, `40{"token":"x"}`)
	answer := c.wantsPrefix(t, "44{")
	var why struct {
		Message string
		Data    Refusal
	}
	must(t, json.Unmarshal([]byte(answer[2:]), &why))
	if why.Message == "" || why.Message != why.Data.Message {
		t.Errorf("connect_error is %s", answer)
	}
	c.wantsEnd(t)
	return why.Data.Code
}

func TestFullServerRefusesUntilSomeoneLeaves(t *testing.T) {
	t.Parallel()
	s, base := serve(t, Options{MaxSockets: 2})
	first := mustConnect(t, base)
	p := connectPolling(t, base)
	equal(t, "third is refused with", refusedWith(t, base), "server_full")

	refused := openPolling(t, base)
	refused.posts(t, "40")
	body := refused.gets(t)
	if !strings.HasPrefix(body, "44{") || !strings.Contains(body, `"code":"server_full"`) {
		t.Errorf("polling is refused with %q", body)
	}

	must(t, first.conn.Close())
	eventually(t, "room for one more", func() bool { return s.Count() == 1 })
	mustConnect(t, base)
	p.posts(t, "1")
	eventually(t, "room for one more", func() bool { return s.Count() == 1 })
	mustConnect(t, base)
	equal(t, "full again", refusedWith(t, base), "server_full")
}

func TestManyRefusedClientsGetAStatus(t *testing.T) {
	t.Parallel()
	s, base := serve(t, Options{MaxSockets: 1, ConnectTimeout: time.Minute})
	mustConnect(t, base)
	for range maxRefusing {
		mustDial(t, base) // and wait to be told
	}
	for _, transport := range []string{"polling", "websocket"} {
		equal(t, transport, handshakeFrom(t, base, transport, ""), http.StatusServiceUnavailable)
	}
	answer, err := http.Get(base + "&transport=polling")
	must(t, err)
	defer answer.Body.Close()
	var why Refusal
	must(t, json.NewDecoder(answer.Body).Decode(&why))
	equal(t, "code", why.Code, "server_full")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	equal(t, "counted", s.Stats().Refused.Load(), maxRefusing+3)
}

// owners are those of docs/SECURITY.md.
func owners(ip netip.Addr) (network, site netip.Prefix) {
	networkBits, siteBits := 64, 48
	if ip.Is4() {
		networkBits, siteBits = 32, 32
	}
	network, _ = ip.Prefix(networkBits)
	site, _ = ip.Prefix(siteBits)
	return network, site
}

func TestAddressesHaveTheirOwnBound(t *testing.T) {
	t.Parallel()
	s, url := serve(t, Options{MaxSocketsPerIP: 2, Owners: owners, ClientIP: func(r *http.Request) netip.Addr {
		ip, _ := netip.ParseAddr(r.URL.Query().Get("ip"))
		return ip
	}})
	from := func(ip string) string { return url + "&ip=" + ip }
	for _, c := range []struct{ full, same, other string }{
		{"192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"198.51.100.7", "::ffff:198.51.100.7", "198.51.100.8"},
		{"2001:db8:1:1::1", "2001:db8:1:1:ffff::9", "2001:db8:1:2::1"},
	} {
		t.Run(c.full, func(t *testing.T) {
			one := mustConnect(t, from(c.full))
			mustConnect(t, from(c.same))
			for _, ip := range []string{c.full, c.same} {
				equal(t, ip, refusedWith(t, from(ip)), "too_many_from_ip")
			}
			other := mustConnect(t, from(c.other))
			must(t, one.conn.Close())
			eventually(t, "a free place", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				n, _ := owners(netip.MustParseAddr(c.full).Unmap())
				return s.perIP[n] == 1
			})
			mustConnect(t, from(c.same))
			must(t, other.conn.Close())
		})
	}
	for i := range 8 { // four networks of one site are as many as it may have
		mustConnect(t, from(fmt.Sprintf("2001:db8:2:%d::1", i%4)))
	}
	equal(t, "a fifth network of a site", refusedWith(t, from("2001:db8:2:5::1")), "too_many_from_ip")
	mustConnect(t, from("2001:db8:3::1"))
}

func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	s, url := serve(t, Options{MaxSocketsPerIP: 2, Owners: owners, ClientIP: func(*http.Request) netip.Addr { return netip.MustParseAddr("2001:db8::1") }})
	for range 5 {
		must(t, mustConnect(t, url).conn.Close())
		eventually(t, "gone", func() bool { return s.Count() == 0 })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	equal(t, "addresses remembered", len(s.perIP), 0)
	equal(t, "sessions counted", s.welcome+s.refusing, 0)
}

func TestFailedHandshakeTakesNoPlace(t *testing.T) {
	t.Parallel()
	s, base := serve(t, Options{MaxSockets: 1})
	for range 3 {
		r, err := http.NewRequest(http.MethodGet, base+"&transport=websocket", nil)
		must(t, err)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket") // and no key
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		answer.Body.Close()
		equal(t, "status", answer.StatusCode, http.StatusBadRequest)
	}
	mustConnect(t, base)
	equal(t, "sessions", s.Count(), 1)
}

func TestMessageOverTheLimitEndsTheSession(t *testing.T) {
	t.Parallel()
	reasons := make(chan Reason, 2)
	_, base := serve(t, Options{MaxMessage: 1000, OnDisconnect: func(_ *Socket, r Reason) { reasons <- r }})
	for name, frames := range map[string][]byte{
		"in one frame": maskedFrame(opText, []byte(`42["`+strings.Repeat("x", 1000)+`"]`)),
		"in fragments": fragments(`42["`+strings.Repeat("x", 1000)+`"]`, 100),
	} {
		t.Run(name, func(t *testing.T) {
			c := mustConnect(t, base)
			_, err := c.conn.NetConn().Write(frames)
			must(t, err)
			c.wantsEnd(t)
			receive(t, "OnDisconnect", reasons)
		})
	}
	c := mustConnect(t, base)
	c.says(t, `421["`+strings.Repeat("x", 1000-len(`421[""]`))+`"]`, "41", "40")
	c.wantsPrefix(t, "40{")
}

func fragments(text string, size int) (b []byte) {
	for opcode := byte(opText); text != ""; opcode = 0 {
		n := min(size, len(text))
		f := maskedFrame(opcode, []byte(text[:n]))
		if text = text[n:]; text != "" {
			f[0] &^= 0x80 // not the last
		}
		b = append(b, f...)
	}
	return b
}

// TestUpgradeLosesNothing upgrades while both sides send numbers.
func TestUpgradeLosesNothing(t *testing.T) {
	t.Parallel()
	const messages = 2000
	for range 5 {
		got := make(chan int, 100)
		_, base := serve(t, Options{
			MaxQueued: messages + 100,
			OnConnect: func(s *Socket) {
				go func() {
					tick := time.NewTicker(50 * time.Microsecond)
					defer tick.Stop()
					for i := range messages {
						_ = s.Emit("n", i)
						<-tick.C
					}
				}()
			},
			OnEvent: func(_ *Socket, e *Event) {
				var n int
				_ = json.Unmarshal(e.Args[0], &n)
				got <- n
			},
		})
		p := openPolling(t, base)
		p.posts(t, "40")
		next := 0
		read := func(packets string) {
			for _, packet := range strings.Split(packets, "\x1e") {
				switch {
				case packet == "6", strings.HasPrefix(packet, "40{"):
				case packet == fmt.Sprintf(`42["n",%d]`, next):
					next++
				default:
					t.Fatalf("after %d came %.80q", next-1, packet)
				}
			}
		}
		for i := range 5 {
			p.posts(t, fmt.Sprintf(`42["n",%d]`, i))
			read(p.gets(t))
		}
		c := p.dialUpgrade(t)
		c.says(t, "2probe")
		polls := p.goGet() // parked or not when the probe comes
		c.wants(t, "3probe")
		a := receive(t, "the last poll", polls)
		equal(t, "last poll", a.status, http.StatusOK)
		read(a.body)
		c.says(t, "5")
		for i := range 5 {
			c.says(t, fmt.Sprintf(`42["n",%d]`, i+5))
		}
		for next < messages {
			m, err := c.next()
			must(t, err)
			read(m)
		}
		for i := range 10 {
			equal(t, "from the client", receive(t, "an event", got), i)
		}
	}
}

func TestBroadcastReachesBothTransports(t *testing.T) {
	t.Parallel()
	s, base := serve(t, Options{Namespaces: []string{"/", "/other"}})
	c, p := mustConnect(t, base), connectPolling(t, base)
	elsewhere := mustDial(t, base)
	elsewhere.says(t, "40/other")
	elsewhere.wantsPrefix(t, "40/other,")
	must(t, s.Broadcast("news", map[string]int{"n": 1}, nil, "ü<&>"))
	const want = `42["news",{"n":1},null,"ü<&>"]`
	c.wants(t, want)
	equal(t, "polling got", p.gets(t), want)
	elsewhere.says(t, "41/other", "40") // had there been a broadcast, it would come first
	elsewhere.wantsPrefix(t, "40{")
}

func TestWebSocketPingIsAnsweredInItsPlace(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{OnEvent: func(_ *Socket, e *Event) { e.Ack() }})
	p := connectPolling(t, base)
	c := p.dialUpgrade(t)
	ping := func(data string) { must(t, c.conn.WriteMessage(websocket.PingMessage, []byte(data))) }
	var pongs []string
	c.conn.SetPongHandler(func(data string) error { pongs = append(pongs, data); return nil })
	ping("candidate") // has no place yet
	c.says(t, "2probe")
	c.wants(t, "3probe")
	p.posts(t, `421["x"]`)
	equal(t, "poll", p.gets(t), "431[]")
	c.says(t, "5")
	ping("carrier")
	c.says(t, `422["x"]`)
	c.wants(t, "432[]")
	equal(t, "pongs", strings.Join(pongs, " "), "carrier")
}

func TestSocketKnowsItsClient(t *testing.T) {
	t.Parallel()
	sockets := make(chan *Socket, 1)
	_, base := serve(t, Options{OnConnect: func(s *Socket) { sockets <- s }})
	r, err := http.NewRequest(http.MethodGet, base+"&transport=polling", nil)
	must(t, err)
	r.Header.Set("User-Agent", strings.Repeat("a", 511)+"é")
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	var open struct{ SID string }
	one := make([]byte, 1)
	_, err = answer.Body.Read(one)
	must(t, err)
	must(t, json.NewDecoder(answer.Body).Decode(&open))
	answer.Body.Close()
	p := &poller{base: base + "&transport=polling", sid: open.SID, web: http.DefaultClient}
	p.posts(t, `40{"who":"me"}`)
	s := receive(t, "a socket", sockets)
	equal(t, "address", s.IP().String(), "127.0.0.1")
	equal(t, "user agent, cut between characters", s.UserAgent(), strings.Repeat("a", 511))
	equal(t, "auth", string(s.Auth()), `{"who":"me"}`)
	equal(t, "transport", s.Transport(), "polling")
	c := p.dialUpgrade(t)
	c.says(t, "2probe", "5")
	eventually(t, "the upgrade", func() bool { return s.Transport() == "websocket" })
}
