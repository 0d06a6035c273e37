package store

import (
	"context"
	"math"
	"time"
)

const (
	meetingColumns = `m.meeting_id, m.name, m.creator_ip, m.country, m.region, m.city, m.lat, m.lon,
		m.geo_source, m.user_agent, m.created_at, m.seq, m.prev_hash, m.hash`
	stateColumns = `s.meeting_id, s.title, s.rev, s.policy, s.password_hash, s.host_key_hash, s.created_at, s.expires_at, s.live, s.retention_s,
		s.messages_until, s.attendance_until, s.messages_gone, s.attendance_gone`

	insertMeeting = `INSERT INTO meetings (meeting_id, name, creator_ip, country, region, city, lat, lon,
		geo_source, user_agent, created_at, seq, prev_hash, hash, name_fold, city_fold)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`
	insertState = `INSERT INTO meeting_state (meeting_id, title, rev, policy, password_hash, host_key_hash, created_at, expires_at, retention_s)
		VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8)`
	updateState = `UPDATE meeting_state SET rev = $2, policy = $3, password_hash = $4, host_key_hash = $5, expires_at = $6, live = $7,
		messages_until = $8, attendance_until = $9, messages_gone = $10, attendance_gone = $11, to_sweep = to_sweep OR $12
		WHERE meeting_id = $1`
	updateHead = `UPDATE meetings_head SET seq = $1, hash = $2 WHERE one = 1`
)

func meetingDest(m *Meeting) []any {
	return []any{
		&m.ID, &m.Name, scanAddr{&m.CreatorIP}, &m.Country, &m.Region, &m.City, &m.Lat, &m.Lon,
		&m.GeoSource, &m.UserAgent, scanTime{&m.CreatedAt}, &m.Seq, scanBytes{&m.PrevHash}, scanBytes{&m.Hash},
	}
}

func stateDest(s *State) []any {
	return []any{
		&s.MeetingID, &s.Title, &s.Rev, scanJSON{&s.Policy}, scanBytes{&s.PasswordHash}, scanBytes{&s.HostKeyHash},
		scanTime{&s.CreatedAt}, scanOptTime{&s.ExpiresAt}, scanJSON{&s.Live}, scanSeconds{&s.Retention},
		scanOptTime{&s.MessagesUntil}, scanOptTime{&s.AttendanceUntil}, &s.MessagesGone, &s.AttendanceGone,
	}
}

// Expired lists meetings whose time passed after one moment and not after another, and that somebody is in, or
// waits to be let into.
func (s *Store) Expired(ctx context.Context, after, upTo time.Time) ([]string, error) {
	return pages(s, func(last string) (list []string, err error) {
		err = s.read(ctx, "list meetings whose time has passed", query{
			statement{
				sql: `SELECT meeting_id FROM meeting_state s WHERE expires_at > $1 AND expires_at <= $2 AND expires_at > created_at
					AND (EXISTS (SELECT 1 FROM participants p WHERE p.meeting_id = s.meeting_id)
					OR EXISTS (SELECT 1 FROM waiting w WHERE w.meeting_id = s.meeting_id))
					AND meeting_id > $3 ORDER BY meeting_id LIMIT $4`,
				args: []any{s.d.time(after), s.d.time(upTo), last, s.page},
			},
			func(r row) error {
				var id string
				err := r.Scan(&id)
				list = append(list, id)
				return err
			},
		})
		return list, err
	})
}

// CreateMeeting adds an audit row and the meeting's first state; ErrMeetingExists. It is durable when it
// returns. All creations wait for one another: each row's hash covers the one before.
func (s *Store) CreateMeeting(ctx context.Context, n NewMeeting) (Meeting, error) {
	if err := n.check(); err != nil {
		return Meeting{}, err
	}
	m := n.row()
	err := s.call(ctx, "create a meeting", func(ctx context.Context) error {
		head := query{
			statement{sql: s.sql.lockHead},
			func(r row) error { return r.Scan(&m.Seq, scanBytes{&m.PrevHash}) },
		}
		t, err := s.d.begin(ctx, txnOptions{gate: "audit", durable: true}, head)
		if err != nil {
			return err
		}
		if n.CreatedAt.IsZero() { // now that it is our turn: the order of times is that of the chain
			m.CreatedAt = stamp(time.Now())
		}
		m.Seq++
		m.Hash = ChainHash(m.PrevHash, m)
		if err := t.commit(ctx, s.creation(m, n)); err != nil {
			t.rollback(ctx)
			return err
		}
		return nil
	})
	if err != nil {
		return Meeting{}, err
	}
	if s.wake != nil {
		s.wake()
	}
	return m, nil
}

