package store_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/store"
)

var scaleRows = flag.Int("scale.rows", 0, "rows for TestAuditAtScale; 0 skips it")

// TestAuditAtScale fills the audit and times what the admin asks of it, with the plans:
//
//	go test ./internal/store -run AuditAtScale -v -timeout 0 -args -scale.rows=10000000
func TestAuditAtScale(t *testing.T) {
	if *scaleRows == 0 {
		t.Skip("by hand: -scale.rows=10000000")
	}
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			side := raw(t, url)
			began := time.Now()
			fill(t, url, side, *scaleRows)
			t.Logf("%d rows with their chain and indexes: %v", *scaleRows, time.Since(began).Round(time.Second))
			askAtScale(t, s, *scaleRows)
			began = time.Now()
			if bad, err := s.VerifyAudit(t.Context(), nil); err != nil || bad != nil {
				t.Errorf("verify: %v, %v", bad, err)
			}
			t.Logf("verify: %v", time.Since(began).Round(time.Second))
		})
	}
}

// scaleStart and scaleStep: ten million rows are 3.2 years.
var (
	scaleStart = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	scaleStep  = 10 * time.Second
)

// made is the row of a number: countries, cities and networks of very different sizes.
func made(i int, rnd *rand.Rand) store.Meeting {
	country := int(rnd.ExpFloat64() * 12)
	code := string([]byte{'A' + byte(country/26%26), 'A' + byte(country%26)})
	city := fmt.Sprintf("City %s %d", code, int(rnd.ExpFloat64()*5))
	lat, lon := rnd.Float64()*140-60, rnd.Float64()*360-180
	var ip netip.Addr
	if rnd.IntN(10) == 0 {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint64(b[8:], rnd.Uint64())
		ip = netip.AddrFrom16(b)
	} else {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(10<<24)+uint32(rnd.ExpFloat64()*(1<<20))) //nolint:gosec // a size
		ip = netip.AddrFrom4(b)
	}
	const letters = "0123456789abcdefghjkmnpqrstvwxyz"
	id := make([]byte, 20)
	for j := range id {
		id[j] = letters[rnd.IntN(32)]
	}
	name := fmt.Sprintf("%c%c meeting %d", 'a'+rnd.IntN(26), 'a'+rnd.IntN(26), i)
	if i%3 == 0 {
		name = ip.String()
	}
	return store.Meeting{
		ID: string(id), Name: name, CreatorIP: ip, Country: &code, Region: &code, City: &city, Lat: &lat, Lon: &lon,
		GeoSource: "dbip", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		CreatedAt: scaleStart.Add(time.Duration(i)*scaleStep + time.Duration(rnd.IntN(2000))*time.Millisecond), Seq: int64(i + 1),
	}
}

var scaleIndexes = []string{"meetings_created_at", "meetings_creator_ip", "meetings_country", "meetings_city", "meetings_name"}

