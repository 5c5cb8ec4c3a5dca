package migrate

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// port is one that a speaker needs of its node.
type port struct {
	value   string // of the chart
	usual   int    // its default
	instead int    // where to look for a free one first
}

// ports are all of them. The metrics of the controller have the port of the speakers' metrics.
var ports = []port{
	{"speaker.memberlist.mlBindPort", 7946, 7956},
	{"prometheus.metricsPort", 7472, 7482},
	{"speaker.healthPort", 17472, 17482},
}

// implied are the ports of MetalLB's speakers that no container declares in some of its releases: of their arguments' defaults, of
// frr-metrics, of FRR's daemons and of frr-k8s.
var implied = []int{7472, 7473, 7572, 7573, 7946, 17472, 2600, 2601, 2605, 2616, 2617}

// portFlag finds a port in an argument or an environment variable: "--port=7472", "--metrics-bind-address=:7573", "127.0.0.1:17472",
// "7946".
var portFlag = regexp.MustCompile(`^(?:--[a-z0-9-]*port[a-z0-9-]*=|.*:)?([0-9]{2,5})/?$`)

// taken returns the ports of nodes that DaemonSets use, or may use, and whether Fairlead has speakers. MetalLB's do not count if they are
// gone.
func (m *Migration) taken(ctx context.Context, gone bool) (out map[int]bool, speakers bool, err error) {
	var sets appsv1.DaemonSetList
	if err := m.client.List(ctx, &sets); err != nil {
		return nil, false, fmt.Errorf("look for the ports that DaemonSets use: %w", err)
	}
	out = map[int]bool{}
	for i := range sets.Items {
		d := &sets.Items[i]
		if d.Labels["app.kubernetes.io/name"] == "fairlead" {
			speakers = speakers || d.Namespace == m.Namespace
			continue
		}
		announces := part(d) == "speaker"
		if announces && gone {
			continue
		}
		if announces {
			for _, p := range implied {
				out[p] = true
			}
		}
		pod := &d.Spec.Template.Spec
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			used(&c, pod.HostNetwork || announces, out)
		}
	}
	return out, speakers, nil
}

// used adds the ports of a container that are those of its node.
func used(c *corev1.Container, host bool, out map[int]bool) {
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			out[int(p.HostPort)] = true
		}
		if host {
			out[int(p.ContainerPort)] = true
		}
	}
	if !host {
		return
	}
	words := slices.Concat(c.Command, c.Args)
	for _, e := range c.Env {
		if strings.Contains(strings.ToLower(e.Name), "port") {
			words = append(words, e.Value)
		}
	}
	for _, w := range words {
		if found := portFlag.FindStringSubmatch(w); found != nil {
			if n, err := strconv.Atoi(found[1]); err == nil && n < 1<<16 {
				out[n] = true
			}
		}
	}
}

// free chooses a port that is not taken for each value of the chart: the usual one if it is free.
func free(taken map[int]bool) map[string]int {
	out := map[string]int{}
	for _, p := range ports {
		n := p.usual
		for at := p.instead; taken[n]; at++ {
			n = at
		}
		taken[n] = true
		out[p.value] = n
	}
	return out
}

// unusualPorts returns which values of the chart have to be other than usual, as --set takes them; empty if none has to.
func (m *Migration) unusualPorts(ctx context.Context) (string, error) {
	taken, _, err := m.taken(ctx, false)
	if err != nil {
		return "", err
	}
	chosen := free(taken)
	for _, p := range ports {
		if chosen[p.value] == p.usual {
			delete(chosen, p.value)
		}
	}
	return settings(chosen), nil
}

// usualPorts returns the settings that give Fairlead's speakers the usual ports once nothing of MetalLB is left; empty if it has no
// speakers.
func (m *Migration) usualPorts(ctx context.Context) (string, error) {
	taken, speakers, err := m.taken(ctx, true)
	if err != nil || !speakers {
		return "", err
	}
	return settings(free(taken)), nil
}

func settings(values map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		out = append(out, fmt.Sprintf("%s=%d", k, values[k]))
	}
	return strings.Join(out, ",")
}
