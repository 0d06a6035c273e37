package geo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/geoip2-golang"
	"github.com/oschwald/maxminddb-golang"
)

// The sentences the licences ask for wherever results are shown.
const (
	creditDBIP    = "IP geolocation by DB-IP (https://db-ip.com)"
	creditGeoLite = "This product includes GeoLite data created by MaxMind, available from https://www.maxmind.com"
)

var (
	errChanging = errors.New("being written")
	errNoPlaces = errors.New("holds no places")
)

// source is one opened database file.
type source struct {
	name        string // as in Place.Source
	kind        string // what the file calls itself: its database_type
	credit      string // empty = the licence asks for none, or nobody knows whose it is
	countryOnly bool
	ipv4Only    bool

	find  func(net.IP) (Place, error)
	close func() error

	reported atomic.Bool // damage met by a lookup is warned of once
}

// lookup never panics: the readers check bounds, and where a damaged file gets past them, it is an
// error like any other damage.
func (s *source) lookup(ip net.IP) (p Place, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = Place{}, fmt.Errorf("damaged: %v", r)
		}
	}()
	if s.ipv4Only && len(ip) == net.IPv6len {
		return Place{}, nil
	}
	p, err = s.find(ip)
	if err != nil {
		return Place{}, err
	}
	if p != (Place{}) {
		p.Source = s.name
	}
	return p, nil
}

// openSource reads the file at path into a source that nobody can change under us, and the FileInfo
// of exactly what was read; that is given with an error too, when the content is at fault, so
// that the caller need not read it again before it changes.
//
// The database is mapped, not held on the heap: the two DB-IP city files are 134 MB, which as heap
// would count twice in the collector's target. What is mapped is a private, already unlinked copy:
// with the file itself mapped, writing over it in place (cp, a download) would change answers
// halfway, and truncating it would end the process with SIGBUS. The copy costs the file's disk space, and
// loading both files 80 ms in all; where there is no temporary folder, the heap has to do.
func openSource(path string) (_ *source, _ os.FileInfo, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r) // the reader trusts some of the metadata's numbers
		}
	}()
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	opener, cleanup, err := private(file)
	if err != nil {
		return nil, nil, err
	}
	defer cleanup()
	after, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !unchanged(before, after) {
		return nil, nil, errChanging
	}

	meta, err := check(opener)
	if err != nil {
		return nil, after, err
	}
	s, err := open(opener, meta)
	if err != nil {
		return nil, after, err
	}
	base := filepath.Base(path)
	built := time.Unix(int64(min(meta.BuildEpoch, 1<<40)), 0).UTC()
	s.name = clean(strings.TrimSuffix(base, ".mmdb") + " " + built.Format(time.DateOnly))
	s.kind = clean(meta.DatabaseType)
	s.credit = creditFor(base, meta.DatabaseType)
	s.ipv4Only = meta.IPVersion == 4
	return s, after, nil
}

// opener opens the same content as often as asked, in either library.
type opener struct {
	raw     func() (*maxminddb.Reader, error)
	maxmind func() (*geoip2.Reader, error)
}

// private copies what file holds to where only this process sees it.
func private(file *os.File) (opener, func(), error) {
	if tmp, err := os.CreateTemp("", "geo-*.mmdb"); err == nil {
		path := tmp.Name()
		cleanup := func() { os.Remove(path) } // mappings stay; a leftover is the system's to clear
		_, err := io.Copy(tmp, file)
		if err = errors.Join(err, tmp.Close()); err == nil {
			return opener{
				raw:     func() (*maxminddb.Reader, error) { return maxminddb.Open(path) },
				maxmind: func() (*geoip2.Reader, error) { return geoip2.Open(path) },
			}, cleanup, nil
		}
		cleanup()
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return opener{}, nil, err
		}
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return opener{}, nil, err
	}
	return opener{
		raw:     func() (*maxminddb.Reader, error) { return maxminddb.FromBytes(data) },
		maxmind: func() (*geoip2.Reader, error) { return geoip2.FromBytes(data) },
	}, func() {}, nil
}

