package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"signald/internal/protocol"
)

// Signal is a message from another participant.
type Signal struct {
	MeetingID string            `json:"meeting_id"`
	From      string            `json:"from"`
	Seq       uint64            `json:"seq"`
	Neg       string            `json:"neg"`
	Kind      string            `json:"kind"`
	SDP       string            `json:"sdp"`
	Restart   bool              `json:"restart"`
	List      []json.RawMessage `json:"list"`
	End       bool              `json:"end"`
}

// Handlers are told what happens, in order, on the reading goroutine. They must
// not wait for an ack. Nil ones are skipped.
type Handlers struct {
	Signal func(Signal)
	Roster func(rev int64, peers []protocol.Peer) // after every change
	Chat   func(protocol.ChatOut)
	Update func(protocol.ChatUpdate) // of a chat message
	Typing func(protocol.TypingOut)
	Closed func(protocol.Closed)

	State     func(protocol.RoomState)
	Moderated func(protocol.Moderated)
	Lobby     func(protocol.Lobby) // hosts

	Advice func(protocol.MeshAdvice)
	Matrix func(protocol.MeshMatrix) // hosts

	Ended func(error) // the connection has ended
}

// Participant is one participation in a meeting over one connection.
type Participant struct {
	conn     *Conn
	handlers Handlers

	mu      sync.Mutex
	changed chan struct{} // closed and made anew at each change
	joined  protocol.Joined
	rev     int64
	peers   map[string]protocol.Peer // the others
	state   protocol.MeetingState
	gaps    int     // how often the roster had to be fetched anew
	early   []early // news that came before the join's answer was read
	ready   bool

	decided chan bool // whether the lobby lets it in; holds one
}

// Join connects and joins. With a resume token in j it comes back as who it was.
func Join(ctx context.Context, base string, j protocol.Join, h Handlers, opts Options) (*Participant, error) {
	p := newParticipant(h)
	opts.OnEvent, opts.OnClose = p.event, h.Ended
	conn, err := Dial(ctx, base, opts)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	if err := p.join(ctx, j); err != nil {
		conn.Kill()
		return nil, err
	}
	return p, nil
}

func newParticipant(h Handlers) *Participant {
	return &Participant{handlers: h, changed: make(chan struct{}), peers: map[string]protocol.Peer{}, decided: make(chan bool, 1)}
}

// join joins over the connection, and takes the answer in.
func (p *Participant) join(ctx context.Context, j protocol.Join) error {
	j.Version = protocol.Version
	var joined protocol.Joined
	if err := p.conn.Call(ctx, protocol.EventJoin, joinPayload(j), &joined); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joined, p.rev, p.ready, p.state = joined, joined.Rev, true, joined.Meeting.MeetingState
	for _, peer := range joined.Peers {
		p.peers[peer.PeerID] = peer
	}
	early := p.early
	p.early = nil
	for _, e := range early {
		p.newsLocked(e.event, e.payload)
	}
	p.bumpLocked()
	return nil
}

// joinPayload leaves out what is empty, as a page does.
func joinPayload(j protocol.Join) map[string]any {
	m := map[string]any{"meeting_id": j.MeetingID, "user_id": j.UserID, "v": j.Version}
	for key, value := range map[string]string{
		"name": j.Name, "host_key": j.HostKey, "password": j.Password, "resume_token": j.ResumeToken,
		"fingerprint": j.Fingerprint, "memo": j.Memo, "ticket": j.Ticket, "admission_token": j.AdmissionToken,
		"token": j.Token, "past_token": j.PastToken, "attempt": j.Attempt,
	} {
		if value != "" {
			m[key] = value
		}
	}
	if j.Fresh {
		m["fresh"] = true
	}
	if j.JoinType != 0 {
		m["join_type"] = j.JoinType
	}
	if j.Media != nil {
		m["media"] = j.Media
	}
	if j.SDP != nil {
		m["SDP"] = j.SDP
	}
	if j.Candidate != nil {
		m["CANDIDATE"] = j.Candidate
	}
	return m
}

// Conn is the connection.
func (p *Participant) Conn() *Conn { return p.conn }

// Joined is the answer to the join.
func (p *Participant) Joined() protocol.Joined { return p.joined }

// PeerID is who this is in the meeting.
func (p *Participant) PeerID() string { return p.joined.PeerID }

// Roster is who else is in the meeting, as told so far.
func (p *Participant) Roster() (rev int64, peers map[string]protocol.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	peers = make(map[string]protocol.Peer, len(p.peers))
	for id, peer := range p.peers {
		peers[id] = peer
	}
	return p.rev, peers
}

// Gaps is how often deltas did not follow each other and the roster was fetched.
func (p *Participant) Gaps() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gaps
}

// Await waits until ok says the roster is as wanted.
func (p *Participant) Await(ctx context.Context, ok func(map[string]protocol.Peer) bool) error {
	for {
		p.mu.Lock()
		fine, changed := ok(p.peers), p.changed
		p.mu.Unlock()
		if fine {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			_, peers := p.Roster()
			return fmt.Errorf("%s sees %v: %w", p.PeerID(), peers, ctx.Err())
		}
	}
}

