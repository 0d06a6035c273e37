package protocol

import (
	"errors"

	"signald/internal/fault"
)

// Events of calling people. EventInvite goes both ways.
const (
	EventInvite        = "invite"
	EventInviteAnswer  = "invite_answer"
	EventInviteCancel  = "invite_cancel"
	EventInviteUpdate  = "invite_update"
	EventInviteHandled = "invite_handled"
)

// Invite is C→S "invite": ring somebody.
type Invite struct {
	MeetingID string `json:"meeting_id"`
	ToSub     string `json:"to_sub"`
}

// Validate checks the texts.
func (i *Invite) Validate() error {
	return errors.Join(text("meeting_id", &i.MeetingID, MaxKey), required("to_sub", &i.ToSub, MaxName))
}

// InviteAnswer is C→S "invite_answer".
type InviteAnswer struct {
	CallID string `json:"call_id"`
	Answer string `json:"answer"` // accept, reject, busy
}

// Validate checks the texts.
func (i *InviteAnswer) Validate() error {
	if i.Answer != "accept" && i.Answer != "reject" && i.Answer != "busy" {
		return fault.Invalid("answer", "answer is accept, reject or busy.")
	}
	return required("call_id", &i.CallID, MaxSecret)
}

// InviteCancel is C→S "invite_cancel".
type InviteCancel struct {
	CallID string `json:"call_id"`
}

// Validate checks the texts.
func (i *InviteCancel) Validate() error { return required("call_id", &i.CallID, MaxSecret) }

// InviteDone is the ack of "invite".
type InviteDone struct {
	OK          bool   `json:"ok"`
	CallID      string `json:"call_id"`
	ExpiresInMS int64  `json:"expires_in_ms"`
}

// Caller is who rings, by the word of its token.
type Caller struct {
	Sub  string `json:"sub"`
	Name string `json:"name"`
}

// InviteOut is S→C "invite": somebody rings.
type InviteOut struct {
	CallID      string `json:"call_id"`
	MeetingID   string `json:"meeting_id"`
	From        Caller `json:"from"`
	ExpiresInMS int64  `json:"expires_in_ms"`
}

// InviteState is S→C "invite_update" to the caller and "invite_handled" to the
// callee's devices: accepted, rejected, busy, cancelled, no_answer.
type InviteState struct {
	CallID string `json:"call_id"`
	State  string `json:"state"`
}
