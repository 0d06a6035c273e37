package store_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/store"
)

// remains says what of text the database's files hold, byte for byte, and its log.
func remains(t *testing.T, path, text string) string {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var found strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte(text)); at >= 0 {
			fmt.Fprintf(&found, "%s of %d bytes, %d times: …%q… ", filepath.Base(f), len(b), bytes.Count(b, []byte(text)), b[max(0, at-20):min(len(b), at+40)])
		}
	}
	return found.String()
}

// TestFilesOfSQLiteHoldNothingOfAMeetingThatIsOver: neither pages that are free nor the log, whatever was
// moved between pages meanwhile.
func TestFilesOfSQLiteHoldNothingOfAMeetingThatIsOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "signald.db")
	s, err := store.Open(context.Background(), "sqlite:"+path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const meetings, mark = 12, "someone's"
	for i := range meetings {
		if _, err := s.CreateMeeting(t.Context(), store.NewMeeting{ID: fmt.Sprint("k", i)}); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same at each run
	text := func(most int) string {
		return strings.Repeat(mark+" ", 1+random.IntN(most)/len(mark))
	}
	there := make([][]store.Participant, meetings)
	for n := range 1200 {
		at := random.IntN(meetings)
		err := s.InMeeting(t.Context(), fmt.Sprint("k", at), func(ctx context.Context, tx *store.Tx) error {
			tx.NextRev()
			people := there[at]
			switch pick := random.IntN(10); {
			case n >= 1000 || pick < 2 && len(people) > 0: // all leave in the end
				for len(people) > 0 {
					if err := tx.Delete(ctx, people[0].PeerID, "leave"); err != nil {
						return err
					}
					if people = people[1:]; n < 1000 {
						break
					}
				}
				there[at] = people
				if n >= 1000 {
					st := tx.State()
					st.ExpiresAt = &st.CreatedAt
					tx.Forget()
				}
				return nil
			case pick < 5 || len(people) == 0:
				p := store.Participant{
					PeerID: fmt.Sprint("p_", n), UserID: text(60), Name: text(60), State: store.Online, SDP: []byte(text(9000)),
					Candidate: []byte(text(3000)), Fingerprint: text(30), ResumeHash: fmt.Append(nil, mark, n),
				}
				there[at] = append(people, p)
				return tx.Insert(ctx, p)
			case pick < 7:
				p := people[random.IntN(len(people))]
				p.Name, p.SDP = text(60), []byte(text(9000))
				return tx.Update(ctx, p)
			case pick < 8:
				tx.Admit(fmt.Append(nil, mark, n), time.Now().Add(time.Hour))
				if err := tx.Wait(store.Waiting{TicketID: fmt.Sprint("w", n), TicketHash: fmt.Append(nil, mark, n), UserID: text(60), Memo: text(200)}); err != nil {
					return err
				}
				return tx.Ban(store.Ban{PeerID: fmt.Sprint("p_", n), Kind: store.Banned, Person: store.Person{UserID: text(60)}, Name: text(60), Until: time.Now().Add(time.Hour)})
			default:
				return tx.Say(&store.Message{ID: fmt.Sprint("m", n), ClientID: fmt.Sprint("c", n), From: people[0].PeerID, Name: text(60), Text: text(4000)})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if remains(t, path, mark) == "" {
		t.Error("the search sees nothing of what was written: it proves nothing")
	}
	for more := true; more; { // as it is done every second
		var err error
		if more, err = s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // as it is done every minute
		if err := s.Purge(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if found := remains(t, path, mark); found != "" {
		t.Error(found)
	}
}
