package protocol

import (
	"fmt"

	"signald/internal/fault"
	"signald/internal/pairs"
)

// Events of the connection matrix.
const (
	EventMeshReport = "mesh_report" // from clients
	EventMeshAdvice = "mesh_advice" // to who is to mend a pair
	EventMeshMatrix = "mesh_matrix" // to those who lead
)

// MaxPairs bounds a report, whatever the server's limit of participants.
const MaxPairs = 512

// MeshReport is C→S "mesh_report": how it stands with the connection to each other
// participant.
type MeshReport struct {
	MeetingID string     `json:"meeting_id"`
	Pairs     []MeshPair `json:"pairs"`
}

// MeshPair is one of them.
type MeshPair struct {
	PeerID  string      `json:"peer_id"`
	State   pairs.State `json:"state"`
	Hears   bool        `json:"hears"`
	Relayed bool        `json:"relayed"`
	Poor    bool        `json:"poor"`
}

// Validate checks the texts and how many there are.
func (r *MeshReport) Validate() error {
	if err := text("meeting_id", &r.MeetingID, MaxKey); err != nil {
		return err
	}
	if len(r.Pairs) > MaxPairs {
		return fault.Invalid("pairs", fmt.Sprintf("pairs holds more than %d.", MaxPairs))
	}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if err := required("pairs.peer_id", &p.PeerID, MaxPeerID); err != nil {
			return err
		}
		if !p.State.Known() {
			return fault.Invalid("pairs.state", "state is one of connecting, connected, disconnected, failed, refused.")
		}
	}
	return nil
}

// Report is what it says, of a participant.
func (r *MeshReport) Report(from string) pairs.Report {
	report := pairs.Report{From: from, Pairs: make([]pairs.Pair, len(r.Pairs))}
	for i, p := range r.Pairs {
		report.Pairs[i] = pairs.Pair(p)
	}
	return report
}

// MeshAdvice is S→C "mesh_advice".
type MeshAdvice struct {
	MeetingID string       `json:"meeting_id"`
	PeerID    string       `json:"peer_id"` // the other side of the pair
	Action    pairs.Action `json:"action"`
	Offer     bool         `json:"offer"` // the receiver makes the offer
}

// MeshMatrix is S→C "mesh_matrix". Rows[i][j] is a letter: what member i hears of
// member j.
type MeshMatrix struct {
	MeetingID string       `json:"meeting_id"`
	Members   []string     `json:"members"`
	Rows      []string     `json:"rows"`
	Broken    []MeshBroken `json:"broken"`
}

// MeshBroken is a pair that is to be mended.
type MeshBroken struct {
	A     string       `json:"a"`
	B     string       `json:"b"`
	Tried pairs.Action `json:"tried,omitempty"`
}