func fill(t *testing.T, url string, side *sql.DB, rows int) {
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same rows each time
	prev := make([]byte, 32)
	next := func(i int) store.Meeting {
		m := made(i, rnd)
		m.PrevHash = prev
		m.Hash = store.ChainHash(prev, m)
		prev = m.Hash
		return m
	}
	if isSQLite(url) {
		var definitions []string
		for _, name := range scaleIndexes {
			var text string
			if err := side.QueryRow(`SELECT sql FROM sqlite_master WHERE name = $1`, name).Scan(&text); err != nil {
				t.Fatal(err)
			}
			definitions = append(definitions, text)
			exec(t, side, `DROP INDEX `+name)
		}
		exec(t, side, `PRAGMA synchronous = OFF`, `PRAGMA cache_size = -500000`)
		fillSQLite(t, side, rows, next)
		exec(t, side, definitions...)
	} else {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		i := 0
		_, err = conn.CopyFrom(t.Context(), pgx.Identifier{"meetings"}, scaleColumns, pgx.CopyFromFunc(func() ([]any, error) {
			if i == rows {
				return nil, nil
			}
			m := next(i)
			i++
			return append([]any{netip.PrefixFrom(m.CreatorIP, m.CreatorIP.BitLen()), m.CreatedAt}, scaleValues(m)...), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		exec(t, side, `VACUUM ANALYZE meetings`)
	}
	if _, err := side.Exec(`UPDATE meetings_head SET seq = $1, hash = $2`, rows, prev); err != nil {
		t.Fatal(err)
	}
}

var scaleColumns = []string{
	"creator_ip", "created_at", "seq", "meeting_id", "name", "name_fold", "country", "region", "city", "city_fold", "lat", "lon",
	"geo_source", "user_agent", "prev_hash", "hash",
}

func scaleValues(m store.Meeting) []any {
	return []any{
		m.Seq, m.ID, m.Name, strings.ToLower(m.Name), *m.Country, *m.Region, *m.City, strings.ToLower(*m.City), *m.Lat, *m.Lon,
		m.GeoSource, m.UserAgent, m.PrevHash, m.Hash,
	}
}

func fillSQLite(t *testing.T, side *sql.DB, rows int, next func(int) store.Meeting) {
	text := `INSERT INTO meetings (` + strings.Join(scaleColumns, ", ") + `) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)`
	const atOnce = 200_000
	for begin := 0; begin < rows; begin += atOnce {
		tx, err := side.Begin()
		if err != nil {
			t.Fatal(err)
		}
		insert, err := tx.Prepare(text) //nolint:sqlclosecheck // ends with the transaction
		if err != nil {
			t.Fatal(err)
		}
		for i := begin; i < min(begin+atOnce, rows); i++ {
			m := next(i)
			family := byte(6)
			if m.CreatorIP.Is4() {
				family = 4
			}
			args := append([]any{append([]byte{family}, m.CreatorIP.AsSlice()...), m.CreatedAt.UnixMicro()}, scaleValues(m)...)
			if _, err := insert.Exec(args...); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// askAtScale asks each question five times and tells the fastest and the slowest answer.
func askAtScale(t *testing.T, s *store.Store, rows int) {
	day := 24 * time.Hour
	last := scaleStart.Add(time.Duration(rows) * scaleStep)
	middle := scaleStart.Add(time.Duration(rows/2) * scaleStep)
	old, _, err := s.AuditPoints(t.Context(), store.AuditQuery{To: middle}, 1)
	if err != nil || len(old) == 0 {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		what string
		q    store.AuditQuery
	}{
		{"everything", store.AuditQuery{}},
		{"a day in the middle", store.AuditQuery{From: middle, To: middle.Add(day)}},
		{"before the middle", store.AuditQuery{To: middle}},
		{"country, common", store.AuditQuery{Country: "AA"}},
		{"country, rare", store.AuditQuery{Country: "DZ"}},
		{"country, before the middle", store.AuditQuery{Country: "AA", To: middle}},
		{"city", store.AuditQuery{City: *old[0].City}},
		{"city common elsewhere, not in the country", store.AuditQuery{Country: "AC", City: "City AB 0"}},
		{"address", store.AuditQuery{IP: prefix("10.0.0.77/32")}},
		{"network /8, most rows", store.AuditQuery{IP: prefix("10.0.0.0/8")}},
		{"network /16, every sixteenth row", store.AuditQuery{IP: prefix("10.1.0.0/16")}},
		{"network /24", store.AuditQuery{IP: prefix("10.1.2.0/24")}},
		{"network without rows", store.AuditQuery{IP: prefix("192.0.2.0/24")}},
		{"network /16 in a country, before the middle", store.AuditQuery{IP: prefix("10.1.0.0/16"), Country: "AF", To: middle}},
		{"q, one letter", store.AuditQuery{Q: "a"}},
		{"q, two letters", store.AuditQuery{Q: "ab"}},
		{"q, a whole name", store.AuditQuery{Q: "ab meeting 12345"}},
		{"q, nothing fits", store.AuditQuery{Q: "zzzz"}},
		{"q, one letter, on one old day", store.AuditQuery{Q: "a", From: middle, To: middle.Add(day)}},
		{"q of the newest day, asked of the oldest", store.AuditQuery{Q: "b", To: scaleStart.Add(day)}},
		{"nothing: a day after the last", store.AuditQuery{From: last.Add(day)}},
	} {
		ask := func(f func() (int, error)) string {
			var took []time.Duration
			n := 0
			for range 5 {
				began := time.Now()
				var err error
				if n, err = f(); err != nil {
					return "FAILED: " + err.Error()
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			return fmt.Sprintf("%d rows, %.1f to %.1f ms", n, took[0].Seconds()*1000, took[4].Seconds()*1000)
		}
		page := ask(func() (int, error) {
			page, err := s.Audit(t.Context(), c.q)
			return len(page.Items), err
		})
		points := ask(func() (int, error) {
			points, _, err := s.AuditPoints(t.Context(), c.q, 10_000)
			return len(points), err
		})
		t.Logf("%s\n  page: %s; points: %s\n%s", c.what, page, points, s.ExplainAudit(t.Context(), c.q))
	}
}
