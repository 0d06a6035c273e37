package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"

	"signald/internal/fault"
	"signald/internal/limits"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/store"
)

func (a *API) meetingRoutes() []route {
	return []route{{
		method: "POST", path: "/api/v1/meetings", name: "createMeeting", summary: "Create a meeting, without joining it.",
		about: "The host key is told here and never again. Pages of an origin that is not allowed get `forbidden`.",
		body:  newMeeting{}, answers: answers{http.StatusCreated: createdMeeting{}},
		errors:  []fault.Code{fault.Forbidden, fault.RateLimited, fault.MeetingExists},
		handler: a.json(a.createMeeting),
	}, {
		method: "GET", path: "/api/v1/meetings/{id}", name: "getMeeting", summary: "Whether there is a meeting with this key.",
		about:   "Wrong keys that can be guessed are counted for each address, together with those of joins and creations.",
		answers: answers{http.StatusOK: meetingInfo{}},
		errors:  []fault.Code{fault.RateLimited, fault.MeetingNotFound, fault.MeetingEnded},
		handler: a.json(a.getMeeting),
	}, {
		method: "POST", path: "/api/v1/leave", name: "leave", summary: "Leave a meeting or its lobby: for navigator.sendBeacon when a page is closed.",
		access: tokenInBody, body: protocol.LeaveByToken{}, answers: answers{http.StatusNoContent: nil},
		errors:  []fault.Code{fault.NotJoined},
		handler: a.json(a.leave),
	}, {
		method: "GET", path: "/api/v1/ice", name: "iceServers", summary: "STUN and TURN servers, with fresh credentials.",
		access: participant, answers: answers{http.StatusOK: protocol.ICE{}},
		handler: a.json(a.iceServers),
	}}
}

// newMeeting is the body of POST /api/v1/meetings. What is absent takes its
// default.
type newMeeting struct {
	MeetingID string `json:"meeting_id" doc:"the key, 1 to 64 characters; else 100 random bits"`
	Name      string `json:"name" doc:"up to 64 characters; in the audit the creator's address stands for none"`
	Password  string `json:"password" doc:"up to 128 characters; guests need it, the host does not"`
	ExpiresIn int64  `json:"expires_in_s" doc:"seconds from now, at most ten years"`

	Attendance bool  `json:"attendance" doc:"keep who was there and when; said to all"`
	Retention  int64 `json:"retention_s" doc:"keep that, and what was said, for so many seconds after the last has left, at most 90 days; said to all"`

	Policy newPolicy `json:"policy" doc:"what is absent is allowed, but for locked, lobby and takeover"`
}

// newPolicy is what the meeting allows. A switch that this server does not have is
// refused, as by the event control: it must not seem to have been switched.
type newPolicy struct {
	Camera   *bool `json:"camera"`
	Speak    *bool `json:"speak"`
	Rename   *bool `json:"rename"`
	Chat     *bool `json:"chat"`
	Locked   *bool `json:"locked"`
	Lobby    *bool `json:"lobby"`
	Takeover *bool `json:"takeover" doc:"without host and co-host, the longest present takes over"`
	MaxPeers *int  `json:"max_peers" doc:"1 to the server's limit"`

	unknown bool
}

func (p *newPolicy) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) == nil { // else the next says what it is
		known := reflect.TypeFor[newPolicy]()
		for i := range known.NumField() {
			delete(fields, known.Field(i).Tag.Get("json"))
		}
		p.unknown = len(fields) > 0
	}
	type plain newPolicy
	return json.Unmarshal(b, (*plain)(p))
}

type createdMeeting struct {
	MeetingID string    `json:"meeting_id"`
	Name      string    `json:"name"`
	HostKey   string    `json:"host_key" doc:"makes who joins with it host"`
	JoinURL   string    `json:"join_url"`
	CreatedAt time.Time `json:"created_at"`
}

type meetingInfo struct {
	MeetingID    string `json:"meeting_id"`
	Name         string `json:"name"`
	Participants int    `json:"participants" doc:"those away too"`
}

// maxRetention is how long anything about people may be kept after a meeting.
const maxRetention = 90 * 24 * time.Hour

// createMeeting creates a meeting and its audit row. It does not join.
func (a *API) createMeeting(r *http.Request) (int, any, error) {
	ip := a.opts.ClientIP(r)
	if origin := r.Header.Get("Origin"); origin != "" && !a.opts.AllowOrigin(r, origin) {
		// A form or a beacon needs nobody's leave to post; the audit would name its visitor.
		return 0, nil, fault.New(fault.Forbidden).WithMessage("Pages of this origin may not create meetings here.")
	}
	if refusal, ok := a.opts.Creations.Take(limits.Payer{IP: ip}, 1); !ok {
		return 0, nil, limited(refusal.Wait, false)
	}
	var n newMeeting
	if err := decode(r, &n); err != nil {
		return 0, nil, err
	}
	again := r.Header.Get("Idempotency-Key")
	if err := protocol.CheckIdempotencyKey(again); err != nil {
		return 0, nil, err
	}
	if n.MeetingID == "" && again != "" {
		n.MeetingID = derivedMeetingKey(again)
	}
	row, err := a.newRow(&n)
	if err != nil {
		return 0, nil, err
	}
	guess, err := a.guessKey(r, row.ID) // that it is taken is what a guesser wants to know
	if err != nil {
		return 0, nil, err
	}
	wrong := false
	defer func() { guess.Settle(wrong) }()
	status, created, err := a.create(r, row, &n, again)
	wrong = fault.CodeOf(err) == fault.MeetingExists
	return status, created, err
}

