package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"signald/internal/store"
)

func withText(s string) (store.NewMeeting, store.Participant) {
	n := store.NewMeeting{ID: s, Name: s, Title: s, Country: &s, Region: &s, City: &s, GeoSource: s, UserAgent: s, PasswordHash: []byte(s), HostKeyHash: []byte(s)}
	p := store.Participant{
		PeerID: s, UserID: s, Name: s, Role: s, SDP: []byte(s), Candidate: []byte(s), State: s, NodeID: s, ConnID: s,
		ResumeHash: []byte(s), Fingerprint: s, JoinedAt: stored(start),
	}
	return n, p
}

func isKept(t *testing.T, s *store.Store, text string) {
	t.Helper()
	n, p := withText(text)
	created, err := s.CreateMeeting(ctx, n)
	must(t, err)
	join(t, s, text, p)
	p.MeetingID = text
	m, st, _, err := s.Meeting(ctx, text)
	must(t, err)
	equal(t, "meeting", m, created)
	equal(t, "name", m.Name, text)
	equal(t, "title", st.Title, text)
	equal(t, "host key hash", st.HostKeyHash, []byte(text))
	_, everyone, err := s.Snapshot(ctx, text)
	must(t, err)
	equal(t, "roster", everyone, []store.Participant{p})
	must(t, s.InMeeting(ctx, text, func(ctx context.Context, tx *store.Tx) error {
		for what, get := range map[string]func() (store.Participant, error){
			"by peer":  func() (store.Participant, error) { return tx.ByPeer(ctx, text) },
			"by token": func() (store.Participant, error) { return tx.ByResume(ctx, []byte(text)) },
			"by user": func() (store.Participant, error) {
				list, err := tx.ByUser(ctx, text)
				if len(list) != 1 {
					return store.Participant{}, err
				}
				return list[0], err
			},
		} {
			got, err := get()
			must(t, err)
			equal(t, what, got, p)
		}
		return tx.Update(ctx, p)
	}))
	for _, q := range []store.AuditQuery{{Country: text}, {City: text}, {Q: text}} {
		page, err := s.Audit(ctx, q)
		must(t, err)
		equal(t, "audit", page.Items, []store.Meeting{created})
	}
	must(t, s.RegisterNode(ctx, text))
	nodes, err := s.Nodes(ctx)
	must(t, err)
	equal(t, "node", slices.Collect(maps.Keys(nodes)), []string{text})
	none, err := s.Abandoned(ctx, []string{text})
	must(t, err)
	equal(t, "abandoned", len(none), 0)
	must(t, s.ForgetNode(ctx, text))
	must(t, s.InMeeting(ctx, text, func(ctx context.Context, tx *store.Tx) error { return tx.Delete(ctx, text, "leave") }))
}

func injectionIsOnlyText(t *testing.T, s *store.Store) {
	isKept(t, s, `'; DROP TABLE meetings;--`)
	isKept(t, s, `"}'), ($1) /* \ $2 ?1 :a @b %s %00 {"x`)
	verified(t, s)
}

func anyLanguageIsText(t *testing.T, s *store.Store) {
	isKept(t, s, "王宇 👩‍👩‍👧 \U0001F9D1\U0001F3FD עברית é e\u0301 \u202E\t\n")
	isKept(t, s, " ")
	isKept(t, s, strings.Repeat("𝔘", 256)) // the most that an index takes
}

func unstorableTextIsRefused(t *testing.T, s *store.Store) {
	create(t, s, "k")
	for _, bad := range []string{"a\x00b", "\xff", "\xed\xa0\x80", strings.Repeat("x", 1025)} {
		tooLong := len(bad) > 1024
		meetings := map[string]func(n *store.NewMeeting){
			"id": func(n *store.NewMeeting) { n.ID = bad }, "name": func(n *store.NewMeeting) { n.Name = bad },
			"country": func(n *store.NewMeeting) { n.Country = &bad }, "region": func(n *store.NewMeeting) { n.Region = &bad },
			"city": func(n *store.NewMeeting) { n.City = &bad },
		}
		participants := map[string]func(p *store.Participant){
			"peer id": func(p *store.Participant) { p.PeerID = bad }, "user id": func(p *store.Participant) { p.UserID = bad },
			"node id": func(p *store.Participant) { p.NodeID = bad },
		}
		if !tooLong {
			meetings["title"] = func(n *store.NewMeeting) { n.Title = bad }
			meetings["geo source"] = func(n *store.NewMeeting) { n.GeoSource = bad }
			meetings["user agent"] = func(n *store.NewMeeting) { n.UserAgent = bad }
			participants["name"] = func(p *store.Participant) { p.Name = bad }
			participants["role"] = func(p *store.Participant) { p.Role = bad }
			participants["state"] = func(p *store.Participant) { p.State = bad }
			participants["conn id"] = func(p *store.Participant) { p.ConnID = bad }
			participants["fingerprint"] = func(p *store.Participant) { p.Fingerprint = bad }
		}
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, store.ErrBadText) {
				t.Errorf("%s %.10q: %v, want ErrBadText", what, bad, err)
			}
		}
		for what, spoil := range meetings {
			n := newMeeting("new")
			spoil(&n)
			_, err := s.CreateMeeting(ctx, n)
			refused(what, err)
		}
		for what, spoil := range participants {
			p := newParticipant("p_a")
			spoil(&p)
			refused(what, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { return tx.Insert(ctx, p) }))
			refused(what, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { return tx.Update(ctx, p) }))
		}
		_, _, _, err := s.Meeting(ctx, bad)
		refused("Meeting", err)
		refused("Snapshot", second(first2(s.Snapshot(ctx, bad))))
		refused("InMeeting", s.InMeeting(ctx, bad, nil))
		refused("Participant", second(s.Participant(ctx, bad)))
		refused("RegisterNode", s.RegisterNode(ctx, bad))
		refused("ForgetNode", s.ForgetNode(ctx, bad))
		refused("Abandoned", second(s.Abandoned(ctx, []string{bad})))
		for _, q := range []store.AuditQuery{{Q: bad}, {City: bad}, {Country: bad}} {
			refused("Audit", second(s.Audit(ctx, q)))
		}
		must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
			refused("ByPeer", second(tx.ByPeer(ctx, bad)))
			refused("ByUser", second(tx.ByUser(ctx, bad)))
			refused("Delete", tx.Delete(ctx, bad, "leave"))
			return nil
		}))
	}
	_, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "roster", len(everyone), 0)
}

func first2[A, B any](a A, _ B, err error) (A, error) { return a, err }
