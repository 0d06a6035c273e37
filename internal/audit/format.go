package audit

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Writer writes rows in one format. Write passes on what it is given, so that no more than a page is in
// memory; Close writes the end and leaves what is below open.
type Writer interface {
	Write([]Item) error
	Close() error
}

// BOM before CSV tells Excel that it is UTF-8. Other programs take it for a part of the first name.
const BOM = "\ufeff"

// Formats are the names that NewWriter knows, beside "table".
var Formats = []string{"json", "ndjson", "csv"}

// NewWriter makes a writer of "json" (an object with the list items), "ndjson" (an object a line), "csv"
// (with a line of names, and cells that no spreadsheet takes for a formula) or "table" (for people, in
// columns that fit a terminal); nil for any other name.
func NewWriter(format string, w io.Writer) Writer {
	switch format {
	case "json":
		return &jsonWriter{w: bufio.NewWriter(w)}
	case "ndjson":
		return &ndjsonWriter{bufio.NewWriter(w)}
	case "csv":
		c := csv.NewWriter(w)
		c.UseCRLF = true // RFC 4180
		return &csvWriter{w: c}
	case "table":
		return &tableWriter{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	}
	return nil
}

func encode(w io.Writer, item Item) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(item) // ends the line
}

type jsonWriter struct {
	w     *bufio.Writer
	begun bool
}

func (j *jsonWriter) begin() string {
	if j.begun {
		return ","
	}
	j.begun = true
	return "{\"items\":[\n"
}

func (j *jsonWriter) Write(items []Item) error {
	for _, item := range items {
		_, _ = j.w.WriteString(j.begin()) // Flush says what went wrong
		if err := encode(j.w, item); err != nil {
			return err
		}
	}
	return j.w.Flush()
}

func (j *jsonWriter) Close() error {
	if !j.begun {
		_, _ = j.w.WriteString(j.begin())
	}
	_, _ = j.w.WriteString("]}\n")
	return j.w.Flush()
}

type ndjsonWriter struct{ w *bufio.Writer }

func (n *ndjsonWriter) Write(items []Item) error {
	for _, item := range items {
		if err := encode(n.w, item); err != nil {
			return err
		}
	}
	return n.w.Flush()
}

func (n *ndjsonWriter) Close() error { return nil }

type csvWriter struct {
	w     *csv.Writer
	begun bool
}

func (c *csvWriter) begin() error {
	if c.begun {
		return nil
	}
	c.begun = true
	return c.w.Write([]string{
		"created_at", "meeting_id", "name", "creator_ip", "country", "region", "city", "lat", "lon", "user_agent",
	})
}

func (c *csvWriter) Write(items []Item) error {
	if err := c.begin(); err != nil {
		return err
	}
	for _, i := range items {
		err := c.w.Write([]string{
			i.CreatedAt.Format(time.RFC3339Nano), Inert(i.MeetingID), Inert(i.Name), i.CreatorIP,
			Inert(text(i.Country)), Inert(text(i.Region)), Inert(text(i.City)), number(i.Lat), number(i.Lon), Inert(i.UserAgent),
		})
		if err != nil {
			return err
		}
	}
	c.w.Flush()
	return c.w.Error()
}

func (c *csvWriter) Close() error {
	if err := c.begin(); err != nil {
		return err
	}
	c.w.Flush()
	return c.w.Error()
}

// Inert keeps a spreadsheet from computing what a stranger has typed: an apostrophe before what looks
// like the beginning of a formula, at the beginning of the value and wherever a cell of its own could
// begin: where lists are separated by semicolons, Excel takes those in a quoted value for separators, too.
func Inert(s string) string {
	var b strings.Builder
	begin := 0 // of the cell
	fresh := true
	for i, r := range s {
		switch {
		case strings.ContainsRune(";\t\r\n", r):
			if i == 0 && r != ';' {
				b.WriteByte('\'')
			}
			b.WriteString(s[begin : i+1])
			begin, fresh = i+1, true
		case !fresh, r == '"', unicode.IsSpace(r): // a cell may begin with those, and be a formula nonetheless
		case strings.ContainsRune(formulaSigns, r):
			b.WriteByte('\'')
			fresh = false
		default:
			fresh = false
		}
	}
	b.WriteString(s[begin:])
	return b.String()
}

// formulaSigns begin a formula; the wide ones do in some languages.
const formulaSigns = "=+-@＝＋－＠"

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}

type tableWriter struct {
	w     *tabwriter.Writer
	begun bool
}

func (t *tableWriter) begin() {
	if !t.begun {
		t.begun = true
		_, _ = fmt.Fprintln(t.w, "CREATED\tADDRESS\tPLACE\tNAME\tKEY") // Flush says what went wrong
	}
}

func (t *tableWriter) Write(items []Item) error {
	t.begin()
	for _, i := range items {
		place := text(i.City)
		if country := text(i.Country); place != "" && country != "" {
			place += ", " + country
		} else if place == "" {
			place = country
		}
		_, _ = fmt.Fprintf(t.w, "%s\t%s\t%s\t%s\t%s\n",
			i.CreatedAt.UTC().Format("2006-01-02 15:04:05"), i.CreatorIP, cell(place), cell(i.Name), printable(i.MeetingID))
	}
	return t.w.Flush() // the columns are as wide as this page needs
}

func (t *tableWriter) Close() error {
	t.begin()
	return t.w.Flush()
}

// cell is as much of a text as a table has room for.
func cell(s string) string {
	const width = 40
	runes := []rune(printable(s))
	if len(runes) > width {
		runes = append(runes[:width-1], '…')
	}
	return string(runes)
}

// printable takes out what a terminal might obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
}