// create creates the meeting of a row.
func (a *API) create(r *http.Request, row store.NewMeeting, n *newMeeting, again string) (int, any, error) {
	ip := a.opts.ClientIP(r)
	hostKey := participants.NewHostKey(again)
	row.HostKeyHash = participants.HashSecret(hostKey)
	row.CreatorIP, row.UserAgent = a.opts.Privacy.Of(ip), userAgent(r)
	a.locate(&row, ip)
	if n.Password != "" {
		if _, _, _, err := a.store.Meeting(r.Context(), row.ID); err == nil { // before the hash, which is expensive
			return a.createdBefore(r, row, again != "", hostKey)
		}
		hash, err := a.opts.Passwords.Hash(r.Context(), ip, n.Password)
		if err != nil {
			return 0, nil, err
		}
		row.PasswordHash = hash
	}

	m, err := a.store.CreateMeeting(r.Context(), row)
	switch {
	case errors.Is(err, store.ErrMeetingExists):
		return a.createdBefore(r, row, again != "", hostKey)
	case err != nil:
		return 0, nil, translate(err)
	}
	a.opts.Log.Info().Ctx(r.Context()).Stringer("ip", m.CreatorIP).Str("country", deref(m.Country)).Int64("seq", m.Seq).Msg("meeting created")
	return http.StatusCreated, createdMeeting{
		MeetingID: m.ID, Name: n.Name, HostKey: hostKey, JoinURL: a.joinURL(r, m.ID), CreatedAt: m.CreatedAt,
	}, nil
}

// createdBefore answers a creation whose meeting is there already. One that is asked for again, by the same
// Idempotency-Key, is the answer that was lost: only the creator's key makes the same host key.
func (a *API) createdBefore(r *http.Request, row store.NewMeeting, again bool, hostKey string) (int, any, error) {
	if again {
		_, st, _, err := a.store.Meeting(r.Context(), row.ID)
		if err != nil {
			return 0, nil, translate(err)
		}
		if participants.SameSecret(st.HostKeyHash, hostKey) {
			return http.StatusCreated, createdMeeting{
				MeetingID: st.MeetingID, Name: st.Title, HostKey: hostKey, JoinURL: a.joinURL(r, st.MeetingID), CreatedAt: st.CreatedAt,
			}, nil
		}
	}
	return 0, nil, fault.New(fault.MeetingExists)
}

// newRow checks the request and fills in the defaults.
func (a *API) newRow(n *newMeeting) (store.NewMeeting, error) {
	texts := protocol.Meta{MeetingID: n.MeetingID, Name: n.Name, Password: n.Password}
	if err := texts.Validate(); err != nil {
		return store.NewMeeting{}, err
	}
	n.MeetingID, n.Name, n.Password = texts.MeetingID, texts.Name, texts.Password
	switch n.MeetingID {
	case "":
		n.MeetingID = newMeetingKey()
	case ".", "..":
		return store.NewMeeting{}, fault.Invalid("meeting_id", "meeting_id cannot be a dot or two: no link can hold them.")
	}
	row := store.NewMeeting{ID: n.MeetingID, Name: n.Name}
	if n.Policy.unknown {
		return row, fault.Invalid("policy", "policy holds camera, speak, rename, chat, locked, lobby, takeover and max_peers, and nothing else.")
	}
	row.Policy = store.Policy{Camera: true, Speak: true, Rename: true, Chat: true, MaxPeers: a.opts.MaxPeers}
	for _, s := range []struct{ field, value *bool }{
		{&row.Policy.Camera, n.Policy.Camera}, {&row.Policy.Speak, n.Policy.Speak},
		{&row.Policy.Rename, n.Policy.Rename}, {&row.Policy.Chat, n.Policy.Chat},
		{&row.Policy.Locked, n.Policy.Locked}, {&row.Policy.Lobby, n.Policy.Lobby},
		{&row.Policy.Takeover, n.Policy.Takeover},
	} {
		if s.value != nil {
			*s.field = *s.value
		}
	}
	if p := n.Policy.MaxPeers; p != nil {
		if *p < 1 || *p > a.opts.MaxPeers {
			return row, fault.Invalid("policy.max_peers", "policy.max_peers is between 1 and the server's limit.")
		}
		row.Policy.MaxPeers = *p
	}
	if n.ExpiresIn < 0 || n.ExpiresIn > int64((10*365*24*time.Hour).Seconds()) {
		return row, fault.Invalid("expires_in_s", "expires_in_s is a number of seconds, at most ten years.")
	}
	if n.ExpiresIn > 0 {
		t := time.Now().Add(time.Duration(n.ExpiresIn) * time.Second)
		row.ExpiresAt = &t
	}
	if n.Retention < 0 || n.Retention > int64(maxRetention.Seconds()) {
		return row, fault.Invalid("retention_s", "retention_s is a number of seconds, at most 90 days.")
	}
	row.Policy.Attendance, row.Retention = n.Attendance, time.Duration(n.Retention)*time.Second
	return row, nil
}

