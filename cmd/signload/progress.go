package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"signald/internal/load"
)

// progress shows how a run goes: a bar on a terminal, else a line every 2 s.
type progress struct {
	out  io.Writer
	bars *mpb.Progress
	bar  *mpb.Bar
	text atomic.Value // string, behind the bar
	last time.Duration
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	p.text.Store("")
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(30), mpb.WithRefreshRate(200*time.Millisecond))
		p.bar = p.bars.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text.Load().(string) })))
	}
	return p
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull && os.Getenv("TERM") != "dumb"
}

func line(s load.Progress) string {
	text := fmt.Sprintf("%-8s %3.0f s  joined %d/%d", s.Phase, s.Elapsed.Seconds(), s.Joined, s.Sockets)
	if s.Joins > 0 {
		text += fmt.Sprintf("  %.0f joins/s, p99 %.1f ms", s.Joins, s.JoinP99)
	}
	if s.Delivered > 0 {
		text += fmt.Sprintf("  %.0f messages/s, p99 %.1f ms", s.Delivered, s.RelayP99)
	}
	return text + fmt.Sprintf("  errors %d", s.Errors)
}

func (p *progress) show(s load.Progress) {
	if p.bar != nil {
		p.text.Store(" " + line(s))
		p.bar.SetTotal(int64(max(s.Sockets, 1)), false)
		p.bar.SetCurrent(int64(min(s.Joined, s.Sockets-1))) // a full bar would be over
		return
	}
	if s.Elapsed-p.last > 1900*time.Millisecond {
		p.last = s.Elapsed
		_, _ = fmt.Fprintln(p.out, line(s)) // only to be seen
	}
}

func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