func (n NewMeeting) check() error {
	var t texts
	t.indexed("meeting id", n.ID)
	t.indexed("name", n.Name)
	t.plain("title", n.Title)
	t.optional("country", n.Country)
	t.optional("region", n.Region)
	t.optional("city", n.City)
	t.plain("geo source", n.GeoSource)
	t.plain("user agent", n.UserAgent)
	return t.err
}

// row is the audit row as it will be read back, still without its place in the chain.
func (n NewMeeting) row() Meeting {
	m := Meeting{
		ID: n.ID, Name: n.Name, CreatorIP: plainAddr(n.CreatorIP),
		Country: n.Country, Region: n.Region, City: n.City, GeoSource: n.GeoSource,
		UserAgent: n.UserAgent, CreatedAt: stamp(n.CreatedAt),
	}
	// Comparing so leaves NaN out too, which SQLite would turn into NULL. Adding 0 makes -0 of it 0,
	// as SQLite would.
	if n.Lat != nil && n.Lon != nil && math.Abs(*n.Lat) <= 90 && math.Abs(*n.Lon) <= 180 {
		lat, lon := *n.Lat+0, *n.Lon+0
		m.Lat, m.Lon = &lat, &lon
	}
	return m
}

func (s *Store) creation(m Meeting, n NewMeeting) []statement {
	created := s.d.time(m.CreatedAt)
	writes := []statement{
		{sql: insertMeeting, taken: ErrMeetingExists, args: []any{
			m.ID, m.Name, optAddr(s.d, m.CreatorIP), m.Country, m.Region, m.City, m.Lat, m.Lon,
			m.GeoSource, m.UserAgent, created, m.Seq, m.PrevHash, m.Hash, fold(m.Name), foldPtr(m.City),
		}},
		{sql: insertState, args: []any{
			m.ID, n.Title, jsonText(n.Policy), optBytes(n.PasswordHash), optBytes(n.HostKeyHash), created, optTime(s.d, n.ExpiresAt),
			int64(n.Retention / time.Second),
		}},
		{sql: updateHead, args: []any{m.Seq, m.Hash}},
	}
	if s.wake != nil {
		writes = append(writes, s.record(Event{Kind: MeetingCreated, MeetingID: m.ID, MeetingName: n.Title}))
	}
	return writes
}

// Meeting also says how many participants there are, away ones included; ErrMeetingNotFound. The audit row
// is empty where retention has deleted it.
func (s *Store) Meeting(ctx context.Context, id string) (m Meeting, st State, participants int, err error) {
	if err := key("meeting id", id); err != nil {
		return m, st, 0, err
	}
	found := false
	err = s.read(ctx, "read a meeting", query{
		statement{
			sql: `SELECT ` + stateColumns + `, (SELECT count(*) FROM participants p WHERE p.meeting_id = s.meeting_id AND ` + there + `)
				FROM meeting_state s WHERE meeting_id = $1`,
			args: []any{id},
		},
		func(r row) error { found = true; return r.Scan(append(stateDest(&st), &participants)...) },
	}, query{
		statement{sql: `SELECT ` + meetingColumns + ` FROM meetings m WHERE meeting_id = $1`, args: []any{id}},
		func(r row) error { return r.Scan(meetingDest(&m)...) },
	})
	if err == nil && !found {
		err = ErrMeetingNotFound
	}
	return m, st, participants, err
}

// Snapshot is one consistent read: the state with its rev, and every participant as of that rev, in
// order of joining; ErrMeetingNotFound.
func (s *Store) Snapshot(ctx context.Context, meetingID string) (State, []Participant, error) {
	var st State
	if err := key("meeting id", meetingID); err != nil {
		return st, nil, err
	}
	found := false
	state := query{
		statement{sql: `SELECT ` + stateColumns + ` FROM meeting_state s WHERE meeting_id = $1`, args: []any{meetingID}},
		func(r row) error { found = true; return r.Scan(stateDest(&st)...) },
	}
	everyone, list := participantsWhere(`meeting_id = $1 AND `+there, meetingID)
	lobby, waiting := waitingOf(meetingID)
	if err := s.read(ctx, "read a meeting's roster", state, everyone, lobby); err != nil {
		return State{}, nil, err
	}
	if !found {
		return State{}, nil, ErrMeetingNotFound
	}
	st.Waiting = *waiting
	return st, *list, nil
}
