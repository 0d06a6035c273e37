package store

import (
	"context"
	"time"
)

// AddAdminSession stores a session of the admin. Purge deletes it when it has expired.
func (s *Store) AddAdminSession(ctx context.Context, tokenHash, proof []byte, expires time.Time) error {
	return s.write(ctx, "open an admin session",
		statement{
			sql:  `INSERT INTO admin_sessions (token_hash, proof, expires_at) VALUES ($1, $2, $3)`,
			args: []any{tokenHash, proof, s.d.time(expires)},
		})
}

// AdminSession answers the session's proof and its end; nil if there is no such session.
func (s *Store) AdminSession(ctx context.Context, tokenHash []byte) (proof []byte, expires time.Time, err error) {
	err = s.read(ctx, "read an admin session", query{
		statement{sql: `SELECT proof, expires_at FROM admin_sessions WHERE token_hash = $1`, args: []any{someBytes(tokenHash)}},
		func(r row) error { return r.Scan(scanBytes{&proof}, scanTime{&expires}) },
	})
	return proof, expires, err
}

// EndAdminSession forgets a session.
func (s *Store) EndAdminSession(ctx context.Context, tokenHash []byte) error {
	return s.write(ctx, "end an admin session",
		statement{sql: `DELETE FROM admin_sessions WHERE token_hash = $1`, args: []any{someBytes(tokenHash)}})
}
