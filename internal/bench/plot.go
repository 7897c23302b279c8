package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// The pictures of curves stand alone, on pages of any colour: there is no
// background, and the colours are readable on white and on black.
const (
	plotWidth  = 560
	plotHeight = 320
	plotLeft   = 64
	plotRight  = 24
	plotTop    = 52
	plotBottom = 48
)

var plotColours = []string{"#0d9488", "#d97706", "#7c3aed", "#e11d48"}

// logAbove is from which span on the vertical axis is logarithmic.
const logAbove = 30

// WriteSVG draws the curve: the horizontal axis is logarithmic, the vertical one
// where the values span more than fits another.
func (c *Curve) WriteSVG(w io.Writer) error {
	var all []XY
	for _, l := range c.Lines {
		all = append(all, l.Points...)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: no points", c.Name)
	}
	low, high, left, right := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, p := range all {
		low, high = min(low, p.Y), max(high, p.Y)
		left, right = min(left, p.X), max(right, p.X)
	}
	x := scale{math.Log10(max(left, 1e-9)), math.Log10(max(right, 1e-9)), plotLeft, plotWidth - plotRight, true}
	if x.from == x.to {
		x.from, x.to = x.from-0.5, x.to+0.5
	}
	y := scale{0, niceTop(high), plotHeight - plotBottom, plotTop, false}
	if low > 0 && high/low > logAbove {
		y = scale{math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)), plotHeight - plotBottom, plotTop, true}
	}

	var b strings.Builder
	title := html.EscapeString(c.Title + ", by " + c.Axis)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		plotWidth, plotHeight, plotWidth, plotHeight, title)
	fmt.Fprintf(&b, "\n<title>%s</title>\n", title)
	b.WriteString(`<g font-family="system-ui, sans-serif" font-size="12" fill="#7d8590">` + "\n")
	fmt.Fprintf(&b, `<text x="8" y="18" font-weight="600">%s</text>`+"\n", html.EscapeString(c.Title))
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#7d8590" stroke-opacity=".25"/>`, x.at(v), x.at(v), plotTop, plotHeight-plotBottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x.at(v), plotHeight-plotBottom+18, short(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#7d8590" stroke-opacity=".25"/>`, plotLeft, plotWidth-plotRight, y.at(v), y.at(v))
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-8, y.at(v)+4, short(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-10, html.EscapeString(c.Axis))
	at := float64(plotLeft)
	for i, l := range c.Lines {
		colour := plotColours[i%len(plotColours)]
		if len(c.Lines) > 1 {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="34" r="4" fill="%s"/><text x="%.1f" y="38">%s</text>`+"\n", at+4, colour, at+14, html.EscapeString(l.Label))
			at += 34 + 7*float64(len(l.Label))
		}
		var points strings.Builder
		for _, p := range l.Points {
			fmt.Fprintf(&points, "%.1f,%.1f ", x.at(p.X), y.at(p.Y))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", colour, strings.TrimSpace(points.String()))
		for _, p := range l.Points {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s: %s</title></circle>`+"\n",
				x.at(p.X), y.at(p.Y), colour, grouped(p.X, 0), Figure(p.Y))
		}
	}
	b.WriteString("</g>\n</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// scale is where values are on an axis.
type scale struct {
	from, to     float64 // values, their logarithms where log is set
	begin, until float64 // pixels
	log          bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(max(v, 1e-9))
	}
	return s.begin + (v-s.from)/(s.to-s.from)*(s.until-s.begin)
}

func (s scale) ticks() (all []float64) {
	if s.log {
		for e := math.Ceil(s.from - 1e-9); e <= s.to+1e-9; e++ {
			all = append(all, math.Pow(10, e))
		}
		return all
	}
	step := niceTop(s.to) / 5
	for v := 0.0; v <= s.to*(1+1e-9); v += step {
		all = append(all, v)
	}
	return all
}

// niceTop is where a linear axis ends: five steps of 1, 2, 2.5 or 5 or so.
func niceTop(high float64) float64 {
	if high <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(high/5)))
	for _, m := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10} {
		if 5*m*unit >= high*(1-1e-9) {
			return 5 * m * unit
		}
	}
	return 50 * unit
}

// short is a number for an axis.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return trimmed(v/1e6) + " M"
	case v >= 1e3:
		return trimmed(v/1e3) + " k"
	}
	return trimmed(v)
}

// WritePictures writes every curve as a file of its name in a folder.
func (r *Report) WritePictures(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for i := range r.Curves {
		c := &r.Curves[i]
		var b strings.Builder
		if err := c.WriteSVG(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, c.Name+".svg"), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
