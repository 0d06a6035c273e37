package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/ice"
	"signald/internal/ice/relay/relaytest"
)

// seat is what a join is answered, as far as it is about media.
type seat struct {
	PeerID      string `json:"peer_id"`
	ResumeToken string `json:"resume_token"`
	ICEServers  []struct {
		URLs                 []string `json:"urls"`
		Username, Credential string
	} `json:"ice_servers"`
}

func joinAnswer(t *testing.T, url string) (s seat) {
	t.Helper()
	c := connect(t, url, nil)
	c.say(`420["join",{"v":2,"meeting_id":"` + create(t, url) + `","user_id":"u"}]`)
	_, ack, _ := strings.Cut(c.expect("430"), "[")
	if err := json.Unmarshal([]byte(strings.TrimSuffix(ack, "]")), &s); err != nil || len(s.ICEServers) == 0 {
		t.Fatalf("%v: %s", err, ack)
	}
	return s
}

func TestParticipantsAreToldOfTheTURNServerInside(t *testing.T) {
	const secret = "a-secret-shared-with-coturn"
	r := start(t, serveArgs(t, "--turn-listen=127.0.0.1:0", "--turn-public-ip=127.0.0.1", "--turn-secret="+secret,
		"--turn=turn:turn.example.org", "--metrics-listen=127.0.0.1:0"))
	s := joinAnswer(t, r.url)
	if len(s.ICEServers) != 2 || !strings.HasPrefix(s.ICEServers[0].URLs[0], "stun:127.0.0.1:") {
		t.Fatalf("%+v", s)
	}
	inside := s.ICEServers[1]
	if len(inside.URLs) != 3 || !strings.HasPrefix(inside.URLs[0], "turn:127.0.0.1:") || inside.URLs[2] != "turn:turn.example.org" {
		t.Errorf("%v", inside.URLs)
	}
	if peer, expires, ok := ice.Parse(inside.Username); !ok || peer != s.PeerID || expires.Before(time.Now()) || inside.Credential != ice.Credential(secret, inside.Username) {
		t.Errorf("%+v", inside)
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(inside.URLs[1], "turn:"), "?transport=tcp")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()

	req, err := http.NewRequest(http.MethodGet, r.url+"/api/v1/ice", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.ResumeToken)
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var again seat
	if err := json.NewDecoder(resp.Body).Decode(&again); err != nil || len(again.ICEServers) != 2 || again.ICEServers[1].URLs[0] != inside.URLs[0] {
		t.Errorf("GET /api/v1/ice: %+v, %v", again, err)
	}
	r.stop()
	if code := r.code(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the TURN server has outlived signald")
	}
	if strings.Contains(r.log.String(), secret) || strings.Contains(r.log.String(), inside.Credential) {
		t.Error("a secret is in the log")
	}
}

func TestTURNServerInsideServesNobodyWhoHasLeft(t *testing.T) {
	r := start(t, serveArgs(t, "--turn-listen=127.0.0.1:0", "--turn-public-ip=127.0.0.1"))
	leaving, staying := joinAnswer(t, r.url), joinAnswer(t, r.url)
	for _, s := range []seat{leaving, staying} {
		if err := allocate(t, s); err != nil {
			t.Fatal(err)
		}
	}
	body := strings.NewReader(`{"peer_id":"` + leaving.PeerID + `","resume_token":"` + leaving.ResumeToken + `"}`)
	resp, err := plain.Post(r.url+"/api/v1/leave", "application/json", body)
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatal(err, resp.Status)
	}
	_ = resp.Body.Close()
	for end := time.Now().Add(patience); !strings.Contains(r.log.String(), `"allocations":1`); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("who has left goes on relaying")
		}
	}
	if err := allocate(t, leaving); err == nil {
		t.Error("who has left allocates again")
	}
	if err := allocate(t, staying); err != nil {
		t.Error(err)
	}
}

// allocate asks for a relay with what a participant was given.
func allocate(t *testing.T, s seat) error {
	t.Helper()
	given := s.ICEServers[1]
	_, err := relaytest.Allocate(t, relaytest.Client(t, given.URLs[0], given.Username, given.Credential))
	return err
}

func TestTURNServerInsideMakesASecretOfItsOwn(t *testing.T) {
	credential := func() string {
		r := start(t, serveArgs(t, "--turn-listen=127.0.0.1:0", "--turn-public-ip=127.0.0.1"))
		s := joinAnswer(t, r.url).ICEServers[1]
		if s.Credential == "" || s.Credential == ice.Credential("", s.Username) {
			t.Errorf("%+v", s)
		}
		return s.Credential
	}
	if first, second := credential(), credential(); first == second {
		t.Error("two servers have one secret")
	}
}

func TestTURNOverTLSIsToldOfWithACertificateThatBrowsersTake(t *testing.T) {
	p := newPair(t)
	p.write(t, "meet.example.org")
	for name, try := range map[string]struct {
		change func(*Config)
		told   bool
	}{
		"files":       {func(c *Config) { c.TLSCert, c.TLSKey = p.cert, p.key }, true},
		"self-signed": {func(c *Config) { c.TLS = "self-signed" }, false},
		"off":         {func(c *Config) { c.TLS = "off" }, false},
		"by setting":  {func(c *Config) { c.TLSCert, c.TLSKey, c.TURNTLSListen = p.cert, p.key, "off" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := valid(func(c *Config) {
				c.TURNListen, c.TURNTLSListen, c.TURNPublicIP, c.Domain = "127.0.0.1:0", "127.0.0.1:0", []string{"192.0.2.1"}, "meet.example.org"
				try.change(c)
			})
			if err := config.Validate(); err != nil {
				t.Fatal(err)
			}
			s := &server{config: config, log: zerolog.Nop()}
			var err error
			if s.certificates, err = newTLS(config, s.log); err != nil {
				t.Fatal(err)
			}
			s.tls = s.certificates.tls
			told, err := s.iceServers(t.Context(), observedStore{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.relay.Close()
			last := told.TURN[len(told.TURN)-1]
			if strings.HasPrefix(last, "turns:meet.example.org:") != try.told {
				t.Errorf("%v", told.TURN)
			}
		})
	}
}

func TestOnePublicAddressOfEachFamily(t *testing.T) {
	var all []netip.Addr
	for _, s := range []string{"127.0.0.1", "10.0.0.5", "::1", "fe80::1", "2606:4700::5", "81.2.69.142", "81.2.69.143", "2606:4700::6"} {
		all = append(all, netip.MustParseAddr(s))
	}
	got := onePerFamily(all)
	if len(got) != 2 || got[0].String() != "81.2.69.142" || got[1].String() != "2606:4700::5" {
		t.Errorf("%v", got)
	}
	if got := onePerFamily(all[:4]); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
