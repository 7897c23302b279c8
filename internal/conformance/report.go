package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Status is how a check, or all checks of a statement, ended.
type Status string

// The statuses.
const (
	Pass          Status = "pass"
	Fail          Status = "fail"
	NotApplicable Status = "not applicable"
	Unseen        Status = "cannot be seen from outside"
	NotRun        Status = "not run"
)

// Result is that of one check in one version. Of a failure it has the evidence.
type Result struct {
	Check      string   `json:"check"`
	What       string   `json:"what"`
	Version    Version  `json:"version"`
	Statements []string `json:"statements"`
	Status     Status   `json:"status"`
	Note       string   `json:"note,omitempty"` // why it does not apply
	Sent       string   `json:"sent,omitempty"` // the bytes sent last, on the connection that it is about
	Expected   string   `json:"expected,omitempty"`
	Got        string   `json:"got,omitempty"`
	Transcript []string `json:"transcript,omitempty"` // what was sent (>) and came (<), with the connection's letter
	Seconds    float64  `json:"seconds"`
}

// Verdict is what the checks say of a statement.
type Verdict struct {
	Statement
	Status Status   `json:"status"`
	Reason string   `json:"reason,omitempty"` // why there is no check, or none applied
	Checks []string `json:"checks,omitempty"`
}

// Report is that of a run. Differences are the verdicts on MQTT 3.1.
type Report struct {
	Statements []Verdict `json:"statements"`
	Results    []Result  `json:"checks"`
}

func (r *run) report(results []Result) *Report {
	rep := &Report{Results: results}
	byStatement := map[Version]map[string][]Result{}
	for _, x := range results {
		if byStatement[x.Version] == nil {
			byStatement[x.Version] = map[string][]Result{}
		}
		for _, id := range x.Statements {
			byStatement[x.Version][id] = append(byStatement[x.Version][id], x)
		}
	}
	for _, s := range slices.Concat(statements, differences) {
		found := byStatement[s.Version][s.ID]
		v := verdict(s, found)
		if v.Status == NotRun || len(found) == 0 && !r.wanted(s.Version, "", []string{s.ID}) {
			continue
		}
		rep.Statements = append(rep.Statements, v)
	}
	return rep
}

// verdict puts the results of a statement's checks together.
func verdict(s Statement, results []Result) Verdict {
	v := Verdict{Statement: s, Status: NotRun}
	var notes []string
	for _, x := range results {
		v.Checks = append(v.Checks, x.Check)
		switch {
		case x.Status == Fail:
			v.Status = Fail
		case x.Status == Pass && v.Status != Fail:
			v.Status = Pass
		case x.Status == NotApplicable:
			notes = append(notes, x.Note)
			if v.Status == NotRun {
				v.Status = NotApplicable
			}
		}
	}
	if v.Status == NotApplicable {
		v.Reason = strings.Join(slices.Compact(notes), "; ")
	}
	if why, ok := reasons[s.Version][s.ID]; ok && v.Status == NotRun {
		v.Status, v.Reason = why.status, why.text
	}
	return v
}

// Count is how many statements of a version have a status.
func (r *Report) Count(v Version, s Status) int {
	n := 0
	for _, x := range r.Statements {
		if x.Version == v && x.Status == s {
			n++
		}
	}
	return n
}

// Failed says whether a statement failed, or a check without one.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Status == Fail })
}

// Failures are the results that failed.
func (r *Report) Failures() []Result {
	var list []Result
	for _, x := range r.Results {
		if x.Status == Fail {
			list = append(list, x)
		}
	}
	return list
}

// Text writes the report for people: a line for each statement, the evidence of
// what failed, and the count.
func (r *Report) Text(w io.Writer, all bool) error {
	var b strings.Builder
	version := Version(0)
	for _, v := range r.Statements {
		if !all && v.Status != Fail {
			continue
		}
		if v.Version != version {
			version = v.Version
			fmt.Fprintf(&b, "MQTT %s\n", version)
		}
		fmt.Fprintf(&b, "  %-15s %-15s %s\n", short[v.Status], v.ID, v.What)
		if v.Reason != "" {
			fmt.Fprintf(&b, "  %-15s %-15s (%s)\n", "", "", v.Reason)
		}
	}
	if version != 0 {
		b.WriteString("\n")
	}
	for _, x := range r.Failures() {
		x.text(&b)
	}
	for _, v := range Versions {
		counts := []string{}
		for _, s := range []Status{Pass, Fail, NotApplicable, Unseen} {
			if n := r.Count(v, s); n > 0 {
				counts = append(counts, fmt.Sprintf("%d %s", n, s))
			}
		}
		if len(counts) > 0 {
			fmt.Fprintf(&b, "MQTT %-6s %s\n", v.String()+":", strings.Join(counts, ", "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes the evidence of a failure.
func (x *Result) text(b *strings.Builder) {
	fmt.Fprintf(b, "FAIL  %s in MQTT %s: %s\n", x.Check, x.Version, x.What)
	if len(x.Statements) > 0 {
		fmt.Fprintf(b, "  statements  %s\n", strings.Join(x.Statements, " "))
	}
	if x.Sent != "" {
		fmt.Fprintf(b, "  sent        %s\n", x.Sent)
	}
	fmt.Fprintf(b, "  expected    %s\n  got         %s\n", x.Expected, x.Got)
	for _, line := range x.Transcript {
		fmt.Fprintf(b, "    %s\n", line)
	}
	b.WriteString("\n")
}

// short are the statuses as they fit a column.
var short = map[Status]string{Pass: "pass", Fail: "FAIL", NotApplicable: "not applicable", Unseen: "unseen", NotRun: "not run"}
