package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes what people want to know first.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nms\tp50\tp95\tp99\tmax\tcount\t\n")
	for _, l := range r.Latencies {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t\n", l.Name, ms(l.P50), ms(l.P95), ms(l.P99), ms(l.Max), l.Count)
	}
	if len(r.Latencies) == 0 {
		fmt.Fprintf(t, "nothing was measured\t\n")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range r.Facts() {
		if _, err := fmt.Fprintf(w, "%-12s %s\n", f.Name, f.Value); err != nil {
			return err
		}
	}
	for _, what := range r.Wrong {
		if _, err := fmt.Fprintf(w, "WRONG        %s\n", what); err != nil {
			return err
		}
	}
	if r.WrongMore > 0 {
		if _, err := fmt.Fprintf(w, "             and %d more\n", r.WrongMore); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s\n", r.Verdict())
	return err
}

// Facts are the report in words, one a line.
func (r *Report) Facts() []Setting {
	var list []Setting
	add := func(name, format string, args ...any) {
		list = append(list, Setting{name, fmt.Sprintf(format, args...)})
	}
	add("sockets", "%d of %d joined; %d joins, %d resumed, %d left, in %s", r.Most, r.Sockets, r.Joins, r.Resumes, r.Leaves, seconds(r.Seconds))
	if p := r.Phase("join"); p.Joins > 0 && p.Seconds > 0 {
		add("joining", "%.0f joins/s for %s", float64(p.Joins)/p.Seconds, seconds(p.Seconds))
	}
	if p := r.Phase("talk"); p.Delivered > 0 {
		add("talking", "%.0f deliveries/s for %s", p.Rate(), seconds(p.Seconds))
	}
	share := 100.0
	if r.Expected > 0 {
		share = 100 * float64(r.Delivered) / float64(r.Expected)
	}
	add("messages", "%d of %d delivered (%s %%)", r.Delivered, r.Expected, strings.TrimSuffix(fmt.Sprintf("%.3f", share), ".000"))
	add("bytes", "%s in, %s out (%d and %d messages)", Bytes(r.BytesIn), Bytes(r.BytesOut), r.MessagesIn, r.MessagesOut)
	if s := r.Server; s != nil {
		add("server", "%s (pid %d): %s CPU; RSS %s before, %s with all joined, %s at most, %s at the end", s.Command, s.PID, seconds(s.CPU),
			Bytes(s.RSSBefore), Bytes(s.RSSJoined), Bytes(s.RSSMost), Bytes(s.RSSEnd))
		if s.Joined > 0 {
			add("", "%s RSS a socket, %s", Bytes(int64(s.RSSASocket)), r.cpuShare())
		}
	}
	add("load tool", "%s CPU", seconds(r.OwnCPU))
	add("rosters", "compared %d times, %d gaps healed, %d wrong", r.Checks, r.Gaps, len(r.Wrong)+r.WrongMore)
	if len(r.Errors) == 0 {
		add("errors", "none")
	}
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		add("errors", "%s: %d", code, r.Errors[code])
	}
	for _, n := range r.Notes {
		add("note", "%s", n)
	}
	return list
}

func (r *Report) cpuShare() string {
	if p := r.Phase("talk"); p.Delivered > 0 {
		return fmt.Sprintf("%.2f µs CPU a delivery", p.CPUADelivery())
	}
	p := r.Phase("join")
	return fmt.Sprintf("%.0f µs CPU a join with all that it brings", over(p.CPU*1e6, float64(p.Joins)))
}

// Verdict is the last line.
func (r *Report) Verdict() string {
	switch {
	case !r.Fine():
		return fmt.Sprintf("FAILED: %d errors, %d wrong, %d messages lost", r.ErrorCount(), len(r.Wrong)+r.WrongMore, r.Expected-r.Delivered)
	case r.Interrupted:
		return "INTERRUPTED: no errors so far"
	default:
		return "FINE: no errors, nothing lost, every roster right"
	}
}

func ms(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

// Bytes is n for people.
func Bytes(n int64) string {
	v := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if v < 1000 && v > -1000 {
			if unit == "B" {
				return fmt.Sprintf("%.0f %s", v, unit)
			}
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.2f TB", v)
}
