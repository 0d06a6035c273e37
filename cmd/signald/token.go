package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"signald/internal/identity"
	"signald/internal/protocol"
)

// tokenCommand makes a join token with the server's own keys: to try them, and for
// applications that would rather run a program than sign.
type tokenCommand struct {
	Config `embed:""`

	Sub     string        `required:"" help:"Whom the token is for: who this is in all meetings, up to 64 characters."`
	Name    string        `help:"How others are to see it; else the sub."`
	Meeting string        `default:"*" help:"Key of the meeting it is good for; * is any."`
	Role    string        `enum:"guest,cohost,host" default:"guest" help:"guest, cohost or host."`
	TTL     time.Duration `name:"ttl" default:"1h" help:"How long it is good."`
	KeyID   string        `name:"kid" help:"Key to sign with; else the first that can."`
}

func (t *tokenCommand) run(stdout, stderr io.Writer) int {
	token, err := t.make()
	if err != nil {
		fmt.Fprintln(stderr, "signald:", err)
		return 1
	}
	fmt.Fprintln(stdout, token)
	return 0
}

func (t *tokenCommand) make() (string, error) {
	if t.TTL <= 0 {
		return "", errors.New("a token is good for some time")
	}
	if err := (&protocol.Join{MeetingID: t.Meeting, UserID: t.Sub, Name: t.Name}).Validate(); err != nil {
		return "", fmt.Errorf("the server would refuse this token: %w (user_id is the sub, meeting_id the meeting)", err)
	}
	return t.tokens.Sign(t.KeyID, identity.Identity{Sub: t.Sub, Name: t.Name, Meeting: t.Meeting, Role: t.Role}, t.TTL)
}
