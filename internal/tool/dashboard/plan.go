package dashboard

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Plan is what would change if YAML were applied.
type Plan struct {
	// YAML is what was asked about; absent: nothing yet.
	YAML string `json:"yaml,omitempty"`
	// Problem says why it cannot be told.
	Problem string       `json:"problem,omitempty"`
	Report  *plan.Report `json:"report,omitempty"`
	// NotKnown says what could not be found out.
	NotKnown string `json:"notKnown,omitempty"`
	// Pools and Services are pictures of some of what would change.
	Pools    []BeforeAfter[*explain.Map] `json:"-"`
	Services []BeforeAfter[*Picture]     `json:"-"`
	Writes   []Write                     `json:"-"`
}

// BeforeAfter is a thing as it is and as it would be; nil: it is not, or would not be.
type BeforeAfter[T any] struct {
	Name          string
	Before, After T
	// Changed are the addresses of a map that would have another state or other holders.
	Changed map[string]bool
}

// Write is what a backend would write, line by line.
type Write struct {
	Backend, Verb, What string
	Lines               []string
}

const (
	// yamlAtMost is how long what is pasted may be.
	yamlAtMost = 4 << 20
	// planPatience is how long a plan may take.
	planPatience = time.Minute
	// picturesAtMost is how many pools, and how many Services, are drawn.
	picturesAtMost = 4
)

// emptyPlan is the page before anything has been asked.
var emptyPlan = page{name: "plan", kind: document.PlanPage, still: true, make: func(*Server, *view, *http.Request) (string, any, error) { return "Plan", &Plan{}, nil }}

// plan tells what would change. Nothing is written: the connection would not let it.
func (s *Server) plan(w http.ResponseWriter, r *http.Request) {
	out := &Plan{}
	r.Body = http.MaxBytesReader(w, r.Body, yamlAtMost)
	if err := r.ParseForm(); err != nil {
		out.Problem = "what was sent cannot be read: " + err.Error()
	} else {
		out.YAML = strings.ReplaceAll(r.PostForm.Get("yaml"), "\r\n", "\n")
		s.fill(r.Context(), out)
	}
	status := http.StatusOK
	if out.Problem != "" {
		status = http.StatusUnprocessableEntity
	}
	if r.URL.Query().Get("o") == "json" {
		writeJSON(w, status, document.PlanPage, out)
		return
	}
	v := s.watcher.latest.Load()
	l := layout{Title: "Plan", Name: "plan", Version: v.version, Gaps: v.gaps, Lost: v.lost, Data: out, Still: true}
	if r.Header.Get("HX-Request") != "" { // the result alone, and with a status at which htmx shows it
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = templates.ExecuteTemplate(w, "planned", &l) // who has asked may be gone
		return
	}
	writePage(w, status, "plan", l)
}

// fill makes the plan.
func (s *Server) fill(ctx context.Context, out *Plan) {
	s.planned.Lock()
	defer s.planned.Unlock()
	ctx, cancel := context.WithTimeout(ctx, planPatience)
	defer cancel()
	r, err := s.Plan(ctx, strings.NewReader(out.YAML))
	if err != nil {
		out.Problem = err.Error()
		return
	}
	out.Report = r.Report
	if err := r.Unknown(); err != nil {
		out.NotKnown = err.Error()
	}
	out.drawPools(r)
	out.drawServices(r)
	for i := range r.Backends {
		for _, x := range r.Backends[i].Writes {
			name := x.Name
			if x.Namespace != "" {
				name = x.Namespace + "/" + name
			}
			out.Writes = append(out.Writes, Write{r.Backends[i].Name, x.Verb, x.Kind + " " + name, plan.Diff(plan.Lines(x.Before), plan.Lines(x.After))})
		}
	}
}

// drawPools draws the pools that would change, and those of the Services that would.
func (p *Plan) drawPools(r *plan.Rehearsal) {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, o := range r.Objects {
		if o.Kind == "IPAddressPool" && o.Action != plan.ActionUnchanged && o.Action != plan.ActionIgnored {
			add(o.Name)
		}
	}
	for _, x := range r.Services {
		for m, addresses := range map[*survey.Model][]string{r.Before: x.Before, r.After: x.After} {
			for _, a := range addresses {
				if addr, err := netip.ParseAddr(a); err == nil {
					if pool, _ := m.Assigner.PoolOf(addr); pool != nil {
						add(pool.Name)
					}
				}
			}
		}
		if len(names) > picturesAtMost {
			break
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), picturesAtMost)] {
		b := BeforeAfter[*explain.Map]{Name: name, Changed: map[string]bool{}}
		b.Before, _ = explain.MapOf(r.Before, name, netip.Prefix{})
		b.After, _ = explain.MapOf(r.After, name, netip.Prefix{})
		was := cellsOf(b.Before)
		is := cellsOf(b.After)
		for ip, c := range is {
			if old, ok := was[ip]; (!ok && c.State != explain.AddressOutside) || ok && (old.State != c.State || !slices.Equal(old.Holders, c.Holders)) {
				b.Changed[ip] = true
			}
		}
		for ip, c := range was {
			if _, ok := is[ip]; !ok && c.State != explain.AddressOutside {
				b.Changed[ip] = true
			}
		}
		p.Pools = append(p.Pools, b)
	}
}

func cellsOf(m *explain.Map) map[string]explain.Cell {
	out := map[string]explain.Cell{}
	if m == nil {
		return out
	}
	for _, part := range m.Parts {
		for _, c := range part.Cells {
			out[c.IP] = c
		}
	}
	return out
}

// drawServices draws the ways of Services that would change, up to their advertisements: what comes after shows only when it is done.
func (p *Plan) drawServices(r *plan.Rehearsal) {
	for _, x := range r.Services[:min(len(r.Services), picturesAtMost)] {
		b := BeforeAfter[*Picture]{Name: x.Namespace + "/" + x.Name}
		for m, into := range map[*survey.Model]**Picture{r.Before: &b.Before, r.After: &b.After} {
			if m.Service(x.Namespace, x.Name) != nil {
				*into = wide(upToAdvertisements(stepsOf(explain.OfService(m, x.Namespace, x.Name))))
			}
		}
		p.Services = append(p.Services, b)
	}
}

func upToAdvertisements(all []step) []step {
	i := slices.IndexFunc(all, func(s step) bool { return s.name == explain.StepAdvertisement })
	return all[:i+1]
}
