package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"signald/internal/audit"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

// sessionCookie holds the admin's session. Only the admin's API gets to see it.
const sessionCookie = "signald_admin"

// crossOrigin refuses what a page of another site made the admin's browser send.
var crossOrigin = http.NewCrossOriginProtection()

func (a *API) adminRoutes() []route {
	return []route{{
		method: "POST", path: "/api/v1/admin/login", name: "login", summary: "Open a session of the admin, in a cookie.",
		access: tokenInBody, body: login{}, answers: answers{http.StatusOK: adminSession{}},
		errors:  []fault.Code{fault.Forbidden, fault.RateLimited},
		handler: http.HandlerFunc(a.login),
	}, {
		method: "POST", path: "/api/v1/admin/logout", name: "logout", summary: "End the session, at every node.",
		access: onlyAdmin, answers: answers{http.StatusNoContent: nil}, handler: http.HandlerFunc(a.logout),
	}, {
		method: "GET", path: "/api/v1/admin/session", name: "session", summary: "Whether one is logged in, and for how long.",
		access: onlyAdmin, answers: answers{http.StatusOK: adminSession{}}, handler: a.json(a.session),
	}, {
		method: "GET", path: "/api/v1/admin/audit/summary", name: "summarizeAudit", summary: "Where and when meetings were created.",
		about:  "Of the newest 10,000 rows that fit.",
		access: onlyAdmin, query: auditFilters, answers: answers{http.StatusOK: audit.Summary{}},
		handler: a.json(a.summary),
	}, {
		method: "GET", path: "/api/v1/admin/audit/chain", name: "checkAudit", summary: "How far the audit's chains of hashes are intact.",
		about:  "Each call checks some rows more, from where the last one has stopped at this node.",
		access: onlyAdmin, answers: answers{http.StatusOK: audit.Chains{}},
		handler: a.json(a.checkAudit),
	}, {
		method: "GET", path: "/api/v1/admin/events", name: "listEvents", summary: "What is recorded beside creations, newest first.",
		access: onlyAdmin,
		query: []param{
			{"from", "Recorded then or later: RFC 3339, or a date."},
			{"to", "Recorded before: RFC 3339, or a date."},
			{"kind", "kick, ban, end or login_failed."},
			{"limit", "Rows: 1 to 500, else 50."},
			{"cursor", "Where to go on."},
		},
		answers: answers{http.StatusOK: eventPage{}},
		handler: a.json(a.events),
	}, {
		method: "GET", path: "/api/v1/admin/meetings", name: "listLiveMeetings", summary: "The meetings that have participants now, on all nodes.",
		about:  "The largest first.",
		access: onlyAdmin, query: []param{{"limit", "Meetings: 1 to 500, which is the default."}},
		answers: answers{http.StatusOK: liveMeetings{}},
		handler: a.json(a.liveMeetings),
	}, {
		method: "POST", path: "/api/v1/admin/meetings/{id}/end", name: "endMeeting", summary: "End a meeting for everyone, for good.",
		access: onlyAdmin, answers: answers{http.StatusNoContent: nil},
		errors:  []fault.Code{fault.MeetingNotFound},
		handler: a.json(a.endMeeting),
	}}
}

// admin lets the admin through: by bearer token, or by the cookie of a session.
// A participant's token is a credential, but not for this.
func (a *API) admin(r *http.Request) error {
	if token := bearer(r); token != "" {
		return a.adminByToken(r, token)
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return fault.New(fault.Unauthorized)
	}
	if crossOrigin.Check(r) != nil {
		return fault.New(fault.Forbidden).WithMessage("Pages of other sites may not do this.")
	}
	_, ok, err := a.opts.Sessions.Find(r.Context(), c.Value)
	switch {
	case err != nil:
		return translate(err)
	case !ok:
		return fault.New(fault.Unauthorized).WithMessage("The session has ended. Log in again.")
	}
	return nil
}

// adminByToken compares a token, and counts and records it if it is wrong.
func (a *API) adminByToken(r *http.Request, token string) error {
	guess, err := a.guess(r, a.opts.Logins)
	if err != nil {
		return err
	}
	fits, err := a.opts.Admin.Is(r.Context(), a.opts.ClientIP(r), token)
	guess.Settle(err == nil && !fits)
	if fits || err != nil {
		return err
	}
	if strings.HasPrefix(token, "rt_") {
		if _, _, err := a.participants.Authenticate(r.Context(), token); err == nil {
			return fault.New(fault.Forbidden).WithMessage("This needs the admin's token.")
		}
	}
	a.record(r, store.NewAuditEvent{Kind: store.EventLoginFailed})
	return fault.New(fault.Unauthorized)
}

// record writes an event of this request into the audit, if it is wanted there.
func (a *API) record(r *http.Request, e store.NewAuditEvent) {
	e.IP, e.UserAgent = a.opts.ClientIP(r), userAgent(r)
	a.opts.Recorder.Record(context.WithoutCancel(r.Context()), e) // also for a client that does not wait
}

type login struct {
	Token string `json:"token" required:"" doc:"of SIGNALD_ADMIN_TOKEN, in clear"`
}

type adminSession struct {
	ExpiresAt   *time.Time `json:"expires_at,omitempty" doc:"absent where there is a token instead of a session"`
	Attribution string     `json:"attribution,omitempty" doc:"of places, as their licence asks"`
}

