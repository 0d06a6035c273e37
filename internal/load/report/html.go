package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"ms":   ms,
	"when": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
}).Parse(page))

// WriteHTML writes a page that needs nothing from elsewhere.
func (r *Report) WriteHTML(w io.Writer) error {
	return pageTemplate.Execute(w, struct {
		*Report
		Charts []drawn
	}{r, r.charts()})
}

// charts are the plots of a run; those without data are left out.
func (r *Report) charts() (list []drawn) {
	over := func(name, unit string, logarithmic bool, curves ...curve) {
		c := chart{Title: name, Unit: unit, Log: logarithmic, X: "s", Until: r.Seconds}
		for _, v := range curves {
			l := line{Name: v.name}
			any := false
			for _, s := range r.Samples {
				y := v.value(s)
				any = any || y != 0
				if y != 0 || !logarithmic {
					l.Points = append(l.Points, [2]float64{s.At, y})
				}
			}
			if any {
				c.Lines = append(c.Lines, l)
			}
		}
		if len(c.Lines) > 0 {
			list = append(list, c.draw())
		}
	}
	over("Latency of messages", "ms", true,
		curve{"p50", func(s Sample) float64 { return s.RelayP50 }},
		curve{"p95", func(s Sample) float64 { return s.RelayP95 }},
		curve{"p99", func(s Sample) float64 { return s.RelayP99 }})
	over("Latency of joins", "ms", true,
		curve{"p50", func(s Sample) float64 { return s.JoinP50 }},
		curve{"p99", func(s Sample) float64 { return s.JoinP99 }})
	if c := r.distribution(); len(c.Lines) > 0 {
		list = append(list, c.draw())
	}
	over("Messages delivered", "/s", false, curve{"delivered", func(s Sample) float64 { return s.Delivered }})
	over("Joined", "", false, curve{"joined", func(s Sample) float64 { return float64(s.Joined) }})
	over("Joins", "/s", false, curve{"joins", func(s Sample) float64 { return s.Joins }})
	over("Bytes", "B/s", false,
		curve{"from the server", func(s Sample) float64 { return s.In }},
		curve{"to the server", func(s Sample) float64 { return s.Out }})
	over("Memory of the server", "B", false, curve{"RSS", func(s Sample) float64 { return float64(s.RSS) }})
	over("CPU", "cores", false,
		curve{"server", func(s Sample) float64 { return s.CPU }},
		curve{"load tool", func(s Sample) float64 { return s.OwnCPU }})
	over("Errors so far", "", false, curve{"errors", func(s Sample) float64 { return float64(s.Errors) }})
	return list
}

type curve struct {
	name  string
	value func(Sample) float64
}

// distribution has the percentiles spread as HDR plots do: each step to the right
// is ten times rarer.
func (r *Report) distribution() chart {
	c := chart{Title: "Distribution of latencies", Unit: "ms", Log: true, X: "%", Rare: true}
	for _, l := range r.Latencies {
		v := line{Name: l.Name}
		for _, p := range l.Curve {
			if p.Percentile < 100 && p.Ms > 0 {
				v.Points = append(v.Points, [2]float64{p.Percentile, p.Ms})
			}
		}
		if len(v.Points) > 1 {
			c.Lines = append(c.Lines, v)
		}
	}
	return c
}

// short is a number for an axis.
func short(v float64) string {
	text := func(v float64, unit string) string {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + unit
	}
	switch {
	case v >= 1e9:
		return text(v/1e9, "G")
	case v >= 1e6:
		return text(v/1e6, "M")
	case v >= 1e4:
		return text(v/1e3, "k")
	case v < 0.01 && v > 0:
		return fmt.Sprintf("%.3f", v)
	default:
		return text(v, "")
	}
}
