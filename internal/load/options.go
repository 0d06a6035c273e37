package load

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"signald/internal/load/report"
)

// The scenarios.
const (
	Mesh           = "mesh"
	OneRoom        = "one-room"
	Churn          = "churn"
	ReconnectStorm = "reconnect-storm"
	Essay          = "essay"
	Fanout         = "fanout"
	Pairs          = "pairs"
)

// What is loaded.
const (
	Signald   = "signald"
	Plain     = "plain" // join(room, ack); say(room, data) is msg(data) to the others
	EssayPeer = "essay" // protocol 1 alone: meetings come into being with their first join
)

// Options of a run.
type Options struct {
	URL      string
	Scenario string
	Peer     string

	Meetings, PerMeeting int
	Duration             time.Duration
	Warmup               time.Duration // fanout, pairs: not measured
	Rate                 float64       // joins a second; 0: as fast as it goes
	Joins                int           // churn: how many in all; 0: as many as Duration has
	SDP                  int           // bytes
	Degree               int           // how many peers a newcomer offers to; negative: to all
	Size                 int           // bytes of a message of fanout and pairs
	SendRate             float64       // messages a second of fanout and pairs; 0: as fast as it goes
	Window               int           // messages on their way a room (fanout), a member (pairs), when as fast as it goes
	Acks                 bool          // plain: every message asks for an ack

	Settle      time.Duration // how long rosters and messages may take to be right at rest
	CallTimeout time.Duration // how long an answer may take
	Loops       int
	PID         int // of the server; 0: found by its port
	Insecure    bool
	Version     string
}

// Validate fills in what was left open, and reports every problem at once.
func (o *Options) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Settle, 15 * time.Second}, {&o.CallTimeout, 20 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	o.Loops, o.Window, o.Size = max(o.Loops, 1), min(max(o.Window, 1), 32), max(o.Size, 40)
	o.SDP = max(o.SDP, 40)
	if o.Scenario == OneRoom {
		o.Meetings, o.PerMeeting = 1, o.Meetings*o.PerMeeting
	}
	if o.Scenario == Pairs {
		o.Meetings, o.PerMeeting = max(o.Meetings*o.PerMeeting/2, 1), 2
		o.SDP = o.Size
	}
	if o.Meetings < 1 || o.PerMeeting < 1 {
		bad("%d meetings of %d: at least 1 of 1", o.Meetings, o.PerMeeting)
	}
	if o.Scenario == Fanout && o.PerMeeting < 2 {
		bad("a room of one has nobody to talk to")
	}
	if o.Rate < 0 || o.SendRate < 0 || o.Duration < 0 {
		bad("rates and durations are not negative")
	}
	if o.Scenario != Essay && o.SDP > 31<<10 {
		bad("an SDP of %d bytes: at most %d", o.SDP, 31<<10)
	}
	fits := map[string][]string{
		Signald:   {Mesh, OneRoom, Churn, ReconnectStorm, Essay, Pairs},
		Plain:     {Fanout, Pairs},
		EssayPeer: {Essay},
	}
	if o.Acks && o.Peer != Plain {
		bad("acks to be asked for are the plain peer's: signald has them always")
	}
	switch scenarios, ok := fits[o.Peer]; {
	case !ok:
		bad("%q is none of %s, %s, %s", o.Peer, Signald, Plain, EssayPeer)
	case o.Scenario == Fanout && o.Peer == Signald:
		bad("fanout needs --peer=plain: signald relays from one to one, and what it tells everyone goes through its database")
	case !slices.Contains(scenarios, o.Scenario):
		bad("scenario %q does not go with --peer=%s, which has %v", o.Scenario, o.Peer, scenarios)
	}
	return errors.Join(problems...)
}

func (o *Options) settings() []report.Setting {
	list := []report.Setting{
		{Name: "meetings", Value: strconv.Itoa(o.Meetings)}, {Name: "per meeting", Value: strconv.Itoa(o.PerMeeting)},
		{Name: "duration", Value: o.Duration.String()}, {Name: "joins/s", Value: perSecond(o.Rate)},
	}
	switch o.Scenario {
	case Fanout, Pairs:
		list = append(list, report.Setting{Name: "message", Value: strconv.Itoa(o.Size) + " bytes"},
			report.Setting{Name: "messages/s", Value: perSecond(o.SendRate)})
		if o.SendRate == 0 {
			list = append(list, report.Setting{Name: "window", Value: strconv.Itoa(o.Window)})
		}
		if o.Acks {
			list = append(list, report.Setting{Name: "acks", Value: "asked for"})
		}
	default:
		list = append(list, report.Setting{Name: "SDP", Value: strconv.Itoa(o.SDP) + " bytes"})
		if o.Degree >= 0 && o.Scenario != Essay {
			list = append(list, report.Setting{Name: "offers a newcomer", Value: strconv.Itoa(o.Degree)})
		}
	}
	return list
}

func perSecond(rate float64) string {
	if rate == 0 {
		return "as fast as it goes"
	}
	return strconv.FormatFloat(rate, 'f', -1, 64)
}
