package geo

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

// fetched are the files of `make geo`, if the environment says where: SIGNALD_TEST_GEOIP_DB, a comma list.
func fetched(t testing.TB) []string {
	t.Helper()
	list := os.Getenv("SIGNALD_TEST_GEOIP_DB")
	if list == "" {
		t.Skip("SIGNALD_TEST_GEOIP_DB names no files; try: make geo geo-test")
	}
	return strings.Split(list, ",")
}

func TestFetchedFilesKnowWellKnownAddresses(t *testing.T) {
	db, warnings := opened(t, fetched(t)...)
	for addr, country := range map[string]string{"8.8.8.8": "US", "114.114.114.114": "CN"} {
		p := lookup(db, addr)
		if p.Country != country || p.City == "" || p.Lat == nil {
			t.Errorf("%s: %+v, want a city in %s", addr, p, country)
		}
		name, _, _ := p.Names("zh-CN")
		t.Log(addr, p.Country, name, p.Region, p.City, p.Source)
	}
	if p := lookup(db, "2001:4860:4860::8888"); !p.Known() {
		t.Error("no IPv6 address is known")
	}
	if !strings.Contains(db.Attribution(), "DB-IP") {
		t.Errorf("attribution %q", db.Attribution())
	}
	if warned(warnings) != 0 {
		t.Errorf("warned: %s", warnings)
	}
}

func BenchmarkFetchedLookup(b *testing.B) {
	db, _ := opened(b, fetched(b)...)
	addr := netip.MustParseAddr("114.114.114.114")
	b.ReportAllocs()
	for b.Loop() {
		db.Lookup(addr)
	}
}

func BenchmarkFetchedReload(b *testing.B) {
	db, _ := opened(b, fetched(b)...)
	for b.Loop() {
		db.Reload()
	}
}
