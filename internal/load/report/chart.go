package report

import (
	"fmt"
	"math"
	"strings"
)

// chart is lines over one axis.
type chart struct {
	Title, Unit, X string
	Log            bool    // y
	Rare           bool    // x is percentiles, each ten times rarer as wide as the one before
	Until          float64 // x goes from 0 to here; 0: as far as the points go
	Lines          []line
}

type line struct {
	Name   string
	Points [][2]float64
}

// drawn is a chart with its places in the picture.
type drawn struct {
	chart
	Width, Height            int
	Left, Right, Top, Bottom float64
	Paths                    []path
	XTicks, YTicks           []tick
	Strips                   []strip
}

type path struct {
	Color int
	D     string
}

type tick struct {
	At   float64
	Text string
}

// strip is where a pointer reads values.
type strip struct {
	X, Width float64
	Text     string
}

const maxStrips = 240

func (c chart) draw() drawn {
	d := drawn{chart: c, Width: 560, Height: 240, Left: 52, Right: 548, Top: 12, Bottom: 210}
	lowX, highX, low, high := c.bounds()
	x := func(v float64) float64 { return place(c.spread(v), c.spread(lowX), c.spread(highX), d.Left, d.Right) }
	y := func(v float64) float64 { return place(c.scale(v), c.scale(low), c.scale(high), d.Bottom, d.Top) }
	for i, l := range c.Lines {
		var b strings.Builder
		for n, p := range l.Points {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(n, 1)], x(p[0]), y(p[1]))
		}
		d.Paths = append(d.Paths, path{i, b.String()})
	}
	for _, v := range c.ticksX(lowX, highX) {
		d.XTicks = append(d.XTicks, tick{x(v), short(v)})
	}
	for _, v := range c.ticksY(low, high) {
		d.YTicks = append(d.YTicks, tick{y(v), short(v)})
	}
	d.Strips = c.strips(x, d.Left, d.Right)
	return d
}

func place(v, low, high, from, to float64) float64 {
	if high == low {
		return (from + to) / 2
	}
	return from + (v-low)/(high-low)*(to-from)
}

func (c chart) scale(v float64) float64 {
	if c.Log {
		return math.Log10(v)
	}
	return v
}

func (c chart) spread(v float64) float64 {
	if c.Rare {
		return -math.Log10(1 - v/100)
	}
	return v
}

func (c chart) bounds() (lowX, highX, low, high float64) {
	lowX, low = math.Inf(1), math.Inf(1)
	highX, high = math.Inf(-1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, p := range l.Points {
			lowX, highX = min(lowX, p[0]), max(highX, p[0])
			low, high = min(low, p[1]), max(high, p[1])
		}
	}
	if c.Until > 0 {
		lowX, highX = 0, c.Until
	}
	if c.Log {
		return lowX, highX, math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.0001)))
	}
	return lowX, highX, 0, max(nice(high), 1e-9)
}

// nice is the next round number.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 4, 5, 8, 10} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}

func (c chart) ticksX(low, high float64) (list []float64) {
	if !c.Rare {
		step := nice((high - low) / 6)
		for v := math.Ceil(low/step) * step; v <= high; v += step {
			list = append(list, v)
		}
		return list
	}
	for _, v := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		if v >= low && v <= high {
			list = append(list, v)
		}
	}
	return list
}

func (c chart) ticksY(low, high float64) (list []float64) {
	if c.Log {
		for v := low; v <= high*1.0001; v *= 10 {
			list = append(list, v)
		}
		return list
	}
	for i := range 5 {
		list = append(list, high*float64(i)/4)
	}
	return list
}

// strips give every place its values, those of the lines with a point there.
func (c chart) strips(x func(float64) float64, left, right float64) (list []strip) {
	var places []float64
	for _, l := range c.Lines {
		if len(l.Points) > len(places) {
			places = places[:0]
			for _, p := range l.Points {
				places = append(places, p[0])
			}
		}
	}
	step := (len(places) + maxStrips - 1) / maxStrips
	for i := 0; i < len(places); i += max(step, 1) {
		text := short(places[i]) + " " + c.X
		for _, l := range c.Lines {
			for _, p := range l.Points {
				if p[0] == places[i] {
					text += fmt.Sprintf("\n%s: %s %s", l.Name, short(p[1]), c.Unit)
					break
				}
			}
		}
		from, to := left, right
		if i > 0 {
			from = x(places[i])
		}
		if next := i + max(step, 1); next < len(places) {
			to = x(places[next])
		}
		list = append(list, strip{from, max(to-from, 0.5), text})
	}
	return list
}
