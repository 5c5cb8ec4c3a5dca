package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// row is one figure.
type row struct {
	Case   string  `json:"case"`
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Bare   float64 `json:"bare,omitempty"`   // the bare loop's figure
	Ratio  float64 `json:"ratio,omitempty"`  // Value / Bare
	Excess float64 `json:"excess,omitempty"` // Value - Bare
	Bar    string  `json:"bar,omitempty"`
	Missed bool    `json:"missed"`
	CPU    float64 `json:"cpuSeconds,omitempty"` // of the controller, during the measure
	RSS    float64 `json:"peakRSSMiB,omitempty"` // of the controller, since it started
}

// report collects rows.
type report struct{ rows []row }

func (r *report) add(rows ...row) {
	for _, x := range rows {
		progress("%s: %s: %s %s", x.Case, x.What, number(x.Value), x.Unit)
	}
	r.rows = append(r.rows, rows...)
}

// faster is a row whose value is to be at least bar times the bare loop's; bar 0 is none.
func faster(x row, bar float64) row {
	x.Ratio = x.Value / x.Bare
	if bar > 0 {
		x.Bar, x.Missed = fmt.Sprintf(">= %g of bare", bar), x.Ratio < bar
	}
	return x
}

// atMost is a row whose value is to be at most bar.
func atMost(x row, bar float64) row {
	x.Bar, x.Missed = strings.TrimSpace(fmt.Sprintf("<= %g %s", bar, x.Unit)), x.Value > bar
	return x
}

// above is a row whose value is to be at most bar more than the bare loop's.
func above(x row, bar float64) row {
	x.Excess = x.Value - x.Bare
	x.Bar, x.Missed = fmt.Sprintf("<= %g %s above bare", bar, x.Unit), x.Excess > bar
	return x
}

func (r *report) print(w io.Writer, format string) error {
	if format == outputJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r.rows)
	}
	table := [][]string{{"case", "what", "controller", "bare loop", "compared", "bar", "CPU s", "peak RSS MiB"}}
	for _, x := range r.rows {
		compared := ""
		switch {
		case x.Excess != 0:
			compared = fmt.Sprintf("%+.1f %s", x.Excess, x.Unit)
		case x.Ratio != 0:
			compared = fmt.Sprintf("%.2f", x.Ratio)
		}
		bar := x.Bar
		if x.Missed {
			bar += ", missed"
		}
		table = append(table, []string{x.Case, x.What, strings.TrimSpace(number(x.Value) + " " + x.Unit), known(x.Bare), compared, bar, known(x.CPU), known(x.RSS)})
	}
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	rule := make([]string, len(widths))
	for i, n := range widths {
		rule[i] = strings.Repeat("-", n)
	}
	for _, cells := range slices.Insert(table, 1, rule) {
		for i, c := range cells {
			cells[i] = fmt.Sprintf("%-*s", widths[i], c)
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
	}
	return nil
}

// number prints a figure with as many digits as mean something.
func number(v float64) string {
	if v >= 100 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func known(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile returns the p-th percentile (nearest rank) in milliseconds.
func percentile(all []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return millis(sorted[max(0, (len(sorted)*p+99)/100-1)])
}
