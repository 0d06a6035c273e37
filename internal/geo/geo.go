// Package geo says where an address is, from database files on disk.
//
// It is made never to be in the way: what it does not know is the zero Place. A file that is missing,
// damaged or half-written costs one warning; what was loaded before stays in use.
package geo

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// LookEvery is how often Look should be called.
const LookEvery = 30 * time.Second

// DB answers from the files it was opened with. All methods are safe for concurrent use.
type DB struct {
	log zerolog.Logger

	// Held for a whole round of looking at files, which is I/O: nobody but another round waits for it.
	reloading sync.Mutex
	files     []*file // in order of preference; nil = closed

	// Readers hold mu while they search the mappings, a microsecond or two. So once a writer had it,
	// no lookup can still be in the source that was taken out, and it is closed without counting
	// references. An atomic pointer would need such counts to be as safe, and lookups are rare:
	// one for each meeting created.
	mu      sync.RWMutex
	sources []*source // by index of files, nil = none loaded; written under both locks
}

// file is what we remember of a path between two looks at it.
type file struct {
	path    string
	seen    os.FileInfo // as it was when its content was last read, good or bad; nil = never
	failing bool        // the warning is out
}

// Open loads the files at paths; the first that knows an address answers, and files that know
// countries only fill in a country that none of the others knew. It cannot fail: what cannot be read is
// warned of, and taken up by Look or Reload when it can.
func Open(paths []string, log zerolog.Logger) *DB {
	db := &DB{log: log, sources: make([]*source, len(paths))}
	for _, path := range paths {
		db.files = append(db.files, &file{path: path})
	}
	db.look(false)
	return db
}

// Look takes up files that have changed, or can be read at last. Files are polled, once every LookEvery: they
// may be on any mount, and half a minute late is early for data that changes monthly.
func (db *DB) Look(context.Context) error {
	db.look(false)
	return nil // what cannot be read was warned of, and is tried again
}

// Reload reads all files anew, changed or not, and returns when what could be read is in use.
func (db *DB) Reload() { db.look(true) }

// Close lets go of the files; after it every address is unknown.
func (db *DB) Close() {
	db.reloading.Lock()
	defer db.reloading.Unlock()
	db.files = nil
	for i := range db.sources {
		db.replaceLocked(i, nil)
	}
}

// Lookup says where addr is.
func (db *DB) Lookup(addr netip.Addr) Place {
	addr = addr.Unmap().WithZone("")
	if !public(addr) {
		return Place{}
	}
	place, damaged, err := db.search(addr.AsSlice())
	if damaged != nil && damaged.reported.CompareAndSwap(false, true) {
		db.log.Warn().Str("file", damaged.name).Err(err).Msg("geo database damaged, some places are unknown")
	}
	return place
}

// search also names the last source that could not read its own record.
func (db *DB) search(ip net.IP) (place Place, damaged *source, damage error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, countryOnly := range []bool{false, true} {
		for _, s := range db.sources {
			if s == nil || s.countryOnly != countryOnly {
				continue
			}
			found, err := s.lookup(ip)
			switch {
			case err != nil:
				damaged, damage = s, err
			case !found.Known():
			case !place.Known():
				place = found
			case place.Country == "" && found.Country != "":
				place.Country = found.Country
			}
			if place.Country != "" {
				return place, damaged, damage
			}
			if place.Known() {
				break // the next city file may speak of another place
			}
		}
	}
	return place, damaged, damage
}

// Attribution is what the licences of the files in use ask to be shown where results are shown,
// sentence by sentence; empty if nothing is.
func (db *DB) Attribution() string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	var credits []string
	for _, s := range db.sources {
		if s != nil && s.credit != "" && !slices.Contains(credits, s.credit) {
			credits = append(credits, s.credit)
		}
	}
	return strings.Join(credits, "; ")
}

// look loads each file that is not as it was when last read; all of them if forced.
func (db *DB) look(forced bool) {
	db.reloading.Lock()
	defer db.reloading.Unlock()
	for i, f := range db.files {
		now, err := os.Stat(f.path)
		if err == nil && !forced && unchanged(f.seen, now) {
			continue
		}
		var s *source
		f.seen = nil
		if err == nil {
			s, f.seen, err = openSource(f.path)
		}
		if err != nil {
			if !f.failing {
				f.failing = true
				db.log.Warn().Str("file", f.path).Err(err).Bool("previous_in_use", db.sources[i] != nil).
					Msg("geo database not usable")
			}
			continue
		}
		f.failing = false
		db.replaceLocked(i, s)
		db.log.Info().Str("file", f.path).Str("type", s.kind).Str("source", s.name).Msg("geo database loaded")
	}
}

// replaceLocked needs reloading held. It closes the old source once no lookup is in it.
func (db *DB) replaceLocked(i int, s *source) {
	db.mu.Lock()
	old := db.sources[i]
	db.sources[i] = s
	db.mu.Unlock()
	if old == nil {
		return
	}
	if err := old.close(); err != nil {
		db.log.Warn().Str("source", old.name).Err(err).Msg("geo database not closed")
	}
}