// check looks addresses up all over the address space and discards the reader, and with it the
// pages that this touched. A file cut off lacks the metadata at its end and does not open; one with a
// hole in it opens, and fails here unless the hole is small. (The library's Verify walks everything,
// and refuses flat files for want of a description.)
func check(opener opener) (maxminddb.Metadata, error) {
	reader, err := opener.raw()
	if err != nil {
		return maxminddb.Metadata{}, err
	}
	defer reader.Close()
	const probes = 256
	for i := range uint32(probes) {
		ip := make(net.IP, net.IPv4len)
		if reader.Metadata.IPVersion == 6 && i%2 == 0 { // the other half asks the IPv4 part, if it has one
			ip = make(net.IP, net.IPv6len)
		}
		binary.BigEndian.PutUint32(ip, i<<24|0x00_10_20_30)
		if len(ip) == net.IPv6len {
			ip[0] = 0x20 | ip[0]>>3 // 2000::/3, where the addresses are
		}
		var record any
		if err := reader.Lookup(ip, &record); err != nil {
			return maxminddb.Metadata{}, err
		}
	}
	return reader.Metadata, nil
}

// open decides by what the file says of itself how its records are shaped.
func open(opener opener, meta maxminddb.Metadata) (*source, error) {
	switch flat, _, _ := strings.Cut(meta.DatabaseType, " "); flat {
	case "city", "country": // ip-location-db: "city ipv4", "country", "country ipv6" …
		reader, err := opener.raw()
		if err != nil {
			return nil, err
		}
		return &source{
			countryOnly: flat == "country",
			find:        func(ip net.IP) (Place, error) { return findFlat(reader, ip) },
			close:       reader.Close,
		}, nil
	}
	reader, err := opener.maxmind()
	if err == nil {
		if _, err = reader.City(net.IPv4(192, 0, 2, 1)); err == nil {
			return &source{
				countryOnly: strings.Contains(meta.DatabaseType, "Country"),
				find:        func(ip net.IP) (Place, error) { return findMaxMind(reader, ip) },
				close:       reader.Close,
			}, nil
		}
	}
	if reader != nil { // also given with an error
		reader.Close()
	}
	if errors.As(err, new(geoip2.UnknownDatabaseTypeError)) || errors.As(err, new(geoip2.InvalidMethodError)) {
		return nil, fmt.Errorf("%w: database type %q", errNoPlaces, clean(meta.DatabaseType))
	}
	return nil, err
}

func findMaxMind(reader *geoip2.Reader, ip net.IP) (Place, error) {
	record, err := reader.City(ip)
	if err != nil {
		return Place{}, err
	}
	p := Place{
		Country: countryCode(record.Country.IsoCode),
		City:    clean(record.City.Names["en"]),
		CityZH:  clean(record.City.Names["zh-CN"]),
	}
	if len(record.Subdivisions) > 0 {
		p.Region = clean(record.Subdivisions[0].Names["en"])
		p.RegionZH = clean(record.Subdivisions[0].Names["zh-CN"])
	}
	p.Lat, p.Lon = coordinates(record.Location.Latitude, record.Location.Longitude)
	return p, nil
}

func findFlat(reader *maxminddb.Reader, ip net.IP) (Place, error) {
	var record struct {
		Country string  `maxminddb:"country_code"`
		Region  string  `maxminddb:"state1"`
		City    string  `maxminddb:"city"`
		Lat     float64 `maxminddb:"latitude"`
		Lon     float64 `maxminddb:"longitude"`
	}
	if err := reader.Lookup(ip, &record); err != nil {
		return Place{}, err
	}
	p := Place{Country: countryCode(record.Country), Region: clean(record.Region), City: clean(record.City)}
	p.Lat, p.Lon = coordinates(record.Lat, record.Lon)
	return p, nil
}

// creditFor goes by the file's name, too: flat files do not say whose data they are.
func creditFor(base, kind string) string {
	switch name := strings.ToLower(base + " " + kind); {
	case strings.Contains(name, "dbip"), strings.Contains(name, "db-ip"):
		return creditDBIP
	case strings.Contains(name, "geolite"):
		return creditGeoLite
	}
	return ""
}

// unchanged reports whether two looks at a path saw the same content: a new file moved into its
// place differs in identity even when size and time are the same.
func unchanged(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
