package audit_test

import (
	"slices"
	"testing"
	"time"

	"signald/internal/audit"
	"signald/internal/store"
)

func TestSummaryCountsPlacesAndTimes(t *testing.T) {
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	at := func(lat, lon float64, city string, after time.Duration) store.AuditPoint {
		return store.AuditPoint{CreatedAt: day.Add(after), City: &city, Lat: &lat, Lon: &lon}
	}
	got := audit.Summarize([]store.AuditPoint{
		at(1, 2, "b", 49*time.Hour), at(3, 4, "a", 3*time.Hour), {CreatedAt: day.Add(2 * time.Hour)}, at(1, 2, "b", time.Minute),
	}, false)
	if got.Rows != 4 || got.More || got.Nowhere != 1 || len(got.Places) != 2 || *got.Places[0].City != "b" || got.Places[0].Count != 2 || got.Places[1].Lat != 3 {
		t.Errorf("%+v", got)
	}
	want := make([]int, 50)
	want[0], want[2], want[3], want[49] = 1, 1, 1, 1
	if h := got.Histogram; !h.From.Equal(day) || h.Span != 3600 || !slices.Equal(h.Counts, want) {
		t.Errorf("%+v", h)
	}

	if none := audit.Summarize(nil, false); none.Rows != 0 || len(none.Histogram.Counts) != 0 {
		t.Errorf("%+v", none)
	}
	many := make([]store.AuditPoint, audit.SummaryRows)
	for i := range many {
		many[i].CreatedAt = day.Add(-time.Duration(i) * 365 * 24 * time.Hour / 10)
	}
	if all := audit.Summarize(many, true); all.Rows != audit.SummaryRows || !all.More || len(all.Histogram.Counts) > 1000 {
		t.Errorf("%d rows, more %v, %d bars", all.Rows, all.More, len(all.Histogram.Counts))
	}
}
