package httpapi_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"signald/internal/httpapi"
	"signald/internal/participants"
	"signald/internal/protocol"
)

// enter joins a meeting as someone.
func (s *site) enter(t *testing.T, j protocol.Join) *participants.Joined {
	t.Helper()
	j.Version = 2
	if err := j.Validate(); err != nil {
		t.Fatal(err)
	}
	joined, err := s.participants.Join(t.Context(), &j, connection(t))
	if err != nil {
		t.Fatal(err)
	}
	joined.Seat.Start()
	return joined
}

func TestAttendeesAreAFileForTheHost(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		made := s.want(t, post("/api/v1/meetings", `{"name":"weekly"}`), 201, "")
		key, path := made.text("meeting_id"), "/api/v1/meetings/"+made.text("meeting_id")+"/attendees"
		host := s.enter(t, protocol.Join{MeetingID: key, UserID: "host", HostKey: made.text("host_key")})
		guest := s.enter(t, protocol.Join{MeetingID: key, UserID: "=1+1", Name: "@SUM(A1)"})
		gone := s.enter(t, protocol.Join{MeetingID: key, UserID: "gone"})
		if err := s.participants.Leave(t.Context(), gone.Seat, false); err != nil {
			t.Fatal(err)
		}

		for what, got := range map[string]response{
			"nobody":       s.want(t, get(path), 401, "unauthorized"),
			"made up":      s.want(t, get(path).bearer("hk_x"), 401, "unauthorized"),
			"a guest":      s.want(t, get(path).bearer(guest.ResumeToken), 403, "forbidden"),
			"the admin":    s.want(t, get(path).bearer(adminToken), 401, "unauthorized"),
			"no meeting":   s.want(t, get("/api/v1/meetings/none/attendees").bearer(made.text("host_key")), 401, "unauthorized"),
			"wrong format": s.want(t, get(path+"?format=xml").bearer(made.text("host_key")), 400, "invalid_payload"),
		} {
			if body := got.Body.String(); strings.Contains(body, "SUM") || strings.Contains(body, "host\"") || got.Header().Get("Content-Disposition") != "" {
				t.Errorf("%s: %s", what, body)
			}
		}

		for _, secret := range []string{made.text("host_key"), host.ResumeToken} {
			got := s.want(t, get(path).bearer(secret), 200, "")
			list := got.fields["attendees"].([]any)
			if len(list) != 2 || got.text("name") != "weekly" || got.fields["attendance"] != false || len(got.fields["banned"].([]any)) != 0 {
				t.Errorf("%s", got.Body)
			}
			first := list[0].(map[string]any)
			if first["user_id"] != "host" || first["role"] != "host" || first["present"] != true || first["left_at"] != nil {
				t.Errorf("%v", first)
			}
			if got.Header().Get("Content-Disposition") != `attachment; filename="attendees.json"` || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%v", got.Header())
			}
			if strings.Contains(got.Body.String(), "198.51.100") {
				t.Errorf("an address: %s", got.Body)
			}
		}

		got := s.want(t, get(path+"?format=csv").bearer(made.text("host_key")), 200, "")
		rows, err := csv.NewReader(got.Body).ReadAll()
		if err != nil || len(rows) != 3 || got.Header().Get("Content-Disposition") != `attachment; filename="attendees.csv"` {
			t.Fatalf("%v %v %v", rows, err, got.Header())
		}
		if name, user := rows[2][3], rows[2][4]; name != "'@SUM(A1)" || user != "'=1+1" {
			t.Errorf("a spreadsheet would compute %q, %q", name, user)
		}
	})
}

func TestAttendanceListsWhoHasLeftIfTheMeetingWasCreatedSo(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		made := s.want(t, post("/api/v1/meetings", `{"attendance":true,"retention_s":3600}`), 201, "")
		key, path := made.text("meeting_id"), "/api/v1/meetings/"+made.text("meeting_id")+"/attendees"
		guest := s.enter(t, protocol.Join{MeetingID: key, UserID: "guest"})
		if !guest.Roster.State.Attendance {
			t.Error("the guest is not told")
		}
		if err := s.participants.Leave(t.Context(), guest.Seat, false); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also when everybody has left, and after the end
			got := s.want(t, get(path).bearer(made.text("host_key")), 200, "")
			list := got.fields["attendees"].([]any)
			if len(list) != 1 || got.fields["attendance"] != true {
				t.Fatalf("%s", got.Body)
			}
			if row := list[0].(map[string]any); row["user_id"] != "guest" || row["present"] != false || row["left_at"] == nil {
				t.Errorf("%v", row)
			}
			if err := s.participants.End(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		for _, body := range []string{`{"retention_s":-1}`, `{"retention_s":7776001}`, `{"attendance":"yes"}`} {
			s.want(t, post("/api/v1/meetings", body), 400, "invalid_payload")
		}
	})
}

func TestWrongHostKeysRefuseNoRightOne(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Guesses = guesses(20) })
	made := s.want(t, post("/api/v1/meetings", ""), 201, "")
	path := "/api/v1/meetings/" + made.text("meeting_id") + "/attendees"
	for range 40 {
		s.want(t, get(path).bearer("hk_guess"), 401, "unauthorized")
	}
	s.want(t, get(path).bearer(made.text("host_key")), 200, "")
}
