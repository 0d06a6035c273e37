package participants

import (
	"context"
	"errors"
	"time"

	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// takeOut takes a participant out, and clears what pointed at it.
func takeOut(ctx context.Context, tx *store.Tx, p store.Participant, reason string, notice *rooms.Notice) ([]rooms.Change, error) {
	changes := leftOf(tx, p.PeerID, reason, notice)
	if live := &tx.State().Live; live.Acting == p.PeerID {
		live.Acting, live.ActingWas = "", ""
	}
	return changes, tx.Delete(ctx, p.PeerID, reason)
}

// leftOf tells that someone has left, whom nobody is to look at any more.
func leftOf(tx *store.Tx, peerID, reason string, notice *rooms.Notice) []rooms.Change {
	changes := []rooms.Change{{
		Rev: tx.NextRev(), Kind: rooms.Left, Peer: rooms.Peer{PeerID: peerID}, Reason: reason, Notice: notice,
	}}
	if live := &tx.State().Live; live.Spotlight == peerID {
		live.Spotlight = ""
		changes = append(changes, ruled(tx))
	}
	return changes
}

// succeed finds who takes over when a host has left: the co-host who is longest
// there or, if the policy wants it so, anyone; who is away only if nobody else can.
func succeed(ctx context.Context, tx *store.Tx) ([]rooms.Change, error) {
	if tx.Count() == 0 {
		return nil, nil
	}
	everyone, err := tx.Participants(ctx)
	if err != nil {
		return nil, err
	}
	var next *store.Participant
	best := 0
	for i, p := range everyone {
		if p.Role == Host {
			return nil, nil
		}
		if fit := fitness(p, tx.State().Policy); fit > best {
			next, best = &everyone[i], fit
		}
	}
	if next == nil {
		return nil, nil
	}
	live := &tx.State().Live
	live.Acting, live.ActingWas = next.PeerID, next.Role
	next.Role = Host
	return changeOf(ctx, tx, *next, notice(protocol.ActionPromote, next.PeerID, "", ""))
}

// fitness ranks who may take over; 0 may not.
func fitness(p store.Participant, policy store.Policy) int {
	var fit int
	switch {
	case p.Role == Cohost:
		fit = 3
	case policy.Takeover && p.Protocol >= 2:
		fit = 1
	default:
		return 0
	}
	if p.State == store.Online {
		fit++
	}
	return fit
}

// succeed is that of a join which has replaced a host.
func (a *admission) succeed(ctx context.Context, tx *store.Tx) error {
	changes, err := succeed(ctx, tx)
	a.changes, a.state = append(a.changes, changes...), *tx.State()
	return err
}

// winBack makes who stands in for the host what it was before: the host key is here.
func (a *admission) winBack(ctx context.Context, tx *store.Tx) error {
	live := &tx.State().Live
	acting, was := live.Acting, live.ActingWas
	if acting == "" {
		return nil
	}
	live.Acting, live.ActingWas = "", ""
	p, err := tx.ByPeer(ctx, acting)
	if errors.Is(err, store.ErrParticipantNotFound) { // it may return, and nobody need hear of it now
		if p, err = findReturning(ctx, tx, acting); errors.Is(err, store.ErrParticipantNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		p.Role = was
		return tx.Update(ctx, p)
	}
	if err != nil {
		return err
	}
	p.Role = was
	obey(&p, tx.State().Policy)
	changes, err := changeOf(ctx, tx, p, notice(protocol.ActionDemote, p.PeerID, a.who.PeerID, ""))
	a.changes, a.state = append(a.changes, changes...), *tx.State()
	return err
}

// obey switches off what the policy forbids, and reports whether there was any.
func obey(p *store.Participant, policy store.Policy) bool {
	was := p.Media
	if !rooms.Leads(p.Role) {
		p.Media.Video = p.Media.Video && policy.Camera
		p.Media.Audio = p.Media.Audio && policy.Speak
	}
	return p.Media != was
}

// changeOf writes a participant down as it is now.
func changeOf(ctx context.Context, tx *store.Tx, p store.Participant, n *rooms.Notice) ([]rooms.Change, error) {
	change := rooms.Change{Rev: tx.NextRev(), Kind: rooms.Changed, Peer: peerOf(p), Notice: n}
	return []rooms.Change{change}, tx.Update(ctx, p)
}

func notice(action, peerID, by, reason string) *rooms.Notice {
	return &rooms.Notice{Action: action, PeerID: peerID, By: by, Reason: reason, At: time.Now().UnixMilli()}
}

// ruled is the change to the meeting's state as it is now.
func ruled(tx *store.Tx) rooms.Change {
	st := stateOf(*tx.State())
	return rooms.Change{Rev: tx.NextRev(), Kind: rooms.Ruled, State: &st}
}

// stateOf is the meeting's state as its members may know it.
func stateOf(st store.State) rooms.State {
	return rooms.State{
		Camera: st.Policy.Camera, Speak: st.Policy.Speak, Rename: st.Policy.Rename, Chat: st.Policy.Chat,
		Locked: st.Policy.Locked, Lobby: st.Policy.Lobby, Takeover: st.Policy.Takeover, MaxPeers: st.Policy.MaxPeers,
		Password: len(st.PasswordHash) > 0, Attendance: st.Policy.Attendance, Retention: int64(st.Retention / time.Second), Spotlight: st.Live.Spotlight,
	}
}
