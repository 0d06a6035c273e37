package geo

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// The databases of these tests are written by the tests; none is committed.

type records map[string]mmdbtype.Map

var (
	london = mmdbtype.Map{
		"country":      mmdbtype.Map{"iso_code": mmdbtype.String("GB"), "names": names("United Kingdom", "英国")},
		"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("ENG"), "names": names("England", "")}},
		"city":         mmdbtype.Map{"names": names("London", "伦敦")},
		"location":     mmdbtype.Map{"latitude": mmdbtype.Float64(51.5142), "longitude": mmdbtype.Float64(-0.0931)},
	}
	changchun = mmdbtype.Map{
		"country":      mmdbtype.Map{"iso_code": mmdbtype.String("CN"), "names": names("China", "中国")},
		"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("22"), "names": names("Jilin Sheng", "吉林省")}},
		"city":         mmdbtype.Map{"names": names("Changchun", "长春")},
		"location":     mmdbtype.Map{"latitude": mmdbtype.Float64(43.88), "longitude": mmdbtype.Float64(125.3228)},
	}
	franceOnly = mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("FR"), "names": names("France", "法国")}}
)

func names(en, zh string) mmdbtype.Map {
	m := mmdbtype.Map{"en": mmdbtype.String(en)}
	if zh != "" {
		m["zh-CN"] = mmdbtype.String(zh)
	}
	return m
}

// flat is a record of an ip-location-db city file, empty fields and float32 included.
func flat(country, region, city string, lat, lon float32) mmdbtype.Map {
	return mmdbtype.Map{
		"country_code": mmdbtype.String(country), "state1": mmdbtype.String(region), "state2": mmdbtype.String(""),
		"city": mmdbtype.String(city), "postcode": mmdbtype.String(""), "timezone": mmdbtype.String(""),
		"latitude": mmdbtype.Float32(lat), "longitude": mmdbtype.Float32(lon),
	}
}

func flatCountry(country string) mmdbtype.Map {
	return mmdbtype.Map{"country_code": mmdbtype.String(country)}
}

// database returns a file's content. As in the real ones, a flat type that ends in "ipv4" has an IPv4 tree.
func database(t testing.TB, kind string, networks records) []byte {
	t.Helper()
	options := mmdbwriter.Options{
		DatabaseType: kind, RecordSize: 28, IPVersion: 6, IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
		BuildEpoch: time.Date(2026, 6, 5, 0, 0, 0, 0, time.UTC).Unix(),
	}
	if kind == "city ipv4" || kind == "country ipv4" {
		options.IPVersion = 4
	}
	tree, err := mmdbwriter.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for cidr, record := range networks {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var content bytes.Buffer
	if _, err := tree.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func maxMindCity(t testing.TB) []byte {
	t.Helper()
	return database(t, "GeoLite2-City", records{
		"81.2.69.142/31": london, "175.16.199.0/24": changchun, "2001:db8:1::/48": changchun,
		"203.0.113.0/24": franceOnly,
	})
}

// write puts content at path the way a careful downloader does: whole or not at all.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// overwrite puts content into the file that is there, as cp does.
func overwrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	// A clock tick later, whatever the file system's resolution.
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, content)
	return path
}
