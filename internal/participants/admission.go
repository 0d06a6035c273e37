package participants

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// errPasswordUnchecked: the meeting has a password that was not compared yet.
var errPasswordUnchecked = errors.New("password not checked yet")

// admission is one join on its way through the transaction.
type admission struct {
	service *Service
	join    *protocol.Join
	conn    Connection
	peerID  string // for someone new
	token   string // the next resume token

	passwordHash []byte // the meeting's, when errPasswordUnchecked
	passwordOK   bool   // the given one fits passwordHash

	admission      []byte // the hash of the admission that it comes in by, if the lobby asks for one
	admissionToken string // the client's, if it is new

	past []string // the seats that it had before, and whose messages it may read

	role string // that a token gives; empty: nobody vouches

	askedAgain bool // the attempt is looked for among the seats: its answer may have been lost
	entered    bool // the ticket is that of a place in the lobby, which the join leaves

	like string // the kind of a ban that is perhaps about it: a host is asked; empty: none

	// what was decided: a place in the lobby, or a seat
	waits    *store.Waiting
	ticket   string // of that place
	who      store.Participant
	state    store.State
	changes  []rooms.Change
	resumed  bool
	cameFrom string // the node that it was at before
}

// decide admits the join or says why not. It runs under the meeting's lock.
func (a *admission) decide(ctx context.Context, tx *store.Tx) error {
	st := tx.State()
	a.changes, a.waits, a.admission, a.past, a.resumed, a.like = nil, nil, nil, nil, false, ""
	if st.ExpiresAt != nil && time.Now().After(*st.ExpiresAt) {
		return fault.New(fault.MeetingEnded)
	}
	if a.askedAgain {
		return a.resume(ctx, tx, a.attempt())
	}
	a.entered = false
	if a.join.ResumeToken != "" && a.join.Version >= 2 {
		return a.resume(ctx, tx, a.join.ResumeToken)
	}
	if err := a.vouched(); err != nil {
		return err
	}
	isHost := a.role == Host || a.join.HostKey != "" && sameHash(st.HostKeyHash, HashSecret(a.join.HostKey))
	if a.join.HostKey != "" && !isHost {
		return fault.New(fault.Forbidden).WithMessage("This host key does not belong to the meeting.")
	}
	if !isHost {
		if err := a.mayEnter(ctx, tx); err != nil || a.waits != nil {
			return err
		}
	}
	orphaned, err := a.secondLogin(ctx, tx, isHost)
	if err != nil {
		return err
	}
	if err := a.makeRoom(ctx, tx, isHost); err != nil {
		return err
	}

	a.who = store.Participant{
		PeerID: a.peerID, MeetingID: a.join.MeetingID, UserID: a.join.UserID, Name: a.join.Name,
		Role: Guest, Fingerprint: a.join.Fingerprint, JoinedAt: time.Now(), AdmissionHash: a.admission, Verified: a.role != "",
	}
	a.who.PreviousHash = a.firstPrevious()
	if a.role != "" {
		a.who.Role = a.role
	}
	if isHost {
		a.who.Role = Host
	}
	a.take(st)
	a.changed(tx, rooms.Joined, a.who, "")
	if err := tx.Insert(ctx, a.who); err != nil {
		return err
	}
	if err := a.readOn(ctx, tx); err != nil {
		return err
	}
	if isHost {
		return a.winBack(ctx, tx)
	}
	if orphaned {
		return a.succeed(ctx, tx)
	}
	return nil
}

// awayShare is the part of a meeting's seats that participants of one network who are away hold, at least
// two, before another one of that network takes the seat of the one that is away for longest: a client
// that joins and drops again and again fills no meeting.
const awayShare = 4

// makeRoom sees to it that there is a seat. A holder of the host key always gets in, though strangers have
// filled the meeting: it may be one over.
func (a *admission) makeRoom(ctx context.Context, tx *store.Tx, isHost bool) error {
	limit := tx.State().Policy.MaxPeers
	if isHost {
		limit++
	}
	if tx.Count() > limit/2 && !isHost { // else nobody is short of seats
		if err := a.dropOwnAway(ctx, tx); err != nil {
			return err
		}
	}
	if tx.Count() < limit {
		return nil
	}
	lost, err := a.unanswered(ctx, tx)
	if err != nil {
		return err
	}
	if lost == nil {
		return fault.New(fault.MeetingFull)
	}
	return a.drop(ctx, tx, *lost)
}

