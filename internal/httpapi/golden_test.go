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
	for name, body := range map[string]any{
		"meeting_created": createdMeeting{
			MeetingID: "7h2k9m4p0qrstvwx3z8y", Name: "周会", HostKey: "hk_AAAAAAAAAAAAAAAAAAAAAA",
			JoinURL:   "https://meet.example.org/m/7h2k9m4p0qrstvwx3z8y",
			CreatedAt: time.Date(2026, 11, 21, 8, 0, 0, 123456000, time.UTC),
		},
		"meeting_info": meetingInfo{MeetingID: "K7F3", Name: "周会", Participants: 3},
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
