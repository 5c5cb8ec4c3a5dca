package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

// page is what a page shows of a view.
type page struct {
	// name is that of the template, and of the entry in the navigation.
	name string
	kind document.Kind // of its data
	// make waits for nobody: all pages of the view wait for it.
	make func(s *Server, v *view, r *http.Request) (title string, data any, err error)
	// read returns the view to make the page of, and may ask the API server; nil: what has been heard is enough.
	read func(s *Server, v *view, r *http.Request) (*view, error)
	// still is set if the page changes only when asked: it holds what somebody has typed.
	still bool
}

// pages are by their patterns.
var pages = map[string]page{
	"/{$}":                         {name: "overview", kind: document.OverviewPage, make: (*Server).overview},
	"/pools/{name}":                {name: "pool", kind: document.PoolPage, make: (*Server).pool},
	"/services/{namespace}/{name}": {name: "service", kind: document.ServiceExplanation, make: (*Server).service, read: (*Server).readService},
	"/addresses/{ip}":              {name: "address", kind: document.AddressExplanation, make: (*Server).address},
	"/network":                     {name: "network", kind: document.NetworkPage, make: (*Server).network},
	"/configuration":               {name: "configuration", kind: document.ConfigurationPage, make: (*Server).configuration},
}

var (
	errReading  = errors.New("the cluster is being read")
	errNotFound = errors.New("there is no such thing")
)

// layout is what every page has.
type layout struct {
	Title   string
	Name    string
	Version uint64
	// Digest changes with what is shown.
	Digest string
	// Bare is set on pages that show nothing of the cluster.
	Bare bool
	// Still is set on pages that change only when asked.
	Still bool
	// JSON is the address of the page's data.
	JSON string
	// Lost is since when the API server does not answer.
	Lost time.Time
	Why  string
	Gaps []string
	Data any
}

// rendered is a page of a view.
type rendered struct {
	layout
	kind   document.Kind
	status int
	body   []byte // of the part that changes
}

// page serves a page.
func (s *Server) page(p page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := s.watcher.latest.Load()
		s.render(p, v, r).answer(w, r, v)
	}
}

// answer writes a page of a view: all of it; or, to a page that asks for itself, what has changed; or its data.
func (x *rendered) answer(w http.ResponseWriter, r *http.Request, v *view) {
	switch {
	case r.URL.Query().Get("o") == "json":
		writeJSON(w, x.status, x.kind, x.Data)
	case errors.Is(v.problem, errReading) && r.Header.Get("HX-Request") == "":
		x.writeTo(w, http.StatusOK) // it is a good page, which will soon show more
	case r.Header.Get("X-Seen") == x.Digest:
		w.WriteHeader(http.StatusNoContent)
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(x.body) // who has asked may be gone
	default:
		x.writeTo(w, x.status)
	}
}