// login opens a session for who knows the token.
func (a *API) login(w http.ResponseWriter, r *http.Request) {
	a.json(func(r *http.Request) (int, any, error) {
		if crossOrigin.Check(r) != nil {
			return 0, nil, fault.New(fault.Forbidden).WithMessage("Pages of other sites may not do this.")
		}
		var body login
		if err := decode(r, &body); err != nil {
			return 0, nil, err
		}
		if err := a.adminByToken(r, body.Token); err != nil {
			return 0, nil, err
		}
		token, expires, err := a.opts.Sessions.Open(r.Context())
		if err != nil {
			return 0, nil, translate(err)
		}
		http.SetCookie(w, a.cookie(r, token, expires))
		return http.StatusOK, adminSession{ExpiresAt: &expires, Attribution: a.places.Attribution()}, nil
	}).ServeHTTP(w, r)
}

// logout ends the session, if there is one.
func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	a.json(func(r *http.Request) (int, any, error) {
		if c, err := r.Cookie(sessionCookie); err == nil {
			if err := a.opts.Sessions.End(r.Context(), c.Value); err != nil {
				return 0, nil, translate(err)
			}
		}
		http.SetCookie(w, a.cookie(r, "", time.Unix(1, 0)))
		return http.StatusNoContent, nil, nil
	}).ServeHTTP(w, r)
}

func (a *API) cookie(r *http.Request, token string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: token, Path: a.opts.BasePath + "/api/v1/admin", Expires: expires,
		Secure: a.isHTTPS(r), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// session tells a page that it is logged in, and until when.
func (a *API) session(r *http.Request) (int, any, error) {
	out := adminSession{Attribution: a.places.Attribution()}
	if c, err := r.Cookie(sessionCookie); err == nil {
		expires, ok, err := a.opts.Sessions.Find(r.Context(), c.Value)
		if err != nil {
			return 0, nil, translate(err)
		}
		if ok {
			out.ExpiresAt = &expires
		}
	}
	return http.StatusOK, out, nil
}

// summary tells where and when the newest meetings that fit were created.
func (a *API) summary(r *http.Request) (int, any, error) {
	q, err := a.filter(r)
	if err != nil {
		return 0, nil, err
	}
	q.Cursor = ""
	points, more, err := a.store.AuditPoints(r.Context(), q, audit.SummaryRows)
	if err != nil {
		return 0, nil, translate(err)
	}
	return http.StatusOK, audit.Summarize(points, more), nil
}

// checkAudit tells how far the audit's chains are intact.
func (a *API) checkAudit(r *http.Request) (int, any, error) {
	chains, err := a.chains.Look(r.Context())
	if err != nil {
		return 0, nil, translate(err)
	}
	return http.StatusOK, chains, nil
}

// filter reads the audit's filters, as its rows were written.
func (a *API) filter(r *http.Request) (store.AuditQuery, error) {
	q, err := audit.Filter(r.URL.Query())
	q.OrIP = a.opts.Privacy.Sought(q.IP)
	return q, err
}

type eventPage struct {
	Items      []audit.Event `json:"items"`
	NextCursor string        `json:"next_cursor"`
}

// events lists what is recorded beside creations.
func (a *API) events(r *http.Request) (int, any, error) {
	q, err := audit.EventFilter(r.URL.Query())
	if err != nil {
		return 0, nil, err
	}
	if q.Limit, err = audit.Limit(r.URL.Query(), auditPageRows); err != nil {
		return 0, nil, err
	}
	list, next, err := a.store.AuditEvents(r.Context(), q)
	if err != nil {
		return 0, nil, auditFault(err)
	}
	page := eventPage{Items: make([]audit.Event, len(list)), NextCursor: next}
	for i, e := range list {
		page.Items[i] = audit.EventOf(e)
	}
	return http.StatusOK, page, nil
}

// liveMeetings are those that have participants now, on all nodes.
type liveMeetings struct {
	Items        []liveMeeting `json:"items"`
	Meetings     int           `json:"meetings" doc:"in all"`
	Participants int           `json:"participants" doc:"in all"`
}

type liveMeeting struct {
	MeetingID    string         `json:"meeting_id"`
	Name         string         `json:"name"`
	CreatedAt    time.Time      `json:"created_at"`
	Since        time.Time      `json:"since" doc:"when the first of those who are in it joined"`
	Participants int            `json:"participants"`
	Away         int            `json:"away"`
	Nodes        map[string]int `json:"nodes" doc:"participants at each node"`
}

const maxLiveMeetings = 500

func (a *API) liveMeetings(r *http.Request) (int, any, error) {
	limit, err := audit.Limit(r.URL.Query(), maxLiveMeetings)
	if err != nil {
		return 0, nil, err
	}
	if limit == 0 {
		limit = maxLiveMeetings
	}
	list, meetings, people, err := a.store.LiveMeetings(r.Context(), limit)
	if err != nil {
		return 0, nil, translate(err)
	}
	out := liveMeetings{Items: make([]liveMeeting, len(list)), Meetings: meetings, Participants: people}
	for i, m := range list {
		out.Items[i] = liveMeeting{
			MeetingID: m.ID, Name: m.Title, CreatedAt: m.CreatedAt, Since: m.Since,
			Participants: m.Participants, Away: m.Away, Nodes: m.Nodes,
		}
	}
	return http.StatusOK, out, nil
}

// endMeeting ends a meeting for everyone, for good.
func (a *API) endMeeting(r *http.Request) (int, any, error) {
	key := protocol.Meta{MeetingID: r.PathValue("id")}
	if key.Validate() != nil { // no meeting has such a key
		return 0, nil, fault.New(fault.MeetingNotFound)
	}
	if err := a.participants.End(r.Context(), key.MeetingID); err != nil {
		return 0, nil, err
	}
	a.record(r, store.NewAuditEvent{Kind: store.EventEnd, MeetingID: key.MeetingID, Actor: "admin"})
	a.opts.Log.Info().Ctx(r.Context()).Msg("meeting ended by the admin")
	return http.StatusNoContent, nil, nil
}
