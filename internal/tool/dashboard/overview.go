package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Overview is how an installation is at large.
type Overview struct {
	Status *status.Report `json:"status"`
	Pools  []PoolSummary  `json:"pools"`
	// Waiting have no address, and Unadvertised are not advertised, by reason; the reason with the longest wait first.
	Waiting      []Group `json:"waiting"`
	Unadvertised []Group `json:"unadvertised"`
	// Unknown are those of which nobody says whether a router hears them.
	Unknown []Group `json:"unknown"`
	// SessionsDown are the BGP sessions that are not established.
	SessionsDown []explain.Session `json:"sessionsDown"`
	// Takeovers are the latest, the latest first.
	Takeovers []Takeover `json:"takeovers"`
	// Missing are the kinds of which there has to be an object before a Service gets an address that is advertised.
	Missing []string `json:"missing,omitempty"`
	Gaps    []string `json:"gaps,omitempty"`
}

// PoolSummary is how full a pool is.
type PoolSummary struct {
	Name       string              `json:"name"`
	Addresses  []string            `json:"addresses"`
	AutoAssign bool                `json:"autoAssign"`
	Families   []explain.FamilyUse `json:"families"`
	Waiting    int                 `json:"waiting"`
	Problem    string              `json:"problem,omitempty"`
}

// Group is the Services that have the same reason.
type Group struct {
	Reason string `json:"reason"`
	Help   string `json:"help,omitempty"`
	Count  int    `json:"count"`
	// Since is since when the first of them waits.
	Since *time.Time `json:"since,omitempty"`
	// Services are some of them, those first that have waited longest.
	Services []status.Service `json:"services"`
}

// More is how many Services of the Group are not named.
func (g Group) More() int { return g.Count - len(g.Services) }

const (
	// groupAtMost is how many Services of a Group are named, and listAtMost how many things elsewhere.
	groupAtMost = 8
	listAtMost  = 50
	// latestAtMost is how many takeovers are shown at first sight.
	latestAtMost = 6
)

func (s *Server) overview(v *view, _ *http.Request) (string, any, error) {
	m := v.model
	r := status.Of(m, v.sets)
	out := &Overview{
		Status: r, Pools: summaries(explain.OfPools(m)), Unknown: groups(m, r.Services.Unknown), SessionsDown: []explain.Session{},
		Takeovers: v.takeovers[:min(len(v.takeovers), latestAtMost)], Gaps: v.gaps,
	}
	var waiting, unadvertised []status.Service
	for _, x := range r.Services.Waiting {
		if x.Condition == service.ConditionAdvertised {
			unadvertised = append(unadvertised, x)
		} else {
			waiting = append(waiting, x)
		}
	}
	out.Waiting, out.Unadvertised = groups(m, waiting), groups(m, unadvertised)
	// What the page shows by reason is not told a second time.
	short := *r
	short.Services.Waiting, short.Services.Unknown = []status.Service{}, nil
	out.Status = &short
	for _, p := range explain.OfPeers(m).Peers {
		for _, x := range p.Sessions {
			if x.Down() {
				out.SessionsDown = append(out.SessionsDown, x)
			}
		}
	}
	if len(m.Config.Pools) == 0 && !m.Lacks("IPAddressPools") {
		out.Missing = append(out.Missing, "IPAddressPool")
	}
	if len(m.Config.BGPAdvertisements)+len(m.Config.L2Advertisements) == 0 && !m.Lacks("BGPAdvertisements") && !m.Lacks("L2Advertisements") {
		out.Missing = append(out.Missing, "BGPAdvertisement or L2Advertisement")
	}
	return "Overview", out, nil
}

func summaries(r *explain.Pools) []PoolSummary {
	out := make([]PoolSummary, len(r.Pools))
	for i, p := range r.Pools {
		out[i] = PoolSummary{p.Name, p.Addresses, p.AutoAssign, p.Families, p.Waiting, p.Problem}
	}
	return out
}

// groups sorts Services by reason.
func groups(m *survey.Model, all []status.Service) []Group {
	by := map[string]int{}
	out := []Group{}
	for _, x := range all {
		i, ok := by[x.Reason]
		if !ok {
			i = len(out)
			by[x.Reason] = i
			out = append(out, Group{Reason: x.Reason, Help: explain.Help(m.Survey, x.Reason)})
		}
		out[i].Services = append(out[i].Services, x)
	}
	for i := range out {
		g := &out[i]
		slices.SortStableFunc(g.Services, func(a, b status.Service) int { return earlier(a.Since, b.Since) })
		g.Count, g.Since = len(g.Services), g.Services[0].Since
		g.Services = g.Services[:min(len(g.Services), groupAtMost)]
	}
	slices.SortStableFunc(out, func(a, b Group) int { return earlier(a.Since, b.Since) })
	return out
}

// earlier orders times; one that is not known comes last.
func earlier(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(a.UnixNano(), b.UnixNano())
}
