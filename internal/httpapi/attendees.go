package httpapi

import (
	"encoding/csv"
	"net/http"
	"slices"
	"time"

	"signald/internal/audit"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

// attendance is the body of GET /api/v1/meetings/{id}/attendees.
type attendance struct {
	MeetingID  string     `json:"meeting_id"`
	Name       string     `json:"name"`
	At         time.Time  `json:"at"`
	Attendance bool       `json:"attendance" doc:"whether those who have left are listed, too"`
	Attendees  []attendee `json:"attendees" doc:"in the order of joining"`
	Banned     []banned   `json:"banned" doc:"who was removed and may not come back yet"`
}

type attendee struct {
	PeerID   string     `json:"peer_id"`
	UserID   string     `json:"user_id"`
	Name     string     `json:"name"`
	Role     string     `json:"role"`
	Present  bool       `json:"present" doc:"away counts as present"`
	JoinedAt time.Time  `json:"joined_at"`
	LeftAt   *time.Time `json:"left_at"`
}

type banned struct {
	PeerID string    `json:"peer_id"`
	UserID string    `json:"user_id"`
	Name   string    `json:"name"`
	Kind   string    `json:"kind" doc:"kicked, banned, or denied in the lobby"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
}

func (a *API) attendeeRoutes() []route {
	return []route{{
		method: "GET", path: "/api/v1/meetings/{id}/attendees", name: "listAttendees", summary: "Who is in the meeting, for its host.",
		about: "The credential is the host key, or the resume token of a host or co-host. In a meeting created with `attendance` those " +
			"who have left are listed, too, until its retention ends. In CSV an apostrophe stands before what a spreadsheet would compute.",
		access: participant, query: []param{{"format", "json (the default) or csv; both are attachments."}},
		answers: answers{http.StatusOK: attendance{}}, also: []string{"text/csv"},
		errors:  []fault.Code{fault.InvalidPayload, fault.Forbidden, fault.RateLimited},
		handler: http.HandlerFunc(a.attendees),
	}}
}

// attendees answers with who is in the meeting, as a file.
func (a *API) attendees(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	format := r.URL.Query().Get("format")
	if format != "" && format != "json" && format != "csv" {
		a.fail(w, r, fault.Invalid("format", "format is json or csv."))
		return
	}
	body, err := a.attendance(r)
	if err != nil { // of whatever kind, it names nobody
		a.fail(w, r, err)
		return
	}
	if format == "csv" {
		attachment(w, "text/csv; charset=utf-8; header=present", "attendees.csv")
		writeAttendees(w, body.Attendees)
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="attendees.json"`)
	answer(w, http.StatusOK, body)
}

func attachment(w http.ResponseWriter, media, name string) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

// hostOf lets through who shows a credential of the meeting's host: 128 random bits, at which nobody
// guesses. Whether there is such a meeting is not told.
func (a *API) hostOf(r *http.Request) (meetingID string, err error) {
	secret := bearer(r)
	if secret == "" {
		return "", fault.New(fault.Unauthorized)
	}
	key := protocol.Meta{MeetingID: r.PathValue("id")}
	if err = key.Validate(); err == nil { // else no meeting has such a key
		err = a.participants.AuthorizeHost(r.Context(), key.MeetingID, secret)
	}
	switch fault.CodeOf(err) {
	case fault.InvalidPayload, fault.MeetingNotFound: // nobody is host of what is not there
		err = fault.New(fault.Unauthorized)
	}
	return key.MeetingID, err
}

func (a *API) attendance(r *http.Request) (*attendance, error) {
	id, err := a.hostOf(r)
	if err != nil {
		return nil, err
	}
	st, present, err := a.store.Snapshot(r.Context(), id)
	if err != nil {
		return nil, translate(err)
	}
	kept, err := a.store.Attendance(r.Context(), id)
	if err != nil {
		return nil, translate(err)
	}
	bans, err := a.store.Bans(r.Context(), id)
	if err != nil {
		return nil, translate(err)
	}
	body := &attendance{
		MeetingID: id, Name: st.Title, At: time.Now().UTC(), Attendance: st.Policy.Attendance,
		Attendees: attendeesOf(present, kept), Banned: []banned{},
	}
	for _, b := range bans {
		if b.Until.After(body.At) {
			body.Banned = append(body.Banned, banned{b.PeerID, b.UserID, b.Name, b.Kind, b.At, b.Until})
		}
	}
	return body, nil
}

// attendeesOf puts those present and those kept in mind together. Who is there is
// known better from being there: the name may have changed.
func attendeesOf(present []store.Participant, kept []store.Attendee) []attendee {
	list := []attendee{}
	here := map[string]store.Participant{}
	for _, p := range present {
		here[p.PeerID] = p
	}
	for _, k := range kept {
		if _, is := here[k.PeerID]; !is {
			list = append(list, attendee{k.PeerID, k.UserID, k.Name, k.Role, false, k.JoinedAt, k.LeftAt})
		}
	}
	for _, p := range present {
		list = append(list, attendee{p.PeerID, p.UserID, p.Name, p.Role, true, p.JoinedAt, nil})
	}
	slices.SortStableFunc(list, func(a, b attendee) int { return a.JoinedAt.Compare(b.JoinedAt) })
	return list
}

func writeAttendees(w http.ResponseWriter, list []attendee) {
	out := csv.NewWriter(w)
	out.UseCRLF = true // RFC 4180
	_ = out.Write([]string{"joined_at", "left_at", "present", "name", "user_id", "role", "peer_id"})
	for _, p := range list {
		left, present := "", "no"
		if p.LeftAt != nil {
			left = p.LeftAt.Format(time.RFC3339)
		}
		if p.Present {
			present = "yes"
		}
		_ = out.Write([]string{ // the client may be gone
			p.JoinedAt.Format(time.RFC3339), left, present, audit.Inert(p.Name), audit.Inert(p.UserID), p.Role, p.PeerID,
		})
	}
	out.Flush()
}