// render makes a page, once for each view however many look at it.
func (s *Server) render(p page, v *view, r *http.Request) *rendered {
	key := r.URL.Path + "?" + r.URL.Query().Get("within")
	if x := v.page(key); x != nil {
		return x
	}
	of, err := v, v.problem
	if err == nil && p.read != nil {
		of, err = p.read(s, v, r)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if x := v.pages[key]; x != nil {
		return x
	}
	x := &rendered{kind: p.kind, status: http.StatusOK, layout: layout{Name: p.name, Version: v.version, Gaps: v.gaps, Lost: v.lost, JSON: jsonOf(r.URL)}}
	if v.why != nil {
		x.Why = v.why.Error()
	}
	template := p.name
	if err == nil {
		x.Title, x.Data, err = p.make(s, of, r)
		x.Still = p.still
	}
	if err != nil {
		template, x.Title, x.Data = "problem", "Nothing to show", Problem{Text: err.Error(), Reading: errors.Is(err, errReading)}
		x.kind, x.status = document.Problem, http.StatusServiceUnavailable
		if errors.Is(err, errNotFound) {
			x.status = http.StatusNotFound
		}
	}
	x.body, x.Digest = bodyOf(template, &x.layout)
	if len(v.pages) < pagesAtMost && (err == nil || p.read == nil) { // where the API server has not answered this one, it may answer the next one
		v.pages[key] = x
	}
	return x
}

// pagesAtMost is how many pages of a view are kept.
const pagesAtMost = 200

// Problem is why a page shows nothing.
type Problem struct {
	Text    string `json:"problem"`
	Reading bool   `json:"reading,omitempty"`
}

func jsonOf(u *url.URL) string {
	q := u.Query()
	q.Set("o", "json")
	return u.Path + "?" + q.Encode()
}

//go:embed templates
var sources embed.FS

var templates = template.Must(template.New("").Funcs(functions).ParseFS(sources, "templates/*.html"))

// bodyOf makes the part of a page that changes, and its digest.
func bodyOf(name string, l *layout) ([]byte, string) {
	var inner, out bytes.Buffer
	if err := templates.ExecuteTemplate(&inner, name, l); err != nil {
		panic(err) // the tests make every page
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%q\x00%v", l.Lost, l.Why, l.Gaps, l.Title)
	h.Write(inner.Bytes())
	l.Digest = base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
	if err := templates.ExecuteTemplate(&out, "live", struct {
		*layout
		Inner template.HTML
	}{l, template.HTML(inner.String())}); err != nil { // it is what another template has made
		panic(err)
	}
	return out.Bytes(), l.Digest
}

func (x *rendered) writeTo(w http.ResponseWriter, status int) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, "layout", struct {
		*layout
		Body template.HTML
	}{&x.layout, template.HTML(x.body)}); err != nil { // it is what another template has made
		panic(err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // who has asked may be gone
}

// writePage writes a page that is of no view.
func writePage(w http.ResponseWriter, status int, name string, l layout) {
	x := &rendered{status: status, layout: l}
	x.body, x.Digest = bodyOf(name, &x.layout)
	x.writeTo(w, status)
}

func writeJSON(w http.ResponseWriter, status int, kind document.Kind, data any) {
	b, err := document.JSON(kind, data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who has asked may be gone
}

// functions are those of the templates. What objects say goes through text: characters that nobody sees, and that change how others are
// read, are left out.
var functions = template.FuncMap{
	"text":    screen.Clean,
	"clip":    func(s string) string { return clip(screen.Clean(s), 400) },
	"number":  number,
	"join":    func(all []string) string { return screen.Clean(strings.Join(all, ", ")) },
	"service": serviceLink,
	"split":   func(name string) string { ns, n, _ := strings.Cut(name, "/"); return serviceLink(ns, n) },
	"pool":    func(name string) string { return "/pools/" + url.PathEscape(name) },
	"address": func(ip string) string { return "/addresses/" + url.PathEscape(ip) },
	"within": func(pool, prefix string) string {
		return "/pools/" + url.PathEscape(pool) + "?within=" + url.QueryEscape(prefix)
	},
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"moment":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"sign":    signOf,
	"cell":    cellOf,
	"signs":   func() []cellSign { return cellSigns },
	"add":     func(a, b int) int { return a + b },
	"head":    func(all []Announced) []Announced { return all[:min(len(all), listAtMost)] },
	"rest":    func(all []Announced) int { return max(0, len(all)-listAtMost) },
	"mapWith": func(m *explain.Map, changed map[string]bool) shownMap { return shownMap{m, changed} },
	"diffClass": func(line string) string {
		return map[byte]string{'+': "plus", '-': "minus"}[(line + " ")[0]]
	},
	"blockTop":    func(b explain.Block) int { return 10 - blockHeight(b) },
	"blockHeight": blockHeight,
	"blockSign":   blockSign,
	"percent":     percent,
}

// shownMap is a Map in which some addresses stand out.
type shownMap struct {
	Map     *explain.Map
	Changed map[string]bool
}

// blockHeight is how full a block is drawn, in tenths.
func blockHeight(b explain.Block) int { return (percent(b.InUse, b.Capacity) + 9) / 10 }

// blockSign is what is written on a block: how much of it is in use.
func blockSign(b explain.Block) string {
	switch {
	case b.InUse == 0 && b.Reserved > 0:
		return "R"
	case b.InUse == 0:
		return "·"
	case b.InUse > 999:
		return fmt.Sprintf("%dk", b.InUse/1000)
	}
	return fmt.Sprint(b.InUse)
}

func serviceLink(namespace, name string) string {
	return "/services/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}

// clip shortens a text that is longer than anybody reads in passing.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + " …"
	}
	return s
}

func percent(part, whole document.Count) int {
	switch {
	case part <= 0 || whole <= 0:
		return 0
	case part >= whole:
		return 100
	}
	return max(1, int(float64(part)/float64(whole)*100))
}

// number is a count as people read it; what does not fit into 64 bits is said to be that.
func number(n document.Count) string {
	const most = 1<<63 - 1
	if n == most {
		return "2⁶³ or more"
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
