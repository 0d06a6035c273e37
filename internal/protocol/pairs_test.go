package protocol_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/pairs"
	"signald/internal/protocol"
)

func TestReportsOfPairsAreChecked(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"peer_id":"p","state":"failed"},`, protocol.MaxPairs+1), ",")
	for payload, field := range map[string]string{
		`{"pairs":[{"peer_id":"p","state":"fine"}]}`:                                 "pairs.state",
		`{"pairs":[{"peer_id":"p"}]}`:                                                "pairs.state",
		`{"pairs":[{"state":"failed"}]}`:                                             "pairs.peer_id",
		`{"pairs":[{"Peer_ID":"p","state":"failed"}]}`:                               "pairs.peer_id", // names are exact
		`{"pairs":[{"peer_id":"` + strings.Repeat("p", 65) + `","state":"failed"}]}`: "pairs.peer_id",
		`{"pairs":[{"peer_id":"p","state":"failed","hears":1}]}`:                     "pairs.hears",
		`{"pairs":{}}`:                "pairs",
		`{"pairs":[` + many + `]}`:    "pairs",
		`{"meeting_id":1,"pairs":[]}`: "meeting_id",
	} {
		err := protocol.Decode(raw(payload), &protocol.MeshReport{})
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.InvalidPayload || f.Field != field {
			t.Errorf("%.80s: %v", payload, err)
		}
	}
	var r protocol.MeshReport
	err := protocol.Decode(raw(`{"pairs":[ {"peer_id":"p","state":"connected","hears":true,"Hears":false,"new":1} , {"peer_id":"q","state":"failed"}]}`), &r)
	want := pairs.Report{From: "me", Pairs: []pairs.Pair{
		{PeerID: "p", State: pairs.Connected, Hears: true}, {PeerID: "q", State: pairs.Failed},
	}}
	if err != nil || !reflect.DeepEqual(r.Report("me"), want) {
		t.Errorf("got %+v, %v", r, err)
	}
}
