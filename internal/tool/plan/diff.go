package plan

import (
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/internal/tool/screen"
)

// around is how many lines around a difference are shown.
const around = 2

// most is how many lines on each side are compared line by line; more are shown as replaced.
const most = 2000

// Lines is an object as lines of YAML, without what commands a terminal.
func Lines(content map[string]any) []string {
	if len(content) == 0 {
		return nil
	}
	b, err := yaml.Marshal(content)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		out = append(out, screen.Clean(strings.TrimSuffix(line, "\n")))
	}
	return out
}

// Diff returns the differences between two texts: lines with "-" or "+" in front, and a few around them with a space.
func Diff(before, after []string) []string {
	if len(before) > most || len(after) > most {
		return append(prefixed("-", before), prefixed("+", after)...)
	}
	// length[i][j] is that of the longest common subsequence of before[i:] and after[j:].
	length := make([][]int, len(before)+1)
	for i := range length {
		length[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if before[i] == after[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var all []string
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			all, i, j = append(all, " "+before[i]), i+1, j+1
		case i < len(before) && (j == len(after) || length[i+1][j] >= length[i][j+1]):
			all, i = append(all, "-"+before[i]), i+1
		default:
			all, j = append(all, "+"+after[j]), j+1
		}
	}
	return near(all)
}

// near leaves out lines that are far from a difference.
func near(all []string) []string {
	keep := make([]bool, len(all))
	for i, line := range all {
		if line[0] == ' ' {
			continue
		}
		for j := max(0, i-around); j < min(len(all), i+around+1); j++ {
			keep[j] = true
		}
	}
	var out []string
	for i, line := range all {
		switch {
		case keep[i]:
			out = append(out, line)
		case i > 0 && keep[i-1] && len(out) > 0:
			out = append(out, " ...")
		}
	}
	return out
}

func prefixed(sign string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = sign + l
	}
	return out
}
