package store

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Cluster is what the nodes that share a database have in common.
type Cluster struct {
	Root []byte    // a secret of this database; that of a copy is another one
	Now  time.Time // by the database's clock
}

// Cluster reads it.
func (s *Store) Cluster(ctx context.Context) (c Cluster, err error) {
	var secret []byte
	var database string
	ask := func(which string) error {
		return s.read(ctx, "read the cluster's secret", query{
			statement{sql: `SELECT secret, ` + which + `, ` + s.d.words().now + ` FROM cluster_secret WHERE one = 1`},
			func(r row) error { return r.Scan(scanBytes{&secret}, &database, scanTime{&c.Now}) },
		})
	}
	which := s.d.words().database
	for ok := false; !ok && len(which) > 0; which = which[1:] { // not everybody may ask for the first
		err = ask(which[0])
		ok = err == nil || errors.Is(err, ErrUnavailable)
	}
	c.Root = slices.Concat(secret, []byte(database))
	return c, err
}
