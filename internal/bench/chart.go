package bench

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// The charts are drawn as SVG in units of a pixel; colours are classes of the
// page, one for each broker and one for the floor.
const (
	chartWidth = 720
	chartLeft  = 150 // room for names
	chartRight = 110 // room for figures
	barHeight  = 22
	barGap     = 10
)

// series is one name in a chart.
type series struct {
	name  string
	class string
}

func (r *Report) series() (all []series) {
	for i, b := range r.Brokers {
		all = append(all, series{b, fmt.Sprintf("c%d", i%4)})
	}
	return append(all, series{FloorName, "floor"})
}

// bars shows the first metric: the median as a bar, every round as a dot.
func (r *Report) bars(s Section) template.HTML {
	if len(s.Rows) == 0 {
		return ""
	}
	row := s.Rows[0]
	cells := append([]Cell{}, row.Cells...)
	if row.Floor != nil {
		cells = append(cells, *row.Floor)
	} else {
		cells = append(cells, Cell{})
	}
	top := 0.0
	lines := 0
	for _, c := range cells {
		if len(c.Values) > 0 {
			top = max(top, c.High)
			lines++
		}
	}
	if lines == 0 || top <= 0 {
		return ""
	}
	scale := (chartWidth - chartLeft - chartRight) / top
	var b strings.Builder
	svg(&b, lines*(barHeight+barGap)+barGap, fmt.Sprintf("%s: %s, %s", s.Spec, row.Metric, row.Unit))
	y := barGap
	for i, one := range r.series() {
		c := cells[i]
		if len(c.Values) == 0 {
			continue
		}
		width := max(c.Median, 0) * scale
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="name">%s</text>`, chartLeft-10, y+barHeight-6, template.HTMLEscapeString(one.name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>`, chartLeft, y, width, barHeight, one.class)
		for _, v := range c.Values {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="3" class="dot"/>`, chartLeft+max(v, 0)*scale, y+barHeight/2)
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="figure">%s</text>`, chartLeft+c.High*scale+8, y+barHeight-6, Figure(c.Median))
		y += barHeight + barGap
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func svg(b *strings.Builder, height int, title string) {
	title = template.HTMLEscapeString(title)
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%s</title>`, chartWidth, height, title, title)
}

// The plane of the latency chart.
const (
	curveHeight = 260
	curveTop    = 12
	curveBottom = 34
)

// curves shows the latency at every percentile, of the last round: the further to
// the right, the rarer; each step to the next mark is ten times as rare.
func (r *Report) curves(s Section) template.HTML {
	type line struct {
		series
		points []CurvePoint
	}
	var lines []line
	low, high, rare := math.Inf(1), 0.0, 1.0
	names := append(append([]string{}, r.Brokers...), FloorName)
	for i, one := range r.series() {
		spec := s.Spec
		if i == len(r.Brokers) {
			if scenarioOf(s.Yardstick) != scenarioOf(s.Spec) {
				continue // its times are of something else
			}
			spec = s.Yardstick
		}
		x := r.latest(s.Act, spec, names[i])
		if x == nil {
			continue
		}
		l := x.Delivery
		if l == nil {
			l = x.Ack
		}
		if l == nil || len(l.Curve) < 2 {
			continue
		}
		lines = append(lines, line{one, l.Curve})
		for _, p := range l.Curve {
			low, high = min(low, max(p.Millis, 0.001)), max(high, p.Millis)
			rare = max(rare, rarity(p.Percentile))
		}
	}
	if len(lines) == 0 || high <= low {
		return ""
	}
	low, high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	x := func(p float64) float64 {
		return chartLeft/2 + rarity(p)/rare*(chartWidth-chartLeft/2-chartRight)
	}
	y := func(ms float64) float64 {
		return curveTop + (high-math.Log10(max(ms, 0.001)))/(high-low)*(curveHeight-curveTop-curveBottom)
	}
	var b strings.Builder
	svg(&b, curveHeight, s.Spec+": latency by percentile, the last round")
	for e := low; e <= high; e++ {
		at := y(math.Pow(10, e))
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/>`, chartLeft/2, chartWidth-chartRight, at, at)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" class="name">%s ms</text>`, chartLeft/2-8, at+4, trimmed(math.Pow(10, e)))
	}
	for i, p := range []float64{0, 90, 99, 99.9, 99.99, 99.999} {
		if rarity(p) > rare && i > 0 {
			break
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="grid"/>`, x(p), x(p), curveTop, curveHeight-curveBottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="mark">%s %%</text>`, x(p), curveHeight-curveBottom+18, trimmed(p))
	}
	for i, l := range lines {
		b.WriteString(`<polyline class="line ` + l.class + `" points="`)
		for _, p := range l.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(p.Percentile), y(p.Millis))
		}
		b.WriteString(`"/>`)
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="key %s">%s</text>`, chartWidth-chartRight+10, curveTop+14+18*i, l.class, template.HTMLEscapeString(l.name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// scenarioOf is the name of a spec's scenario.
func scenarioOf(spec string) string {
	name, _, _ := strings.Cut(spec, ":")
	return name
}

// rarity is how many powers of ten rarer than all.
func rarity(percentile float64) float64 {
	return -math.Log10(max(1-percentile/100, 1e-9))
}

func trimmed(x float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", x), "0"), ".")
}
