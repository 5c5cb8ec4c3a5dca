package bgp

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// summaryBIRD returns the routes as features expect them.
func summaryBIRD(r *routing.BIRD) []string {
	var out []string
	var prefix string
	attrs := map[string]string{}
	flush := func() {
		if attrs["next"] != "" {
			out = append(out, strings.Join([]string{prefix, attrs["next"], orDash(attrs["path"]), orDash(attrs["pref"]),
				orDash(strings.Join(append(strings.Fields(attrs["comm"]), strings.Fields(attrs["large"])...), ","))}, " "))
		}
		attrs = map[string]string{}
	}
	for line := range strings.Lines(r.Birdc("show", "route", "protocol", "speaker", "all")) {
		line = strings.TrimRight(line, "\n")
		if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, " ") && strings.Contains(fields[0], "/") {
			flush()
			prefix = fields[0]
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		clean := func(s, sep string) string {
			return strings.ReplaceAll(strings.NewReplacer("(", "", ")", "", sep, ":").Replace(s), "  ", " ")
		}
		switch name {
		case "BGP.next_hop":
			attrs["next"] = strings.Fields(value)[0]
		case "BGP.as_path":
			attrs["path"] = strings.TrimSpace(value)
		case "BGP.local_pref":
			attrs["pref"] = value
		case "BGP.community":
			attrs["comm"] = clean(value, ",")
		case "BGP.large_community":
			attrs["large"] = clean(value, ", ")
		}
	}
	flush()
	slices.Sort(out)
	return out
}
