package dashboard

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Network is who announces what to whom.
type Network struct {
	Peers []explain.Peer `json:"peers"`
	// Nodes are those that have a session or announce something, those with a session that is down first.
	Nodes []NetworkNode `json:"nodes"`
	// Takeovers are the latest first. Timeline is a picture of them.
	Takeovers []Takeover `json:"takeovers"`
	Timeline  *Timeline  `json:"-"`
	Gaps      []string   `json:"gaps,omitempty"`
}

// NetworkNode is what a node says and hears.
type NetworkNode struct {
	Name string `json:"name"`
	// Silent is since when its speaker has given no sign of life; absent: it does, or there is none.
	Silent *time.Time `json:"silent,omitempty"`
	// Sessions are by the peers of the Network, which tell of them, too; nil: none with that peer.
	Sessions []*explain.Session `json:"-"`
	// Layer2 is what it announces on the local network.
	Layer2 []Announced `json:"layer2"`
	// Down counts its sessions that are not established.
	Down int `json:"down"`
}

// Announced is a Service that a node announces.
type Announced struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Addresses []string  `json:"addresses"`
	Since     time.Time `json:"since"`
}

// Timeline is a picture of takeovers over time.
type Timeline struct {
	Width, Height int
	From, To      time.Time
	Marks         []Mark
}

// Mark is takeovers at a time.
type Mark struct {
	X, Y, Width, Height int
	Says                string
}

func (s *Server) network(v *view, _ *http.Request) (string, any, error) {
	m := v.model
	out := &Network{Peers: explain.OfPeers(m).Peers, Nodes: []NetworkNode{}, Takeovers: v.takeovers, Gaps: v.gaps}
	by := map[string]int{}
	node := func(name string) *NetworkNode {
		i, ok := by[name]
		if !ok {
			i = len(out.Nodes)
			by[name] = i
			n := NetworkNode{Name: name, Sessions: make([]*explain.Session, len(out.Peers)), Layer2: []Announced{}}
			if since, silent := m.Silent[name]; silent {
				n.Silent = &since
			}
			out.Nodes = append(out.Nodes, n)
		}
		return &out.Nodes[i]
	}
	for i := range out.Peers {
		for j := range out.Peers[i].Sessions {
			x := &out.Peers[i].Sessions[j]
			n := node(x.Node)
			n.Sessions[i] = x
			if x.Down() {
				n.Down++
			}
		}
	}
	addLayer2(m, node)
	for name := range m.Silent {
		node(name)
	}
	slices.SortFunc(out.Nodes, func(a, b NetworkNode) int { return cmp.Or(cmp.Compare(b.Down, a.Down), cmp.Compare(a.Name, b.Name)) })
	out.Timeline = timeline(v.takeovers, m.At)
	return "Network", out, nil
}

// addLayer2 adds what nodes announce on the local network.
func addLayer2(m *survey.Model, node func(string) *NetworkNode) {
	addresses := map[[2]string][]string{}
	for i := range m.Services {
		svc := &m.Services[i]
		for _, a := range service.ShownAddresses(svc) {
			key := [2]string{svc.Namespace, svc.Name}
			addresses[key] = append(addresses[key], a.String())
		}
	}
	for i := range m.L2 {
		x := &m.L2[i]
		if x.Status.Node == "" {
			continue
		}
		n := node(x.Status.Node)
		n.Layer2 = append(n.Layer2, Announced{x.Status.ServiceNamespace, x.Status.ServiceName,
			addresses[[2]string{x.Status.ServiceNamespace, x.Status.ServiceName}], x.CreationTimestamp.Time})
	}
}

// timeline draws the takeovers of the last hour: bars of a minute each.
func timeline(all []Takeover, now time.Time) *Timeline {
	const minutes, bar, height = 60, 10, 60
	t := &Timeline{Width: minutes * bar, Height: height + 4, From: now.Add(-minutes * time.Minute), To: now}
	var counts [minutes]int
	most := 0
	for _, x := range all {
		if i := int(x.At.Sub(t.From) / time.Minute); i >= 0 && i <= minutes {
			i = min(i, minutes-1)
			counts[i]++
			most = max(most, counts[i])
		}
	}
	if most == 0 {
		return nil
	}
	for i, n := range counts {
		if n > 0 {
			h := max(4, n*height/most)
			t.Marks = append(t.Marks, Mark{X: i*bar + 1, Y: height - h, Width: bar - 2, Height: h,
				Says: fmt.Sprintf("%s: %d", t.From.Add(time.Duration(i)*time.Minute).UTC().Format("15:04 UTC"), n)})
		}
	}
	return t
}
