package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/httpapi"
	"signald/internal/limits"
	"signald/internal/signaling"
)

// aDay is how many one network is allowed of within a day, from a full account on.
func aDay(r limits.Rate) float64 { return r.Burst + r.PerSecond*24*60*60 }

// What docs/SECURITY.md says that one address can make a day, with everything as long as it may be.
func TestWhatOneAddressMakesADay(t *testing.T) {
	args := serveArgs(t, "--webhook-url=http://127.0.0.1:1/", "--webhook-secret=whsec_"+strings.Repeat("A", 32), "--log-level=info")
	r := start(t, args)
	var file string
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "--database-url=sqlite:"); ok {
			file = path
		}
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	inUse := func() (bytes float64) {
		t.Helper()
		if err := db.QueryRow(`SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&bytes); err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	wide := func(n int) string { return strings.Repeat("王", n) }
	const some = 40
	before := inUse()
	for i := range some {
		req, err := http.NewRequest(http.MethodPost, r.url+"/api/v1/meetings", strings.NewReader(
			fmt.Sprintf(`{"meeting_id":"%s%02d","name":%q,"attendance":true,"retention_s":86400}`, wide(62), i, wide(64))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", strings.Repeat("u", 600))
		resp, err := plain.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
	}
	megabytes := func(what string, each float64, rate limits.Rate, most float64) {
		t.Helper()
		mb := each * aDay(rate) / 1e6
		t.Logf("%s: %.0f bytes each, %.0f a day, %.1f MB", what, each, aDay(rate), mb)
		if each <= 0 || mb > most {
			t.Errorf("%s: one address makes %.1f MB a day, the documents say %.0f", what, mb, most)
		}
	}
	megabytes("creations", (inUse()-before)/some, httpapi.Creations.Network, 15)

	s := connect(t, r.url, nil)
	join := func(i int) string {
		return fmt.Sprintf(`42%d["join",{"v":2,"meeting_id":"%s00","user_id":%q,"name":%q}]`, i, wide(62), wide(64), wide(64))
	}
	s.say(join(0)) // one that stays: the attendance is not given up
	s.expect("430")
	before = inUse()
	for i := range some {
		other := connect(t, r.url, nil)
		other.say(join(i))
		if ack := other.expect(fmt.Sprint("43", i)); !strings.Contains(ack, `"ok":true`) {
			t.Fatal(ack)
		}
		other.say(`4299["leave",{}]`)
		other.expect("4399")
		_ = other.conn.Close()
	}
	megabytes("joins", (inUse()-before)/some, signaling.Joins.Network, 90)

	before = inUse()
	const messages = 28 // at once
	for i := range messages {
		s.say(fmt.Sprintf(`42%d["chat",{"client_id":"%s%02d","text":%q,"meta":%q}]`, 100+i, wide(20), i, strings.Repeat("x", i%2*4096), strings.Repeat("m", 40)))
		if ack := s.expect(fmt.Sprint("43", 100+i)); !strings.Contains(ack, `"ok":true`) {
			t.Fatal(ack)
		}
	}
	charged := float64(messages) * (2048 + 42 + 1536)
	if stored := inUse() - before; stored > charged {
		t.Errorf("%d messages take %.0f bytes, and %.0f are charged", messages, stored, charged)
	}
	megabytes("chat", 1, signaling.ChatRule.Network, 400)
	megabytes("chat of a meeting", 1, signaling.ChatRule.Meeting, 160)

	longest := 0
	for line := range strings.Lines(r.log.String()) {
		longest = max(longest, len(line))
	}
	megabytes("lines of the log", float64(longest), signaling.Lines, 5)
}

// An office of 200 behind one address creates 40 meetings and joins them within a minute, reloads, loses its
// seats, and joins again all at once; or all of it in one meeting.
func TestOfficeCreatesAndJoinsItsMeetings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ip := netip.MustParseAddr("192.0.2.1")
		creations, requests := limits.NewLimit(httpapi.Creations, false), limits.NewLimit(requestsRule, false)
		take := func(what string, l *limits.Limit, meeting string, n float64) {
			t.Helper()
			if refusal, ok := l.Take(limits.Payer{IP: ip, Meeting: meeting}, n); !ok {
				t.Fatalf("%s: refused by %s for %s", what, refusal.Owner, refusal.Wait)
			}
		}
		for _, meetings := range []int{40, 1} {
			joins := limits.NewLimit(signaling.Joins, false)
			for person := range 200 {
				if person < meetings {
					take("creation", creations, "", 1)
				}
				take("page", requests, "", 25+4*3+10)
				take("join", joins, fmt.Sprint(person%meetings), 1)
				time.Sleep(time.Minute / 200)
			}
			for person := range 200 { // a reload keeps the seat, and the files are in the browser
				take("reload", requests, fmt.Sprint(person%meetings), 1+4*3+10)
			}
			for person := range 200 {
				take("connecting again", requests, "", 10)
				take("joining again", joins, fmt.Sprint(person%meetings), 1)
			}
		}
	})
}

func connectFrom(t *testing.T, url, ip string) *socket {
	t.Helper()
	dialer := &websocket.Dialer{NetDialContext: from(ip).DialContext, HandshakeTimeout: patience}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(strings.Replace(url, "localhost", "127.0.0.1", 1), "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &socket{t, conn}
	s.say("40")
	s.expect(`42["welcome"`)
	return s
}

func TestJoiningAgainAndAgainIsBounded(t *testing.T) {
	usual := signaling.Joins
	t.Cleanup(func() { signaling.Joins = usual })
	signaling.Joins.Share = limits.Rate{PerSecond: 1. / 3600, Burst: 5}
	r := start(t, serveArgs(t))
	meeting, other := create(t, r.url), create(t, r.url)
	s := connectFrom(t, r.url, "127.0.0.9")
	join := func(s *socket, meeting, more string) map[string]any {
		t.Helper()
		s.say(fmt.Sprintf(`421["join",{"v":2,"meeting_id":%q,"user_id":"u"%s}]`, meeting, more))
		var ack []map[string]any
		if err := json.Unmarshal([]byte(s.expect("431")[3:]), &ack); err != nil {
			t.Fatal(err)
		}
		return ack[0]
	}
	for range 4 {
		join(s, meeting, "")
		s.say(`422["leave",{}]`)
		s.expect("432")
	}
	seat := join(s, meeting, "")
	back := connectFrom(t, r.url, "127.0.0.9")
	if ack := join(back, meeting, fmt.Sprintf(`,"resume_token":%q`, seat["resume_token"])); ack["ok"] != true {
		t.Errorf("coming back to a seat: %v", ack)
	}
	refused := join(connectFrom(t, r.url, "127.0.0.9"), meeting, "")
	if wait, _ := refused["retry_after_ms"].(float64); refused["code"] != "rate_limited" || wait <= 0 {
		t.Errorf("the sixth join: %v", refused)
	}
	if ack := join(connectFrom(t, r.url, "127.0.0.9"), other, ""); ack["ok"] != true {
		t.Errorf("another meeting: %v", ack)
	}
	if ack := join(connectFrom(t, r.url, "127.0.0.8"), meeting, ""); ack["ok"] != true {
		t.Errorf("another address: %v", ack)
	}
}

// One connection's messages fill what a meeting or an address may have stored, or asked.
func TestChatOfAMeetingIsBounded(t *testing.T) {
	usual := signaling.ChatRule
	t.Cleanup(func() { signaling.ChatRule = usual })
	signaling.ChatRule.Meeting = limits.Rate{PerSecond: 1, Burst: 6000}
	r := start(t, serveArgs(t))
	said := func(meeting, ip string) (n int, refusal string) {
		s := connectFrom(t, r.url, ip)
		s.join(meeting)
		for i := range 10 {
			ack := s.ask(i+1, fmt.Sprintf(`["chat",{"client_id":"c%d","text":%q}]`, i, strings.Repeat("x", 400)))
			if !strings.Contains(ack, `"ok":true`) {
				return n, ack
			}
			n++
		}
		return n, ""
	}
	full := create(t, r.url)
	if n, refusal := said(full, "127.0.0.9"); n != 3 || !strings.Contains(refusal, "rate_limited") || !strings.Contains(refusal, "chat is full") {
		t.Errorf("%d messages, then %s", n, refusal)
	}
	if n, _ := said(create(t, r.url), "127.0.0.9"); n != 3 {
		t.Errorf("another meeting has %d", n)
	}
}

func TestQuestionsToTheDatabaseAreBounded(t *testing.T) {
	usual := signaling.AsksRule
	t.Cleanup(func() { signaling.AsksRule = usual })
	signaling.AsksRule.Network = limits.Rate{PerSecond: 0.1, Burst: 10}
	r := start(t, serveArgs(t))
	s := connectFrom(t, r.url, "127.0.0.9")
	refused := 0
	for i := range 20 { // what asks it or might, and what does not
		if strings.Contains(s.ask(100+i, `["media_state",{"audio":true}]`), "rate_limited") {
			refused++
		}
		if ack := s.ask(200+i, `["heartbeat",{}]`); !strings.Contains(ack, `"ok":true`) {
			t.Error(ack)
		}
	}
	if refused != 10 {
		t.Errorf("%d of 20 were refused, want 10", refused)
	}
	other := connectFrom(t, r.url, "127.0.0.8")
	if ack := other.ask(1, `["media_state",{"audio":true}]`); strings.Contains(ack, "rate_limited") {
		t.Errorf("another address: %s", ack)
	}
}

// Few bytes ask for many: rosters and messages that are asked for count as what the connection sends.
func TestLongAnswersAreBounded(t *testing.T) {
	usual := signaling.Connection
	t.Cleanup(func() { signaling.Connection = usual })
	signaling.Connection.Bytes = limits.Rate{PerSecond: 1, Burst: 3000}
	r := start(t, serveArgs(t))
	s := connectFrom(t, r.url, "127.0.0.9")
	s.join(create(t, r.url))
	for i, want := range []string{`"ok":true`, `"ok":true`, `"ok":true`, `"ok":true`, `"ok":true`, "rate_limited"} {
		if ack := s.ask(i+1, `["sync",{}]`); !strings.Contains(ack, want) {
			t.Errorf("answer %d: %s", i+1, ack)
		}
	}
	if ack := s.ask(99, `["heartbeat",{}]`); !strings.Contains(ack, `"ok":true`) {
		t.Error(ack)
	}
}

func TestLogOfAnAddressIsSampled(t *testing.T) {
	usual := signaling.Lines
	t.Cleanup(func() { signaling.Lines = usual })
	signaling.Lines = limits.Rate{PerSecond: 1. / 3600, Burst: 5}
	r := start(t, serveArgs(t, "--log-level=info"))
	for range 20 {
		_ = connectFrom(t, r.url, "127.0.0.9").conn.Close()
	}
	connectFrom(t, r.url, "127.0.0.8")
	lines, others := 0, 0
	for line := range strings.Lines(r.log.String()) {
		switch {
		case strings.Contains(line, `"ip":"127.0.0.8"`):
			others++
		case strings.Contains(line, `connected"`): // and disconnected
			lines++
		}
	}
	if lines > 5 || others != 1 {
		t.Errorf("%d lines of an address whose part is 5, and %d of another one", lines, others)
	}
}
