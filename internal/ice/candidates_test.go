package ice_test

import (
	"strings"
	"testing"

	"signald/internal/ice"
)

func TestCandidatesAtPrivateAddressesAreNotKept(t *testing.T) {
	for candidate, want := range map[string]string{
		"": "", // there are no more
		"candidate:1 1 udp 2122260223 81.2.69.142 46154 typ host generation 0 ufrag F7gI":                     "as it is",
		"candidate:1 1 UDP 1685987071 81.2.69.142 46154 typ srflx raddr 81.2.69.142 rport 46154":              "as it is",
		"candidate:1 1 udp 1685987071 2606:4700::1111 9 typ host tcptype active":                              "as it is",
		"candidate:1 1 udp 1685987071 81.2.69.142 46154 typ srflx raddr 192.168.1.5 rport 50000 generation 0": "candidate:1 1 udp 1685987071 81.2.69.142 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0",
		"candidate:1 1 udp 41885695 2606:4700::1111 5 typ relay raddr fd12::1 rport 4":                        "candidate:1 1 udp 41885695 2606:4700::1111 5 typ relay raddr :: rport 0",
		"candidate:1 1 udp 41885695 81.2.69.142 5 typ relay raddr printer.local rport 4":                      "candidate:1 1 udp 41885695 81.2.69.142 5 typ relay raddr 0.0.0.0 rport 0",
		"candidate:1  1 udp\t41885695 81.2.69.142 5 typ host ":                                                "candidate:1 1 udp 41885695 81.2.69.142 5 typ host",
		"candidate:1 1 udp 2122260223 192.168.1.5 46154 typ host":                                             "dropped",
		"candidate:1 1 udp 2122260223 10.0.0.1 46154 typ srflx raddr 81.2.69.142 rport 1":                     "dropped",
		"candidate:1 1 tcp 2122260223 127.0.0.1 9 typ host tcptype active":                                    "dropped",
		"candidate:1 1 udp 2122260223 fe80::1%eth0 46154 typ host":                                            "dropped",
		"candidate:1 1 udp 2122260223 ::ffff:10.0.0.1 46154 typ host":                                         "dropped",
		"candidate:1 1 udp 2122260223 64:ff9b::a00:1 46154 typ host":                                          "dropped",
		"candidate:1 1 udp 2122260223 4d3c2b1a-0000-4000-8000-000000000000.local 46154 typ host":              "dropped",
		"candidate:1 1 udp 2122260223 printer.local 631 typ host":                                             "dropped",
		"candidate:1 1 udp 2122260223 intranet.example.org 80 typ host":                                       "dropped",
		"candidate:1 1 udp 2122260223 2130706433 80 typ host":                                                 "dropped",
		"candidate:1 1 udp 2122260223 010.0.0.1 80 typ host":                                                  "dropped",
		"candidate:1 1 udp 1 81.2.69.142 1 typ host\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host":             "dropped",
		"candidate: 1 1 udp 2122260223 81.2.69.142 80 typ host":                                               "dropped",
		"nonsense": "dropped",
	} {
		got, keep := ice.PublicCandidate(candidate)
		switch {
		case want == "dropped":
			if keep {
				t.Errorf("%q is kept as %q", candidate, got)
			}
		case !keep, want == "as it is" && got != candidate, want != "as it is" && got != want:
			t.Errorf("%q is %q, %v, want %q", candidate, got, keep, want)
		}
	}
}

func TestDescriptionsHoldNoPrivateAddress(t *testing.T) {
	lines := func(list ...string) string { return strings.Join(list, "\r\n") + "\r\n" }
	in := lines("v=0", "o=- 1 2 IN IP4 192.168.1.5", "s=-", "t=0 0", "m=audio 50000 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 10.0.0.1", "a=rtcp:9 IN IP4 10.0.0.1",
		"a=candidate:1 1 udp 2122260223 10.0.0.1 50000 typ host", "a=candidate:2 1 udp 1 81.2.69.142 50000 typ srflx raddr 10.0.0.1 rport 50000",
		" A=Candidate:3 1 udp 1 printer.local 1 typ host", "a=remote-candidates:1 10.0.0.1 5", "a=end-of-candidates", "a=ice-ufrag:F7gI",
		"m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP6 fd12::1/127", "a=rtpmap:96 VP8/90000", "m=application 9 X 0", "c=IN IP4 81.2.69.142")
	want := lines("v=0", "o=- 1 2 IN IP4 0.0.0.0", "s=-", "t=0 0", "m=audio 50000 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0",
		"a=candidate:2 1 udp 1 81.2.69.142 50000 typ srflx raddr 0.0.0.0 rport 0", "a=end-of-candidates", "a=ice-ufrag:F7gI",
		"m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP6 ::", "a=rtpmap:96 VP8/90000", "m=application 9 X 0", "c=IN IP4 81.2.69.142")
	if got := ice.PublicSDP(in); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := ice.PublicSDP(want); got != want {
		t.Errorf("filtered twice:\n%s", got)
	}
	for _, ending := range []string{"\n", "\r", "\r\n"} { // whatever a browser takes for the end of a line
		if got := ice.PublicSDP("v=0" + ending + "a=candidate:1 1 udp 1 10.0.0.1 1 typ host" + ending + "a=mid:0"); got != "v=0"+ending+"a=mid:0" {
			t.Errorf("%q", got)
		}
	}
}

func FuzzPublicSDP(f *testing.F) {
	f.Add("v=0\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\nc=IN IP4 10.0.0.1\n")
	f.Fuzz(func(t *testing.T, sdp string) {
		once := ice.PublicSDP(sdp)
		if len(once) > len(sdp)+16*strings.Count(sdp, "=")+16 {
			t.Errorf("%q has grown to %q", sdp, once)
		}
		if twice := ice.PublicSDP(once); twice != once {
			t.Errorf("%q, filtered again %q", once, twice)
		}
	})
}
