// Command promql reads a JSON list of PromQL expressions and writes, for each, what is wrong with it, or which series it looks at and
// by which labels.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// answer is what there is to say of an expression.
type answer struct {
	Error  string              `json:"error,omitempty"`
	Series map[string][]string `json:"series,omitempty"` // the labels of matchers and groupings, by series
}

func main() {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
	answers := make([]answer, 0, len(expressions))
	for _, e := range expressions {
		answers = append(answers, examine(e))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func examine(text string) answer {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return answer{Error: err.Error()}
	}
	a := answer{Series: map[string][]string{}}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		used := []string{}
		for _, m := range selector.LabelMatchers {
			if m.Name != labels.MetricName {
				used = append(used, m.Name)
			}
		}
		for _, outer := range path {
			if g, ok := outer.(*parser.AggregateExpr); ok && !g.Without {
				used = append(used, g.Grouping...)
			}
		}
		slices.Sort(used)
		a.Series[selector.Name] = slices.Compact(append(a.Series[selector.Name], used...))
		return nil
	})
	return a
}