// locate notes where the creator is, as far as anybody knows. No name: the
// address, as it is kept, stands for it.
func (a *API) locate(row *store.NewMeeting, ip netip.Addr) {
	place := a.places.Lookup(ip)
	row.Country, row.Region, row.City = known(place.Country), known(place.Region), known(place.City)
	row.Lat, row.Lon, row.GeoSource = place.Lat, place.Lon, place.Source
	row.Title = row.Name
	if row.Name == "" {
		row.Name = addr(row.CreatorIP)
	}
}

// addr is an address as text, empty when it is not known.
func addr(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// cut shortens s to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// newMeetingKey is 100 random bits.
func newMeetingKey() string {
	b := make([]byte, protocol.KeyLength)
	_, _ = rand.Read(b) // never fails, says its documentation
	return keyOf(b)
}

// derivedMeetingKey is the key of a meeting whose creator has sent an Idempotency-Key and no key of its own.
func derivedMeetingKey(again string) string {
	m := hmac.New(sha256.New, []byte(again))
	m.Write([]byte("meeting key"))
	return keyOf(m.Sum(nil)[:protocol.KeyLength])
}

func keyOf(random []byte) string {
	key := make([]byte, len(random))
	for i, b := range random {
		key[i] = protocol.KeyAlphabet[b&31]
	}
	return string(key)
}

func (a *API) joinURL(r *http.Request, key string) string {
	base := a.opts.PublicURL
	if base == "" {
		scheme := "http"
		if a.isHTTPS(r) {
			scheme = "https"
		}
		base = scheme + "://" + r.Host
	}
	return base + a.opts.BasePath + "/m/" + url.PathEscape(key)
}

// isHTTPS reports whether the client speaks HTTPS, to us or to a proxy of ours.
func (a *API) isHTTPS(r *http.Request) bool {
	return r.TLS != nil || a.opts.Trusted(r) && r.Header.Get("X-Forwarded-Proto") == "https"
}

// userAgent is the client's, as it can be stored.
func userAgent(r *http.Request) string { return cut(strings.ToValidUTF8(r.UserAgent(), "�"), 512) }

// getMeeting tells whether there is such a meeting, and nothing of its audit.
func (a *API) getMeeting(r *http.Request) (int, any, error) {
	key := protocol.Meta{MeetingID: r.PathValue("id")}
	if key.Validate() != nil { // no meeting has such a key
		return 0, nil, fault.New(fault.MeetingNotFound)
	}
	guess, err := a.guessKey(r, key.MeetingID)
	if err != nil {
		return 0, nil, err
	}
	wrong := false
	defer func() { guess.Settle(wrong) }()
	_, st, n, err := a.store.Meeting(r.Context(), key.MeetingID)
	switch {
	case errors.Is(err, store.ErrMeetingNotFound):
		wrong = true
		return 0, nil, fault.New(fault.MeetingNotFound)
	case err != nil:
		return 0, nil, translate(err)
	case st.ExpiresAt != nil && time.Now().After(*st.ExpiresAt):
		return 0, nil, fault.New(fault.MeetingEnded)
	}
	return http.StatusOK, meetingInfo{MeetingID: st.MeetingID, Name: st.Title, Participants: n}, nil
}

// leave is for a page that is being closed: navigator.sendBeacon posts text.
func (a *API) leave(r *http.Request) (int, any, error) {
	var l protocol.LeaveByToken
	if err := decode(r, &l); err != nil {
		return 0, nil, err
	}
	if err := l.Validate(); err != nil {
		return 0, nil, err
	}
	var err error
	if l.Ticket != "" {
		err = a.participants.LeaveLobby(r.Context(), l.MeetingID, l.Ticket)
	} else {
		err = a.participants.LeaveByToken(r.Context(), l.PeerID, l.ResumeToken, l.MayReturn)
	}
	return http.StatusNoContent, nil, err
}

// iceServers gives a participant fresh credentials.
func (a *API) iceServers(r *http.Request) (int, any, error) {
	token := bearer(r)
	if token == "" {
		return 0, nil, fault.New(fault.Unauthorized)
	}
	_, peerID, err := a.participants.Authenticate(r.Context(), token)
	if err != nil {
		return 0, nil, err
	}
	servers := []protocol.ICEServer{}
	for _, s := range a.opts.ICE.Servers(peerID, time.Now()) {
		servers = append(servers, protocol.ICEServer(s))
	}
	return http.StatusOK, protocol.ICE{Servers: servers, TTL: int64(a.opts.ICE.TTL.Seconds())}, nil
}

func translate(err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return fault.New(fault.Unavailable).Because(err)
	case errors.Is(err, store.ErrBadText):
		return fault.Invalid("", "A text contains characters that cannot be stored.")
	default:
		return err
	}
}
