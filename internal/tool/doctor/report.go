// Package doctor finds what is wrong with an installation. Facts are read from the cluster; the checks are pure.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
)

// The severities of a Finding.
const (
	Error   = "error"   // something does not work
	Warning = "warning" // something may not work, or not for long
	Info    = "info"    // something that is good to know
)

// Finding is one thing that was found.
type Finding struct {
	// Check is what found it: crds, controller, configuration, pools, allocators, backends, metallb, kube-proxy, webhook, speakers, sessions, services.
	Check string `json:"check"`
	// Severity is error, warning or info.
	Severity string `json:"severity"`
	What     string `json:"what"`
	// Why it matters.
	Why string `json:"why,omitempty"`
	// Command fixes it, or shows what has to be changed; absent if there is no such command.
	Command string `json:"command,omitempty"`
}

// Report is what doctor found.
type Report struct {
	Namespace string    `json:"namespace"`
	Findings  []Finding `json:"findings"`
	// Checked are the checks that were made, wholly or in part.
	Checked []string `json:"checked"`
	// Gaps are what could not be checked, and why.
	Gaps []string `json:"gaps,omitempty"`
}

// Count returns how many findings have a severity.
func (r *Report) Count(severity string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// check collects the findings of one check.
type check struct {
	name string
	out  []Finding
	gaps []string
}

// unknown tells what could not be checked, and why.
func (c *check) unknown(format string, args ...any) {
	c.gaps = append(c.gaps, "cannot check "+fmt.Sprintf(format, args...))
}

func (c *check) add(severity string, f Finding) {
	f.Check, f.Severity = c.name, severity
	c.out = append(c.out, f)
}

var severities = []string{Error, Warning, Info}

// Examine makes all checks.
func Examine(f *Facts) *Report {
	r := &Report{Namespace: f.Namespace, Findings: []Finding{}, Checked: []string{}}
	for _, x := range []struct {
		name string
		do   func(*Facts, *check)
	}{
		{"crds", crdsCheck}, {"controller", controllerCheck}, {"images", imagesCheck}, {"metallb", metallbCheck}, {"configuration", configurationCheck},
		{"pools", poolsCheck}, {"allocators", allocatorsCheck},
		{"backends", backendsCheck}, {"speakers", speakersCheck}, {"kube-proxy", proxyCheck}, {"sessions", sessionsCheck},
		{"webhook", webhookCheck}, {"services", servicesCheck},
	} {
		c := &check{name: x.name}
		x.do(f, c)
		r.Checked = append(r.Checked, x.name)
		r.Findings, r.Gaps = append(r.Findings, c.out...), append(r.Gaps, c.gaps...)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	for _, g := range f.Gaps {
		if g.Missing && f.crdsKnown() {
			continue // told by the check of CRDs
		}
		r.Gaps = append(r.Gaps, g.String())
	}
	return r
}

// counted is "1 Service" or "2 Services".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func waits(n int) string {
	if n == 1 {
		return "1 Service waits"
	}
	return fmt.Sprintf("%d Services wait", n)
}

// Summary is the report in one sentence.
func (r *Report) Summary() string {
	return fmt.Sprintf("%s, %s", counted(r.Count(Error), "error"), counted(r.Count(Warning), "warning"))
}
