// Package reference writes the tables of docs/reference from the code, for the tests that keep them true, and the chart's README.
package reference

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Flags returns a table of the flags of commands. env returns the environment variable that stands for a flag; nil if there are none.
// Flags that are hidden are left out.
func Flags(env func(string) string, commands ...*cobra.Command) string {
	var out strings.Builder
	for _, cmd := range commands {
		fmt.Fprintf(&out, "## %s\n\n%s.\n\n", cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."))
		head, line := "| flag | default | |\n", "|---|---|---|\n"
		if env != nil {
			head, line = "| flag | environment | default | |\n", "|---|---|---|---|\n"
		}
		rows := 0
		var table strings.Builder
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" || f.Hidden {
				return
			}
			rows++
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			fmt.Fprintf(&table, "| `%s` ", name)
			if env != nil {
				fmt.Fprintf(&table, "| `%s` ", env(f.Name))
			}
			fmt.Fprintf(&table, "| %s | %s |\n", cell(f.DefValue), strings.ReplaceAll(f.Usage, "|", `\|`))
		})
		if rows > 0 {
			out.WriteString(head + line + table.String() + "\n")
		}
	}
	return out.String()
}

// cell returns a value for a table; nothing for one that is empty.
func cell(value string) string {
	if value == "" || value == "[]" || value == "{}" || value == "null" {
		return ""
	}
	return "`" + strings.ReplaceAll(value, "|", `\|`) + "`"
}

var described = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: "(.*)", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// Metrics returns a table of what collectors describe.
func Metrics(t testing.TB, collectors ...prometheus.Collector) string {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, c := range collectors {
			c.Describe(descs)
		}
	}()
	var rows []string
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("a description of another form: %s", d)
			continue
		}
		var labels []string
		for l := range strings.SplitSeq(m[3], ",") {
			if name, _, ok := strings.Cut(l, "="); ok {
				labels = append(labels, "`"+name+"`")
			}
		}
		for l := range strings.SplitSeq(m[4], ",") {
			if l != "" {
				labels = append(labels, "`"+l+"`")
			}
		}
		slices.Sort(labels)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], strings.Join(labels, ", "), m[2]))
	}
	slices.Sort(rows)
	return "| series | labels | |\n|---|---|---|\n" + strings.Join(rows, "")
}

// Check compares a file with what it is to hold, or writes it.
func Check(t testing.TB, path, want string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not up to date: run 'make reference' and look at the difference", path)
	}
}

// Recorder is a registry that keeps what is registered.
type Recorder struct{ Collectors []prometheus.Collector }

// Register keeps a collector.
func (r *Recorder) Register(c prometheus.Collector) error {
	r.Collectors = append(r.Collectors, c)
	return nil
}

// MustRegister keeps collectors.
func (r *Recorder) MustRegister(c ...prometheus.Collector) { r.Collectors = append(r.Collectors, c...) }

// Unregister does nothing.
func (r *Recorder) Unregister(prometheus.Collector) bool { return false }
