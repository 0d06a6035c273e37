package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestGoldenAnswers: those whose types are this package's own. The others are in
// internal/protocol.
func TestGoldenAnswers(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 21, hour, 0, 0, 0, time.UTC) }
	left := at(9)
	for name, body := range map[string]any{
		"meeting_created": createdMeeting{
			MeetingID: "7h2k9m4p0qrstvwx3z8y", Name: "周会", HostKey: "hk_AAAAAAAAAAAAAAAAAAAAAA",
			JoinURL:   "https://meet.example.org/m/7h2k9m4p0qrstvwx3z8y",
			CreatedAt: time.Date(2026, 11, 21, 8, 0, 0, 123456000, time.UTC),
		},
		"meeting_info": meetingInfo{MeetingID: "K7F3", Name: "周会", Participants: 3},
		"attendees": attendance{
			MeetingID: "K7F3", Name: "周会", At: at(9), Attendance: true,
			Attendees: []attendee{
				{"p_9c8b7a6d5e4f3g2h", "王宇", "王宇", "host", true, at(8), nil},
				{"p_1a2b3c4d5e6f7g8h", "Ada", "Ada", "guest", false, at(8), &left},
			},
			Banned: []banned{{"p_2b2b2b2b2b2b2b2b", "Eve", "Eve", "kicked", at(8), at(9)}},
		},
	} {
		file, err := os.ReadFile("../protocol/testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, file); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		answer(w, 200, body)
		if got := strings.TrimSpace(w.Body.String()); got != want.String() {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want.String())
		}
	}
}
