package bench

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"figure": Figure,
	"ratio":  ratioText,
	"whole":  func(n int64) string { return grouped(float64(n), 0) },
	"count":  count,
}).Parse(page))

// WriteHTML writes a page that needs nothing but itself.
func (r *Report) WriteHTML(w io.Writer) error {
	type section struct {
		Section
		Bars, Curves template.HTML
	}
	view := struct {
		*Report
		Parts    []section
		Goals    [][]string
		Pictures []template.HTML
	}{Report: r}
	if len(r.Targets) > 0 {
		view.Goals = r.targetLines()
	}
	for i := range r.Curves {
		var b strings.Builder
		if err := r.Curves[i].WriteSVG(&b); err != nil {
			return err
		}
		view.Pictures = append(view.Pictures, template.HTML(b.String()))
	}
	for _, s := range r.Sections {
		view.Parts = append(view.Parts, section{s, r.bars(s), r.curves(s)})
	}
	return pageTemplate.Execute(w, view)
}