// dropOwnAway takes out a guest of the same network that is away, if there are more than its share.
func (a *admission) dropOwnAway(ctx context.Context, tx *store.Tx) error {
	everyone, err := tx.Participants(ctx)
	if err != nil {
		return err
	}
	network := store.Network(a.conn.IP)
	var away []store.Participant
	for _, p := range everyone {
		if a.isOurs(p) {
			return errAsksAgain
		}
		if p.State == store.Away && p.Role == Guest && !p.Verified && p.AwaySince != nil && network != "" && store.Network(p.IP) == network {
			away = append(away, p)
		}
	}
	if len(away) < max(2, tx.State().Policy.MaxPeers/awayShare) {
		return nil
	}
	return a.drop(ctx, tx, slices.MinFunc(away, func(p, q store.Participant) int { return p.AwaySince.Compare(*q.AwaySince) }))
}

// drop takes out a participant that is away, for this one.
func (a *admission) drop(ctx context.Context, tx *store.Tx, p store.Participant) error {
	left, err := takeOut(ctx, tx, p, ReasonTimeout, nil)
	a.changes = append(a.changes, left...)
	a.state = *tx.State()
	return err
}

// readOn lets someone new read what was said to the seat whose last token it shows.
// Of a token that is good for nothing it is not told: it may be here all the same.
func (a *admission) readOn(ctx context.Context, tx *store.Tx) error {
	if a.join.PastToken == "" || a.join.Version < 2 {
		return nil
	}
	hash := HashSecret(a.join.PastToken)
	was, err := tx.ByResume(ctx, hash) // it may not have been given up yet
	if err != nil && !errors.Is(err, store.ErrParticipantNotFound) {
		return err
	}
	if kind, bad := removed(ctx, tx, was); bad != nil || err == nil && kind != "" {
		return bad
	}
	a.past, err = tx.ReadOn(ctx, a.peerID, hash)
	return err
}

// mayEnter asks what only the host key spares one: that nobody has removed this
// person, the lock, the password, the lobby.
func (a *admission) mayEnter(ctx context.Context, tx *store.Tx) error {
	st := tx.State()
	bans, err := tx.Bans(ctx)
	if err != nil {
		return err
	}
	who := store.Person{UserID: a.join.UserID, Network: store.Network(a.conn.IP), Verified: a.role != ""}
	for _, b := range bans {
		switch b.Match(who, time.Now()) {
		case store.Same:
			return refusal(b.Kind)
		case store.Perhaps:
			a.like = b.Kind
		}
	}
	if a.like != "" && a.join.Version < 2 { // it cannot wait for a host to look at it
		return refusal(a.like)
	}
	if a.role == Cohost {
		return a.leaveLobby(ctx, tx)
	}
	if st.Policy.Locked {
		return fault.New(fault.MeetingLocked)
	}
	if a.join.JoinType != 2 && tx.Count() >= st.Policy.MaxPeers { // before the password, which is expensive to check
		if lost, err := a.unanswered(ctx, tx); err != nil {
			return err
		} else if lost == nil {
			return fault.New(fault.MeetingFull)
		}
	}
	if a.role == "" && len(st.PasswordHash) > 0 && (st.Policy.Lobby || a.like != "") && a.join.AdmissionToken == "" { // likewise
		waiting, err := tx.Waiting(ctx)
		if err != nil {
			return err
		}
		if _, known := a.place(waiting); !known && a.isLobbyFull(waiting) {
			return errLobbyFull()
		}
	}
	if a.role == "" { // a token stands for the password
		if err := a.password(st); err != nil {
			return err
		}
	}
	if st.Policy.Lobby || a.like != "" {
		return a.lobby(ctx, tx)
	}
	return a.leaveLobby(ctx, tx)
}

func refusal(kind string) error {
	switch kind {
	case store.Denied:
		return fault.New(fault.Denied)
	case store.Kicked:
		return fault.New(fault.Banned).WithMessage("The host has removed you from this meeting. Try again much later.")
	default:
		return fault.New(fault.Banned)
	}
}

// vouched takes a token at its word: whom it names is who this is from now on.
func (a *admission) vouched() error {
	id := a.conn.Identity
	if id == nil {
		return nil
	}
	if !id.Good(a.join.MeetingID) {
		return fault.New(fault.Forbidden).WithMessage("The token is for another meeting.")
	}
	a.join.UserID, a.join.Name = id.Sub, id.Name
	if err := a.join.Validate(); err != nil {
		return fault.New(fault.Unauthorized).WithMessage("The token's sub or name cannot be used here.").Because(err)
	}
	a.role = id.Role
	return nil
}

// take gives the seat to this connection.
func (a *admission) take(st *store.State) {
	a.who.State, a.who.AwaySince = store.Online, nil
	a.who.Protocol = a.join.Version
	a.who.NodeID, a.who.ConnID, a.who.IP = a.service.opts.NodeID, a.conn.ID, a.conn.IP
	a.who.ResumeHash = HashSecret(a.token)
	if len(a.join.SDP) > 0 {
		a.who.SDP, a.who.SDPJSON = keep(a.join.SDP)
	}
	if len(a.join.Candidate) > 0 {
		a.who.Candidate, a.who.CandidateJSON = keep(a.join.Candidate)
	}
	if m := a.join.Media; m != nil {
		hand := a.who.Media.Hand
		a.who.Media = store.Media(*m)
		a.who.Media.Hand = hand
	}
	obey(&a.who, st.Policy)
}

