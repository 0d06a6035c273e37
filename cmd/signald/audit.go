package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"signald/internal/audit"
	"signald/internal/fault"
	"signald/internal/store"
)

// auditCommand reads the audit in the database itself.
type auditCommand struct {
	Verify auditVerify `cmd:"" help:"Check every row against the chain of hashes. Names the first that does not fit, with exit code 1."`
	List   auditList   `cmd:"" help:"Show the newest rows as a table."`
	Export auditExport `cmd:"" help:"Write rows to standard output, newest first."`
	Events auditEvents `cmd:"" help:"Write what is recorded beside creations to standard output, newest first, a JSON object a line."`
	Prune  auditPrune  `cmd:"" help:"Delete rows that are older than the retention, as the server does by itself if its database role may."`
}

// auditDatabase is the setting of the server, here on its own.
type auditDatabase struct {
	DatabaseURL string `name:"database-url" env:"SIGNALD_DATABASE_URL" default:"sqlite:signald.db" help:"The server's database. It is opened for reading only, so the server may go on meanwhile."`
}

type auditFilters struct {
	From    string `placeholder:"TIME" help:"Created at or after: 2006-01-02, or 2006-01-02T15:04:05Z."`
	To      string `placeholder:"TIME" help:"Created before."`
	IP      string `name:"ip" placeholder:"CIDR" help:"The creator's address, or its network: 192.0.2.0/24."`
	Country string `placeholder:"CODE" help:"Country, two letters: GB."`
	City    string `help:"City, whole, in any case."`
	Q       string `name:"q" placeholder:"TEXT" help:"The beginning of the name in any case, or of the key."`

	IPKey string `name:"audit-ip-key" env:"SIGNALD_AUDIT_IP_KEY" placeholder:"KEY" help:"With --ip: the server's key of hashed addresses, to find one by them."`
}

type auditEvents struct {
	auditDatabase `embed:""`

	From  string `placeholder:"TIME" help:"Recorded at or after."`
	To    string `placeholder:"TIME" help:"Recorded before."`
	Kind  string `help:"kick, ban, end or login_failed."`
	Limit string `placeholder:"ROWS" help:"Events at most. Default: all."`
}

type auditPrune struct {
	DatabaseURL string        `name:"database-url" env:"SIGNALD_DATABASE_URL" default:"sqlite:signald.db" help:"The server's database, with a role that may delete; a SQLite file only while the server is stopped."`
	Retention   time.Duration `name:"audit-retention" env:"SIGNALD_AUDIT_RETENTION" required:"" help:"How long rows are kept, at least 24h. Example: 8760h, a year."`
}

type auditVerify struct {
	auditDatabase `embed:""`

	Expect []string `placeholder:"HEAD,..." help:"Heads that were noted earlier, as this command prints them (12:9f86d081…, events:3:2c26b46b…): exit code 1 if the rows up to there are not the ones that were there then."`
}

type auditList struct {
	auditDatabase `embed:""`
	auditFilters  `embed:""`

	Limit string `default:"50" help:"Rows at most."`
}

type auditExport struct {
	auditDatabase `embed:""`
	auditFilters  `embed:""`

	Format string `enum:"json,ndjson,csv" default:"csv" help:"json, ndjson (an object a line) or csv."`
	Limit  string `placeholder:"ROWS" help:"Rows at most. Default: all."`
	BOM    bool   `name:"bom" help:"Begin CSV with a byte order mark, for Excel."`
}

// run does one of the commands and returns the exit code.
func (c *auditCommand) run(ctx context.Context, which string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch which {
	case "verify":
		err = c.Verify.run(ctx, stdout, stderr)
	case "events":
		err = c.Events.write(ctx, stdout)
	case "prune":
		err = c.Prune.run(ctx, stdout, stderr)
	case "list":
		err = c.List.write(ctx, c.List.auditDatabase, "table", c.List.Limit, stdout)
	default:
		if c.Export.BOM && c.Export.Format == "csv" {
			_, _ = io.WriteString(stdout, audit.BOM) // what comes next says if it fails
		}
		err = c.Export.write(ctx, c.Export.auditDatabase, c.Export.Format, c.Export.Limit, stdout)
	}
	var wrong *fault.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong) && wrong.Code == fault.InvalidPayload:
		fmt.Fprintf(stderr, "signald: --%s\n", wrong.Message)
		return 2
	default:
		fmt.Fprintln(stderr, "signald:", err)
		return 1
	}
}