// Signal sends a message to another participant and says whether it is queued
// for its return.
func (p *Participant) Signal(ctx context.Context, to, kind, neg, sdp string) (queued bool, err error) {
	payload := map[string]any{"to": to, "kind": kind, "neg": neg}
	if kind == protocol.KindOffer || kind == protocol.KindAnswer {
		payload["sdp"] = sdp
	}
	var done protocol.Done
	err = p.conn.Call(ctx, protocol.EventSignal, payload, &done)
	return done.Queued, err
}

// Report says how it stands with the connections to others.
func (p *Participant) Report(ctx context.Context, pairs ...protocol.MeshPair) error {
	return p.conn.Call(ctx, protocol.EventMeshReport, protocol.MeshReport{Pairs: pairs}, nil)
}

// Leave leaves the meeting and closes the connection.
func (p *Participant) Leave(ctx context.Context) error {
	err := p.conn.Call(ctx, protocol.EventLeave, map[string]any{"meeting_id": p.joined.MeetingID}, nil)
	if closeErr := p.conn.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (p *Participant) event(event string, args []json.RawMessage) {
	if len(args) == 0 {
		return
	}
	switch event {
	case protocol.EventSignal:
		tell(args[0], p.handlers.Signal)
	case protocol.EventUpdateParticipants, protocol.EventRoomState:
		p.mu.Lock()
		if p.ready {
			p.newsLocked(event, args[0])
			p.bumpLocked()
		} else {
			p.early = append(p.early, early{event, args[0]})
		}
		p.mu.Unlock()
		if event == protocol.EventRoomState {
			tell(args[0], p.handlers.State)
		} else {
			p.told()
		}
	case protocol.EventChat:
		tell(args[0], p.handlers.Chat)
	case protocol.EventChatUpdate:
		tell(args[0], p.handlers.Update)
	case protocol.EventTyping:
		tell(args[0], p.handlers.Typing)
	case protocol.EventModerated:
		tell(args[0], p.handlers.Moderated)
	case protocol.EventLobby:
		tell(args[0], p.handlers.Lobby)
	case protocol.EventMeshAdvice:
		tell(args[0], p.handlers.Advice)
	case protocol.EventMeshMatrix:
		tell(args[0], p.handlers.Matrix)
	case protocol.EventAdmitted, protocol.EventDenied:
		select {
		case p.decided <- event == protocol.EventAdmitted:
		default: // it is told once
		}
	case protocol.EventClosed:
		tell(args[0], p.handlers.Closed)
	}
}

// tell hands a payload to who wants it.
func tell[T any](raw json.RawMessage, handler func(T)) {
	var payload T
	if handler != nil && json.Unmarshal(raw, &payload) == nil {
		handler(payload)
	}
}

// early is news that has to wait for the join's answer.
type early struct {
	event   string
	payload json.RawMessage
}

func (p *Participant) newsLocked(event string, payload json.RawMessage) {
	if event == protocol.EventUpdateParticipants {
		p.deltaLocked(payload)
		return
	}
	var st protocol.RoomState
	if json.Unmarshal(payload, &st) == nil && st.Rev > p.rev {
		p.state = st.MeetingState
	}
}

// deltaLocked applies a delta by the protocol's rules.
func (p *Participant) deltaLocked(raw json.RawMessage) {
	var u protocol.Update
	if json.Unmarshal(raw, &u) != nil || u.Rev <= p.rev {
		return
	}
	if u.Since > p.rev {
		p.gaps++
		go p.sync() // ends with its call, which is bounded
		return
	}
	for _, peer := range u.Joined {
		if peer.PeerID != p.joined.PeerID {
			p.peers[peer.PeerID] = peer
		}
	}
	for _, c := range u.Changed {
		if peer, ok := p.peers[c.PeerID]; ok {
			p.peers[c.PeerID] = merge(peer, c)
		}
	}
	for _, l := range u.Left {
		delete(p.peers, l.PeerID)
	}
	p.rev = u.Rev
}

func merge(peer protocol.Peer, c protocol.Change) protocol.Peer {
	if c.Name != "" {
		peer.Name = c.Name
	}
	if c.Role != "" {
		peer.Role = c.Role
	}
	if c.State != "" {
		peer.State = c.State
	}
	if c.Media != nil {
		peer.Media = *c.Media
	}
	return peer
}

// sync fetches the roster after a gap.
func (p *Participant) sync() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p.mu.Lock()
	have := p.rev
	p.mu.Unlock()
	var r protocol.Roster
	if p.conn.Call(ctx, protocol.EventSync, map[string]any{"meeting_id": p.joined.MeetingID, "have_rev": have}, &r) != nil {
		return // the connection is ending
	}
	p.mu.Lock()
	if r.Rev >= p.rev {
		if r.Meeting != nil {
			p.state = *r.Meeting
		}
		p.rev, p.peers = r.Rev, map[string]protocol.Peer{}
		for _, peer := range r.Peers {
			p.peers[peer.PeerID] = peer
		}
		p.bumpLocked()
	}
	p.mu.Unlock()
	p.told()
}

func (p *Participant) bumpLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Participant) told() {
	if p.handlers.Roster == nil {
		return
	}
	p.mu.Lock()
	rev := p.rev
	peers := make([]protocol.Peer, 0, len(p.peers))
	for _, peer := range p.peers {
		peers = append(peers, peer)
	}
	p.mu.Unlock()
	p.handlers.Roster(rev, peers)
}