func (a *admission) changed(tx *store.Tx, kind rooms.Kind, p store.Participant, reason string) {
	a.changes = append(a.changes, rooms.Change{Rev: tx.NextRev(), Kind: kind, Peer: peerOf(p), Reason: reason})
	a.state = *tx.State()
}

// undo reverts a join whose client never got the answer. A participant that has come back is away again,
// with what the node that it was at keeps for it.
func (a *admission) undo() departure {
	d := departure{meetingID: a.join.MeetingID, peerID: a.who.PeerID, connID: a.conn.ID, reason: ReasonLeave}
	if a.resumed {
		d.reason, d.away, d.keeper = ReasonTimeout, true, a.cameFrom
	}
	return d
}

// resume gives the seat of a token to this connection. The token stays good until the client has shown that
// it has the next one: its answer may get lost, and the client asks again.
func (a *admission) resume(ctx context.Context, tx *store.Tx, token string) error {
	hash := HashSecret(token)
	p, err := tx.ByResume(ctx, hash)
	if errors.Is(err, store.ErrParticipantNotFound) {
		return fault.New(fault.ResumeExpired)
	}
	if err != nil {
		return err
	}
	a.who, a.resumed, a.cameFrom = p, true, p.NodeID
	tx.SetPrevious(p.PeerID, hash)
	if a.past, err = tx.PastSeats(ctx, p); err != nil {
		return err
	}
	if a.attempt() != "" && sameHash(p.AdmissionHash, HashSecret(a.firstAdmission())) {
		a.admissionToken = a.firstAdmission() // the answer that had it was lost
	}
	if p.State == store.Returning || a.join.Fresh {
		return a.comeAnew(ctx, tx)
	}
	a.take(tx.State())
	a.changed(tx, rooms.Changed, a.who, "")
	return tx.Update(ctx, a.who)
}

// secondLogin settles that someone of this user_id is in the meeting already. A
// user_id claims nothing: replacing needs the old resume token, or the host key, or
// the same word for both of them. Who is vouched for is not in the way of who only
// says the same, nor the other way round.
// orphaned: a host was replaced.
func (a *admission) secondLogin(ctx context.Context, tx *store.Tx, isHost bool) (orphaned bool, err error) {
	if a.join.JoinType == 0 {
		return false, nil
	}
	same, err := tx.ByUser(ctx, a.join.UserID)
	if err != nil {
		return false, err
	}
	verified := a.conn.Identity != nil
	if verified {
		same = slices.DeleteFunc(same, func(p store.Participant) bool { return !p.Verified })
	}
	if len(same) > 0 && a.join.JoinType == 1 {
		if len(same) == 1 && a.isUnanswered(same[0]) {
			return false, a.drop(ctx, tx, same[0])
		}
		return false, fault.New(fault.UserInUse)
	}
	for _, p := range same {
		if a.isOurs(p) {
			return false, errAsksAgain
		}
		if !isHost && !verified && !a.isUnanswered(p) && (a.join.ResumeToken == "" || !hasToken(p, HashSecret(a.join.ResumeToken))) {
			return false, fault.New(fault.Forbidden).WithMessage("Replacing someone needs the resume token of that connection, or the host key.")
		}
		left, err := takeOut(ctx, tx, p, ReasonReplaced, nil)
		if err != nil {
			return false, err
		}
		a.changes = append(a.changes, left...)
		orphaned = orphaned || p.Role == Host
	}
	a.state = *tx.State()
	return orphaned, nil
}

// hasToken reports whether a token is the participant's, or was before while that is good.
func hasToken(p store.Participant, hash []byte) bool {
	return sameHash(p.ResumeHash, hash) || sameHash(p.PreviousHash, hash)
}

func (a *admission) password(st *store.State) error {
	switch {
	case len(st.PasswordHash) == 0:
		return nil
	case a.join.Password == "":
		return fault.New(fault.BadPassword).WithMessage("This meeting has a password. Ask for it and try again.")
	case a.passwordOK && bytes.Equal(st.PasswordHash, a.passwordHash):
		return nil
	}
	a.passwordHash = bytes.Clone(st.PasswordHash)
	return errPasswordUnchecked
}

func (a *admission) checkPassword(ctx context.Context) error {
	guess, err := a.guessPassword(ctx)
	if err != nil {
		return err
	}
	fits, err := a.service.opts.Passwords.Matches(ctx, a.conn.IP, a.passwordHash, a.join.Password)
	guess.Settle(err == nil && !fits)
	if err == nil && !fits {
		err = fault.New(fault.BadPassword)
	}
	a.passwordOK = err == nil
	return err
}
