package store

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	participantColumns = `peer_id, meeting_id, user_id, name, role, protocol, sdp, candidate, sdp_json, candidate_json, media,
		state, node_id, conn_id, resume_hash, fingerprint, joined_at, away_since, ip, verified, admission_hash, previous_hash, requests, reader`
	presenceColumns = `meeting_id, peer_id, conn_id, node_id, state, away_since`

	insertParticipant = `INSERT INTO participants (peer_id, meeting_id, user_id, name, role, protocol, sdp, candidate, sdp_json, candidate_json, media,
		state, node_id, conn_id, resume_hash, fingerprint, joined_at, away_since, ip, verified, admission_hash, requests, previous_hash, joined_rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`
	updateParticipant = `UPDATE participants SET user_id = $3, name = $4, role = $5, protocol = $6, sdp = $7,
		candidate = $8, sdp_json = $9, candidate_json = $10, media = $11, state = $12, node_id = $13, conn_id = $14,
		resume_hash = $15, fingerprint = $16, joined_at = $17, away_since = $18, ip = $19, verified = $20, admission_hash = $21, requests = $22
		WHERE peer_id = $1 AND meeting_id = $2`
	deleteParticipant = `DELETE FROM participants WHERE peer_id = $1 AND meeting_id = $2`

	// there is who is in a meeting: not who has left and may return.
	there = `state <> '` + Returning + `'`
)

func participantArgs(d dialect, p Participant) []any {
	return []any{
		p.PeerID, p.MeetingID, p.UserID, p.Name, p.Role, p.Protocol, someBytes(p.SDP), someBytes(p.Candidate), p.SDPJSON, p.CandidateJSON, jsonText(p.Media),
		p.State, p.NodeID, p.ConnID, optBytes(p.ResumeHash), p.Fingerprint, d.time(p.JoinedAt), optTime(d, p.AwaySince), optAddr(d, plainAddr(p.IP)), p.Verified,
		optBytes(p.AdmissionHash), p.Requests,
	}
}

func participantDest(p *Participant) []any {
	return []any{
		&p.PeerID, &p.MeetingID, &p.UserID, &p.Name, &p.Role, &p.Protocol, scanBytes{&p.SDP}, scanBytes{&p.Candidate}, &p.SDPJSON, &p.CandidateJSON, scanJSON{&p.Media},
		&p.State, &p.NodeID, &p.ConnID, scanBytes{&p.ResumeHash}, &p.Fingerprint, scanTime{&p.JoinedAt}, scanOptTime{&p.AwaySince}, scanAddr{&p.IP}, &p.Verified,
		scanBytes{&p.AdmissionHash}, scanBytes{&p.PreviousHash}, &p.Requests, &p.Reader,
	}
}

func (p Participant) check() error {
	var t texts
	t.indexed("peer id", p.PeerID)
	t.indexed("user id", p.UserID)
	t.plain("name", p.Name)
	t.plain("role", p.Role)
	t.plain("state", p.State)
	t.indexed("node id", p.NodeID)
	t.plain("connection id", p.ConnID)
	t.plain("fingerprint", p.Fingerprint)
	return t.err
}

// participantsWhere asks for participants in order of joining; the list is filled when the query has run.
func participantsWhere(where string, args ...any) (query, *[]Participant) {
	list := new([]Participant)
	return query{
		statement{sql: `SELECT ` + participantColumns + ` FROM participants WHERE ` + where + ` ORDER BY joined_at, peer_id`, args: args},
		func(r row) error {
			var p Participant
			if err := r.Scan(participantDest(&p)...); err != nil {
				return err
			}
			*list = append(*list, p)
			return nil
		},
	}, list
}

func one(list []Participant) (Participant, error) {
	if len(list) == 0 {
		return Participant{}, ErrParticipantNotFound
	}
	return list[0], nil
}

// Participant finds a participant of any meeting, also one that has left and may return;
// ErrParticipantNotFound.
func (s *Store) Participant(ctx context.Context, peerID string) (Participant, error) {
	if err := key("peer id", peerID); err != nil {
		return Participant{}, err
	}
	q, list := participantsWhere(`peer_id = $1`, peerID)
	if err := s.read(ctx, "read a participant", q); err != nil {
		return Participant{}, err
	}
	return one(*list)
}

// ParticipantByResume finds a participant by the hash of its resume token, or of the one before while that
// is good, also one that has left and may return; ErrParticipantNotFound.
func (s *Store) ParticipantByResume(ctx context.Context, hash []byte) (Participant, error) {
	q, list := participantsWhere(`resume_hash = $1 OR previous_hash = $1`, someBytes(hash))
	if err := s.read(ctx, "read a participant", q); err != nil {
		return Participant{}, err
	}
	return one(*list)
}

// Confirm ends the time of the previous tokens of participants, whose clients have the next ones: of each
// the connection that has it.
func (s *Store) Confirm(ctx context.Context, conns map[string]string) error {
	peers, connIDs := slices.Collect(maps.Keys(conns)), slices.Collect(maps.Values(conns))
	return s.write(ctx, "end the time of tokens", statement{sql: s.sql.confirm, args: []any{s.d.list(peers), s.d.list(connIDs)}})
}

// RegisterNode notes that the node runs, now. Called again it renews the note.
func (s *Store) RegisterNode(ctx context.Context, nodeID string) error {
	if err := key("node id", nodeID); err != nil {
		return err
	}
	return s.write(ctx, "register the node", statement{sql: s.sql.seen, args: []any{nodeID}})
}

