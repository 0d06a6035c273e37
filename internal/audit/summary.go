package audit

import (
	"cmp"
	"slices"
	"time"

	"signald/internal/store"
)

// Summary is where and when meetings were created: of the newest rows that fit a filter, not of all.
type Summary struct {
	Rows      int       `json:"rows"`
	More      bool      `json:"more" doc:"there may be older rows that fit"`
	Places    []Place   `json:"places"`
	Nowhere   int       `json:"nowhere" doc:"rows whose place is unknown"`
	Histogram Histogram `json:"histogram"`
}

// Place is where meetings were created, and how many.
type Place struct {
	Country *string `json:"country"`
	City    *string `json:"city"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Count   int     `json:"count"`
}

// Histogram counts rows in spans of time, oldest first; empty if there are none.
type Histogram struct {
	From   time.Time `json:"from"`
	Span   int64     `json:"span_s"`
	Counts []int     `json:"counts"`
}

// SummaryRows are as many rows as a summary is of.
const SummaryRows = 10_000

const maxPlaces = 1000

// Summarize counts points, which are the newest first; more: there are others.
func Summarize(points []store.AuditPoint, more bool) Summary {
	s := Summary{Rows: len(points), More: more, Places: []Place{}, Histogram: Histogram{Counts: []int{}}}
	type spot struct{ lat, lon float64 }
	index := map[spot]int{}
	for _, p := range points {
		if p.Lat == nil || p.Lon == nil {
			s.Nowhere++
			continue
		}
		at := spot{*p.Lat, *p.Lon}
		i, known := index[at]
		if !known {
			i = len(s.Places)
			index[at] = i
			s.Places = append(s.Places, Place{Country: p.Country, City: p.City, Lat: at.lat, Lon: at.lon})
		}
		s.Places[i].Count++
	}
	slices.SortStableFunc(s.Places, func(a, b Place) int { return cmp.Compare(b.Count, a.Count) })
	s.Places = s.Places[:min(len(s.Places), maxPlaces)]
	if len(points) > 0 {
		s.Histogram = histogram(points)
	}
	return s
}

// spans are those that people think in.
var spans = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour,
}

const maxBars = 60

func histogram(points []store.AuditPoint) Histogram {
	newest, oldest := points[0].CreatedAt, points[len(points)-1].CreatedAt
	span := spans[len(spans)-1]
	for _, d := range spans {
		if newest.Sub(oldest.Truncate(d)) < maxBars*d {
			span = d
			break
		}
	}
	h := Histogram{From: oldest.Truncate(span).UTC(), Span: int64(span.Seconds())}
	h.Counts = make([]int, min(newest.Sub(h.From)/span+1, 1000))
	for _, p := range points {
		if i := int(p.CreatedAt.Sub(h.From) / span); i >= 0 && i < len(h.Counts) {
			h.Counts[i]++
		}
	}
	return h
}
