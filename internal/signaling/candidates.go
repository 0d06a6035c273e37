package signaling

import (
	"encoding/json"

	"signald/internal/fault"
	"signald/internal/ice"
	"signald/internal/protocol"
)

// withoutPrivate takes out of a signal what would have the receiver's browser knock at private addresses,
// or tell it those of the sender.
func withoutPrivate(s *protocol.Signal) error {
	if len(s.SDP) > 0 {
		var sdp string
		if err := json.Unmarshal(s.SDP, &sdp); err != nil {
			return fault.Invalid("sdp", "sdp is a string.")
		}
		if filtered := ice.PublicSDP(sdp); filtered != sdp {
			s.SDP, _ = json.Marshal(filtered) // texts always encode
		}
	}
	kept := s.List[:0]
	for _, candidate := range s.List {
		if filtered, ok := publicCandidate(candidate); ok {
			kept = append(kept, filtered)
		}
	}
	s.List = kept
	return nil
}

// publicCandidate filters an RTCIceCandidateInit. What cannot be read is not kept: a browser may read it.
func publicCandidate(init json.RawMessage) (json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(init, &fields) != nil {
		return nil, false
	}
	var candidate string
	if text, there := fields["candidate"]; there && json.Unmarshal(text, &candidate) != nil {
		return nil, false
	}
	filtered, keep := ice.PublicCandidate(candidate)
	if !keep || filtered == candidate {
		return init, keep
	}
	fields["candidate"], _ = json.Marshal(filtered) // texts and what was JSON always encode
	b, err := json.Marshal(fields)
	return b, err == nil
}