// ForgetNode takes the note back, at a planned stop.
func (s *Store) ForgetNode(ctx context.Context, nodeID string) error {
	if err := key("node id", nodeID); err != nil {
		return err
	}
	return s.write(ctx, "forget the node", statement{sql: `DELETE FROM nodes WHERE node_id = $1`, args: []any{nodeID}})
}

// Nodes tells when each node registered last. The times are the database's and good for one thing: one that
// has changed is a sign of life. How old they are depends on a clock that may jump.
func (s *Store) Nodes(ctx context.Context) (map[string]time.Time, error) {
	nodes := map[string]time.Time{}
	err := s.read(ctx, "list the nodes", query{
		statement{sql: s.sql.nodes},
		func(r row) error {
			var id string
			var seen time.Time
			if err := r.Scan(&id, scanTime{&seen}); err != nil {
				return err
			}
			nodes[id] = seen
			return nil
		},
	})
	return nodes, err
}

// Abandoned lists participants that are online at none of the live nodes. None live: everyone online.
func (s *Store) Abandoned(ctx context.Context, live []string) ([]Presence, error) {
	var t texts
	for _, id := range live {
		t.indexed("node id", id)
	}
	if t.err != nil {
		return nil, t.err
	}
	return s.presences(ctx, func(last Presence) statement {
		return statement{sql: s.sql.abandoned, args: []any{s.d.list(live), last.MeetingID, last.PeerID, s.page}}
	})
}

// Revs tells the revisions that these meetings have reached; unknown ones are left out.
func (s *Store) Revs(ctx context.Context, meetingIDs []string) (map[string]int64, error) {
	var t texts
	for _, id := range meetingIDs {
		t.indexed("meeting id", id)
	}
	if t.err != nil {
		return nil, t.err
	}
	revs := make(map[string]int64, len(meetingIDs))
	err := s.read(ctx, "compare revisions", query{
		statement{sql: s.sql.revs, args: []any{s.d.list(meetingIDs)}},
		func(r row) error {
			var id string
			var rev int64
			err := r.Scan(&id, &rev)
			revs[id] = rev
			return err
		},
	})
	return revs, err
}

// Present are those of these participants who are in a meeting, away or about to return included.
func (s *Store) Present(ctx context.Context, peerIDs []string) (map[string]bool, error) {
	var t texts
	for _, id := range peerIDs {
		t.indexed("peer id", id)
	}
	if t.err != nil {
		return nil, t.err
	}
	present := make(map[string]bool, len(peerIDs))
	err := s.read(ctx, "look for participants", query{
		statement{sql: s.sql.present, args: []any{s.d.list(peerIDs)}},
		func(r row) error {
			var id string
			err := r.Scan(&id)
			present[id] = true
			return err
		},
	})
	return present, err
}

// AwayBefore lists participants that have been away, or gone and returning, since before t, longest first.
func (s *Store) AwayBefore(ctx context.Context, t time.Time) ([]Presence, error) {
	return s.presences(ctx, func(last Presence) statement {
		var since time.Time
		if last.AwaySince != nil {
			since = *last.AwaySince
		}
		return statement{
			sql: `SELECT ` + presenceColumns + ` FROM participants WHERE away_since < $1 AND (away_since, peer_id) > ($2, $3)
				ORDER BY away_since, peer_id LIMIT $4`,
			args: []any{s.d.time(t), s.d.time(since), last.PeerID, s.page},
		}
	})
}

// presences reads all pages of a list.
func (s *Store) presences(ctx context.Context, page func(last Presence) statement) ([]Presence, error) {
	return pages(s, func(last Presence) (list []Presence, err error) {
		err = s.read(ctx, "list participants to clean up", query{page(last), func(r row) error {
			var p Presence
			if err := r.Scan(&p.MeetingID, &p.PeerID, &p.ConnID, &p.NodeID, &p.State, scanOptTime{&p.AwaySince}); err != nil {
				return err
			}
			list = append(list, p)
			return nil
		}})
		return list, err
	})
}

// HasSecret reports whether one of the hashes is that of a secret of this meeting that nobody
// guesses: a host key, resume token, lobby ticket or admission.
func (s *Store) HasSecret(ctx context.Context, meetingID string, hashes ...[]byte) (found bool, err error) {
	if err := key("meeting id", meetingID); err != nil {
		return false, err
	}
	queries := make([]query, len(hashes))
	for i, hash := range hashes {
		queries[i] = query{
			statement{
				sql: `SELECT 1 FROM participants WHERE meeting_id = $1 AND (resume_hash = $2 OR previous_hash = $2)
					UNION ALL SELECT 1 FROM waiting WHERE meeting_id = $1 AND ticket_hash = $2
					UNION ALL SELECT 1 FROM admissions WHERE meeting_id = $1 AND hash = $2
					UNION ALL SELECT 1 FROM chat_readers WHERE meeting_id = $1 AND (token_hash = $2 OR previous_hash = $2)
					UNION ALL SELECT 1 FROM meeting_state WHERE meeting_id = $1 AND host_key_hash = $2`,
				args: []any{meetingID, someBytes(hash)},
			},
			func(r row) error { var one int; found = true; return r.Scan(&one) },
		}
	}
	err = s.read(ctx, "look for a secret", queries...)
	return found, err
}
