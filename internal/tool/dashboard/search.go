package dashboard

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/internal/tool/document"
)

// Search is what a text may mean.
type Search struct {
	Text string `json:"text"`
	Hits []Hit  `json:"hits"`
	// More is how many hits are left out.
	More int      `json:"more,omitempty"`
	Gaps []string `json:"gaps,omitempty"`
}

// Hit is something that a text names, or is a part of the name of.
type Hit struct {
	// Kind is Address, Service, Pool, Node or Peer.
	Kind string `json:"kind"`
	Name string `json:"name"`
	Link string `json:"link"`
	// Exact is set if the text is the name.
	Exact bool `json:"exact,omitempty"`
}

// search leads to what a text names, or shows what it may mean. What the box offers while somebody writes is a part of that page.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	offers := r.Header.Get("HX-Request") != "" && r.Header.Get("HX-Target") == "offers"
	v := s.watcher.latest.Load()
	if v.model != nil && !offers && r.URL.Query().Get("o") != "json" {
		if found := find(v, r.URL.Query().Get("q")); len(found.Hits) > 0 && (found.Hits[0].Exact || len(found.Hits) == 1) {
			http.Redirect(w, r, found.Hits[0].Link, http.StatusSeeOther)
			return
		}
	}
	if offers && v.model != nil {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		found := find(v, r.URL.Query().Get("q"))
		found.Hits = found.Hits[:min(len(found.Hits), 8)]
		if err := templates.ExecuteTemplate(w, "offers", found); err != nil {
			return // who has asked is gone
		}
		return
	}
	p := page{name: "search", kind: document.SearchPage, still: true, make: func(_ *Server, v *view, r *http.Request) (string, any, error) {
		return "Search", find(v, r.URL.Query().Get("q")), nil
	}}
	s.render(p, &view{version: v.version, model: v.model, problem: v.problem, gaps: v.gaps, lost: v.lost, why: v.why, mu: v.mu, pages: map[string]*rendered{}}, r).answer(w, r, v)
}

// hitsAtMost is how many hits are shown.
const hitsAtMost = 100

// find looks for addresses, Services, pools, nodes and peers.
func find(v *view, text string) *Search {
	text = strings.TrimSpace(text)
	out := &Search{Text: text, Hits: []Hit{}, Gaps: v.gaps}
	if text == "" {
		return out
	}
	add := func(kind, name, link string) {
		switch {
		case name == text:
			out.Hits = append([]Hit{{kind, name, link, true}}, out.Hits...)
		case len(out.Hits) >= hitsAtMost:
			out.More++
		default:
			out.Hits = append(out.Hits, Hit{kind, name, link, false})
		}
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		out.Hits = append(out.Hits, Hit{"Address", a.Unmap().String(), "/addresses/" + url.PathEscape(a.Unmap().String()), true})
		return out
	}
	m, low := v.model, strings.ToLower(text)
	has := func(name string) bool { return strings.Contains(strings.ToLower(name), low) }
	for _, name := range slices.Concat(m.Assigner.PoolOrder(), m.Snapshot.SetAsidePools()) {
		if has(name) {
			add("Pool", name, "/pools/"+url.PathEscape(name))
		}
	}
	for i := range m.Config.BGPPeers {
		if name := m.Config.BGPPeers[i].Name; has(name) {
			add("Peer", name, "/network#peer-"+url.PathEscape(name))
		}
	}
	for i := range m.Nodes {
		if name := m.Nodes[i].Name; has(name) {
			add("Node", name, "/network#node-"+url.PathEscape(name))
		}
	}
	for i := range m.Services {
		x := &m.Services[i]
		if x.Spec.Type != "LoadBalancer" {
			continue
		}
		if name := x.Namespace + "/" + x.Name; has(name) {
			if x.Name == text {
				name = x.Name
			}
			add("Service", name, serviceLink(x.Namespace, x.Name))
			if name == x.Name {
				out.Hits[0].Name = x.Namespace + "/" + x.Name
			}
		}
	}
	return out
}
