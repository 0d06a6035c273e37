package main

import (
	"context"
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
}

// auditDatabase is the setting of the server, here on its own.
type auditDatabase struct {
	DatabaseURL string `name:"database-url" env:"SIGNALD_DATABASE_URL" default:"sqlite:signald.db" placeholder:"URL" help:"The server's database. It is opened for reading only, so the server may go on meanwhile."`
}

type auditFilters struct {
	From    string `placeholder:"TIME" help:"Created at or after: 2006-01-02, or 2006-01-02T15:04:05Z."`
	To      string `placeholder:"TIME" help:"Created before."`
	IP      string `name:"ip" placeholder:"CIDR" help:"The creator's address, or its network: 192.0.2.0/24."`
	Country string `placeholder:"CODE" help:"Country, two letters: GB."`
	City    string `help:"City, whole, in any case."`
	Q       string `name:"q" placeholder:"TEXT" help:"The beginning of the name in any case, or of the key."`
}

type auditVerify struct {
	auditDatabase `embed:""`
}

type auditList struct {
	auditDatabase `embed:""`
	auditFilters  `embed:""`

	Limit string `default:"50" placeholder:"ROWS" help:"Rows at most."`
}

type auditExport struct {
	auditDatabase `embed:""`
	auditFilters  `embed:""`

	Format string `enum:"json,ndjson,csv" default:"csv" help:"json, ndjson (an object a line) or csv."`
	Limit  string `placeholder:"ROWS" help:"Rows at most. Default: all."`
}

// run does one of the commands and returns the exit code.
func (c *auditCommand) run(ctx context.Context, which string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch which {
	case "verify":
		err = c.Verify.run(ctx, stdout, stderr)
	case "list":
		err = c.List.write(ctx, c.List.auditDatabase, "table", c.List.Limit, stdout)
	default:
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
	s, err := v.open(ctx)
	if err != nil {
		return err
	}
	bar := newProgress(stderr)
	bad, err := s.VerifyAudit(ctx, bar.show)
	bar.end()
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if bad == nil {
		fmt.Fprintf(stdout, "%d rows, and every one fits.\n", bar.total)
		return nil
	}
	if bad.ID == "" {
		return fmt.Errorf("row %d is missing: %d rows before it fit", bad.Seq, bad.Seq-1)
	}
	return fmt.Errorf("row %d does not fit: it, or the row before it, is not as it was written: key %q, name %q, created %s from %s",
		bad.Seq, bad.ID, bad.Name, bad.CreatedAt.Format(time.RFC3339Nano), bad.CreatorIP)
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
