package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/protocol"
)

func TestControlOfSomethingUnknownIsRefusedByName(t *testing.T) {
	for payload, field := range map[string]string{
		`{"camera":false,"cammera":true}`: "cammera",
		`{"Camera":false}`:                "Camera", // names are exact
		`{"camera":"off"}`:                "camera",
		`{"camera":null}`:                 "camera",
		`{"locked":1}`:                    "locked",
		`{"password":7}`:                  "password",
		`{"password":"a\u0000b"}`:         "password",
		`{"spotlight":["p"]}`:             "spotlight",
		`{"spotlight":"` + strings.Repeat("p", 65) + `"}`: "spotlight",
		`{"meeting_id":1,"camera":true}`:                  "meeting_id",
		`{"max_peers":4}`:                                 "max_peers",
		`{"meeting_id":"k"}`:                              "",
		`{}`:                                              "",
	} {
		err := protocol.Decode(raw(payload), &protocol.Control{})
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.InvalidPayload || f.Field != field {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestModerateAsksForWhatItsActionNeeds(t *testing.T) {
	for payload, field := range map[string]string{
		`{}`:                               "action",
		`{"action":"dance"}`:               "action",
		`{"action":"kick"}`:                "peer_id",
		`{"action":"deny","network":true}`: "network",
		`{"action":"kick","peer_id":"p","network":true}`:                              "network",
		`{"action":"kick","peer_id":"p","reason":"` + strings.Repeat("x", 257) + `"}`: "reason",
	} {
		err := protocol.Decode(raw(payload), &protocol.Moderate{})
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.InvalidPayload || f.Field != field {
			t.Errorf("%s: %v", payload, err)
		}
	}
	for _, payload := range []string{`{"action":"admit"}`, `{"action":"end"}`, `{"action":"ban","peer_id":"p","unknown":1}`} {
		if err := protocol.Decode(raw(payload), &protocol.Moderate{}); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
}
