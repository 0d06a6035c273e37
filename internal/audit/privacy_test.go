package audit_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/audit"
	"signald/internal/store"
)

func TestPrivacyKeepsNoMoreThanItSays(t *testing.T) {
	addr := netip.MustParseAddr
	hashed := audit.NewPrivacy(audit.Hashed, "the key")
	for _, c := range []struct {
		p        audit.Privacy
		ip, want string
	}{
		{audit.Privacy{}, "203.0.113.77", "203.0.113.77"},
		{audit.NewPrivacy(audit.Full, ""), "2001:db8:1:2::3", "2001:db8:1:2::3"},
		{audit.NewPrivacy(audit.Truncated, ""), "203.0.113.77", "203.0.113.0"},
		{audit.NewPrivacy(audit.Truncated, ""), "::ffff:203.0.113.77", "203.0.113.0"},
		{audit.NewPrivacy(audit.Truncated, ""), "2001:db8:1:2::3%eth0", "2001:db8:1::"},
		{hashed, "203.0.113.77", hashed.Of(addr("::ffff:203.0.113.77")).String()},
	} {
		if got := c.p.Of(addr(c.ip)); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.ip, got, c.want)
		}
		if c.p.Of(netip.Addr{}).IsValid() {
			t.Error("an unknown address is kept")
		}
	}
	a := hashed.Of(addr("203.0.113.77"))
	if !netip.MustParsePrefix("fd00::/8").Contains(a) || a == hashed.Of(addr("203.0.113.78")) ||
		a == audit.NewPrivacy(audit.Hashed, "another key").Of(addr("203.0.113.77")) {
		t.Errorf("hashed: %s", a)
	}
	if got := hashed.Sought(netip.MustParsePrefix("203.0.113.77/32")); got != a {
		t.Errorf("sought under %s", got)
	}
	if hashed.Sought(netip.MustParsePrefix("203.0.113.0/24")).IsValid() || (audit.Privacy{}).Sought(netip.MustParsePrefix("203.0.113.77/32")).IsValid() {
		t.Error("sought under more than it may be kept as")
	}
}

func TestOnlyWhatIsWantedIsRecorded(t *testing.T) {
	db, err := store.Open(context.Background(), "sqlite::memory:", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	event := store.NewAuditEvent{Kind: store.EventLoginFailed, IP: netip.MustParseAddr("203.0.113.77")}
	(*audit.Recorder)(nil).Record(t.Context(), event)
	(&audit.Recorder{Store: db, Groups: []string{audit.Actions}}).Record(t.Context(), event)
	wanted := &audit.Recorder{Store: db, Groups: []string{audit.Logins}, Privacy: audit.NewPrivacy(audit.Truncated, "")}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wanted.Record(gone, event) // who asked has gone; what he did is recorded
	list, _, err := db.AuditEvents(t.Context(), store.AuditEventQuery{})
	if err != nil || len(list) != 1 || list[0].IP.String() != "203.0.113.0" {
		t.Errorf("%+v, %v", list, err)
	}
}