func (d auditDatabase) open(ctx context.Context) (*store.Store, error) {
	s, err := store.OpenReadOnly(ctx, d.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return s, nil
}

// write writes the rows that fit.
func (f auditFilters) write(ctx context.Context, d auditDatabase, format, limit string, stdout io.Writer) error {
	values := url.Values{
		"from": {f.From}, "to": {f.To}, "ip": {f.IP}, "country": {f.Country}, "city": {f.City}, "q": {f.Q}, "limit": {limit},
	}
	q, err := audit.Filter(values)
	if err != nil {
		return err
	}
	rows, err := audit.Limit(values, audit.MaxRows)
	if err != nil {
		return err
	}
	if f.IPKey != "" {
		q.OrIP = audit.NewPrivacy(audit.Hashed, f.IPKey).Sought(q.IP)
	}
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	w := audit.NewWriter(format, stdout)
	if err = audit.Walk(ctx, s, q, rows, w.Write); err == nil {
		err = w.Close()
	}
	return errors.Join(err, s.Close())
}

func (v auditVerify) run(ctx context.Context, stdout, stderr io.Writer) error {
	expected, err := parseHeads(v.Expect)
	if err != nil {
		return err
	}
	s, err := v.open(ctx)
	if err != nil {
		return err
	}
	if err = v.verify(ctx, s, stdout, stderr); err == nil {
		err = compareHeads(ctx, s, expected, stdout)
	}
	return errors.Join(err, s.Close())
}

func (auditVerify) verify(ctx context.Context, s *store.Store, stdout, stderr io.Writer) error {
	heads, err := readHeads(ctx, s) // before the walk, which comes past them
	if err != nil {
		return err
	}
	bar := newProgress(stderr)
	bad, err := s.VerifyAudit(ctx, bar.show)
	bar.end()
	switch {
	case err != nil:
		return err
	case bad != nil && bad.ID == "":
		return fmt.Errorf("row %d is missing: the rows before it fit", bad.Seq)
	case bad != nil:
		return fmt.Errorf("row %d does not fit: it, or the row before it, is not as it was written: key %q, name %q, created %s from %s",
			bad.Seq, bad.ID, bad.Name, bad.CreatedAt.Format(time.RFC3339Nano), bad.CreatorIP)
	}
	fmt.Fprintf(stdout, "%d rows, and every one fits.\n", bar.total)
	if seq, since, err := s.AuditStart(ctx); err != nil {
		return err
	} else if seq > 0 {
		fmt.Fprintf(stdout, "They begin after row %d: the rows up to it were deleted, the last of them at %s.\n", seq, since.Format(time.RFC3339))
	}
	events := newProgress(io.Discard) // there are few
	event, err := s.VerifyAuditEvents(ctx, events.show)
	switch {
	case err != nil:
		return err
	case event != nil && event.Kind == "":
		return fmt.Errorf("event %d is missing: the events before it fit", event.Seq)
	case event != nil:
		return fmt.Errorf("event %d does not fit: it, or the event before it, is not as it was written: %s of %s", event.Seq, event.Kind, event.CreatedAt.Format(time.RFC3339Nano))
	case events.total > 0:
		fmt.Fprintf(stdout, "%d events, and every one fits.\n", events.total)
	}
	fmt.Fprintln(stdout, "Heads, to be noted elsewhere for --expect:")
	for _, h := range heads {
		fmt.Fprintln(stdout, h)
	}
	return nil
}

// write writes the events that fit.
func (e auditEvents) write(ctx context.Context, stdout io.Writer) error {
	values := url.Values{"from": {e.From}, "to": {e.To}, "kind": {e.Kind}, "limit": {e.Limit}}
	q, err := audit.EventFilter(values)
	if err != nil {
		return err
	}
	left, err := audit.Limit(values, audit.MaxRows)
	if err != nil {
		return err
	}
	if left == 0 {
		left = audit.MaxRows
	}
	s, err := auditDatabase{e.DatabaseURL}.open(ctx)
	if err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	for more := true; more && left > 0 && err == nil; {
		var list []store.AuditEvent
		q.Limit = min(left, 500)
		if list, q.Cursor, err = s.AuditEvents(ctx, q); err != nil {
			break
		}
		for _, event := range list {
			err = errors.Join(err, out.Encode(audit.EventOf(event)))
		}
		left -= len(list)
		more = q.Cursor != ""
	}
	return errors.Join(err, s.Close())
}

func (p auditPrune) run(ctx context.Context, stdout, stderr io.Writer) error {
	if p.Retention < 24*time.Hour {
		return fault.Invalid("", "audit-retention is at least 24h.")
	}
	there, err := auditDatabase{p.DatabaseURL}.open(ctx) // what is not there is not made: the address may be mistyped
	if err != nil {
		return err
	}
	_ = there.Close() // nothing was written
	s, err := store.Open(ctx, p.DatabaseURL, (&Config{LogLevel: "warn", LogFormat: "console"}).logger(stderr))
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	n, err := s.PruneAudit(ctx, time.Now().Add(-p.Retention))
	fmt.Fprintf(stdout, "%d rows deleted.\n", n)
	return errors.Join(err, s.Close())
}

// progress tells how far a walk is: a bar on a terminal, elsewhere a line now and then.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
	total    int64
}

func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	p := &progress{w: w, last: time.Now()}
	if ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) show(done, total int64) {
	p.total = total
	every := 5 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if done < total && time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	if !p.terminal {
		fmt.Fprintf(p.w, "verified %d of %d rows\n", done, total)
		return
	}
	const width = 40
	full := int(width * done / total)
	fmt.Fprintf(p.w, "\r[%s%s] %3d%%  %d of %d rows", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*done/total, done, total)
}

// end leaves the bar's line.
func (p *progress) end() {
	if p.terminal && p.total > 0 {
		fmt.Fprintln(p.w)
	}
}
