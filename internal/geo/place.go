package geo

import (
	"math"
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Place is where an address is, as far as the files know. The zero value is "unknown". What a file
// says has been cleaned: text is valid UTF-8 without control characters, Country is an ISO 3166-1
// code or empty, Lat and Lon are both nil or both a point on Earth.
type Place struct {
	Country string // two letters, "GB"
	Region  string // English; the first subdivision
	City    string // English

	// Chinese names exist in MaxMind-shaped files only, and not for every place. Empty = none.
	RegionZH string
	CityZH   string

	Lat, Lon *float64 // nil = unknown

	Source string // the file that answered and the day it was built, "dbip-city-ipv4 2026-06-05"
}

// Known reports whether anything at all is known.
func (p Place) Known() bool { return p.Source != "" }

// Names returns the place's names for a reader of lang, a BCP 47 tag such as "zh-CN". The country is
// named in any language; region and city are in English where there is no name in the reader's.
func (p Place) Names(lang string) (country, region, city string) {
	country, region, city = CountryName(p.Country, lang), p.Region, p.City
	if base, _ := language.Make(lang).Base(); base.String() == "zh" {
		if p.RegionZH != "" {
			region = p.RegionZH
		}
		if p.CityZH != "" {
			city = p.CityZH
		}
	}
	return country, region, city
}

// CountryName names the country with the two-letter code for a reader of lang. A language without
// names gets English, a code without a name itself.
func CountryName(code, lang string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	namer := display.Regions(language.Make(lang))
	if namer == nil {
		namer = display.Regions(language.English)
	}
	if name := namer.Name(region); name != "" {
		return name
	}
	return code
}

// cgnat is the shared address space of carriers (RFC 6598), the one range netip has no word for.
var cgnat = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether addr can be anywhere at all: no file knows where a private network is.
// The documentation ranges count as public, tests use them.
func public(addr netip.Addr) bool {
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !cgnat.Contains(addr)
}

// clean makes a file's word fit for a database column and a page: PostgreSQL refuses NUL and invalid
// UTF-8, and a damaged file must not fail the caller who stores the place.
func clean(s string) string {
	const longest = 128 // bytes, far above any place's name
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	return strings.TrimSpace(s)
}

func countryCode(s string) string {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return ""
	}
	return s
}

// coordinates rounds to four decimals (11 m): no database is finer, and flat files carry float32,
// which would otherwise read 37.42200088500977. 0,0 is how MaxMind's Go type says "none".
func coordinates(lat, lon float64) (*float64, *float64) {
	if math.IsNaN(lat) || math.IsNaN(lon) || math.Abs(lat) > 90 || math.Abs(lon) > 180 || (lat == 0 && lon == 0) {
		return nil, nil
	}
	lat, lon = math.Round(lat*1e4)/1e4, math.Round(lon*1e4)/1e4
	return &lat, &lon
}
