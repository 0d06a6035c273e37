package ice

import (
	"net/netip"
	"strings"
)

// PublicCandidate filters a candidate, as RTCIceCandidateInit has it: one that is not at an address of
// the public Internet is not kept, and the related address of another one is hidden if it is not. Names
// are not kept either: whoever looks up printer.local asks its own network. The empty candidate, which says
// that there are no more, is.
func PublicCandidate(s string) (filtered string, keep bool) {
	if strings.TrimSpace(s) == "" {
		return s, true
	}
	fields := strings.Fields(s) // foundation, component, transport, priority, address, port, "typ", …
	if len(fields) < 8 || strings.ContainsAny(strings.TrimSpace(s), "\r\n") || !isPublic(fields[4]) {
		return "", false
	}
	for i := 6; i+1 < len(fields); i += 2 {
		if name := strings.ToLower(fields[i]); (name == "raddr" || name == "address") && !isPublic(fields[i+1]) {
			fields[i+1] = unspecified(fields[i+1])
			if name == "raddr" && i+3 < len(fields) && strings.EqualFold(fields[i+2], "rport") {
				fields[i+3] = "0"
			}
		}
	}
	return strings.Join(fields, " "), true
}

// PublicSDP filters the candidates of a session description likewise, and hides addresses elsewhere in it
// (RFC 8866 c= and o=, RFC 3605 a=rtcp).
func PublicSDP(sdp string) string {
	var b strings.Builder
	for len(sdp) > 0 {
		end := strings.IndexAny(sdp, "\r\n")
		line, ending := sdp, ""
		if end >= 0 {
			next := end + 1
			if strings.HasPrefix(sdp[end:], "\r\n") {
				next++
			}
			line, ending = sdp[:end], sdp[end:next]
		}
		sdp = sdp[len(line)+len(ending):]
		if kept, ok := publicLine(line); ok {
			b.WriteString(kept + ending)
		}
	}
	return b.String()
}

// publicLine filters one line, read as leniently as the most lenient browser does.
func publicLine(line string) (kept string, keep bool) {
	trimmed := strings.TrimSpace(line)
	name, value, _ := strings.Cut(trimmed, "=")
	attribute, rest, _ := strings.Cut(value, ":")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "a":
		switch strings.ToLower(strings.TrimSpace(attribute)) {
		case "candidate":
			filtered, ok := PublicCandidate(rest)
			if filtered == rest {
				return line, ok
			}
			return "a=candidate:" + filtered, ok
		case "remote-candidates":
			return "", false
		case "rtcp":
			return hidden(line, trimmed), true
		}
	case "c", "o":
		return hidden(line, trimmed), true
	}
	return line, true
}

// hidden is a line without the address at its end, if that is not a public one.
func hidden(line, trimmed string) string {
	fields := strings.Fields(trimmed)
	for i := 1; i+1 < len(fields); i++ {
		if t := strings.ToUpper(fields[i]); t != "IP4" && t != "IP6" {
			continue
		}
		if address, _, _ := strings.Cut(fields[i+1], "/"); !isPublic(address) {
			fields[i+1] = "0.0.0.0"
			if strings.EqualFold(fields[i], "IP6") {
				fields[i+1] = "::"
			}
			return strings.Join(fields, " ")
		}
	}
	return line
}

func isPublic(address string) bool {
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	return err == nil && IsPublic(ip)
}

// unspecified stands for an address that is hidden.
func unspecified(address string) string {
	if strings.Contains(address, ":") {
		return "::"
	}
	return "0.0.0.0"
}
