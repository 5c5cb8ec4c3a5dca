package dashboard

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"sync"
)

// guard lets in who has shown the token, once, and has had a cookie since.
type guard struct {
	hosts  []string // that the server is called by; all are this machine
	cookie string   // name of the cookie, which browsers share between ports

	mu      sync.Mutex // protects the following
	token   string     // empty: used
	session string
}

func newGuard(port string) *guard {
	return &guard{hosts: []string{"127.0.0.1:" + port, "localhost:" + port}, cookie: "fairlead-" + port, token: rand.Text(), session: rand.Text()}
}

// policy is the Content-Security-Policy of all answers: nothing comes from elsewhere, and nothing in a page is code.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// checked serves requests that this server is meant by, and that no page of another origin makes. A name that resolves to 127.0.0.1 is not
// enough (DNS rebinding).
func (g *guard) checked(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !slices.Contains(g.hosts, r.Host):
			http.Error(w, "this server is not called so; use the address that kubectl fairlead dashboard has printed", http.StatusMisdirectedRequest)
		case foreign(r), cross.Check(r) != nil:
			http.Error(w, "a page of another origin may not read this", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// foreign reports whether a page of another origin makes a request. That a link is followed from there is no harm: nothing is done by it,
// and the page that it was on does not see the answer.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return true
	}
	site := r.Header.Get("Sec-Fetch-Site")
	link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return site != "" && site != "same-origin" && site != "none" && !link
}

// enter exchanges the token for a cookie. It reports whether the token was right and had not been used.
func (g *guard) enter(w http.ResponseWriter, token string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token == "" || !same(token, g.token) {
		return false
	}
	g.token = ""
	http.SetCookie(w, &http.Cookie{Name: g.cookie, Value: g.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return true
}

// known reports whether a request has the cookie.
func (g *guard) known(r *http.Request) bool {
	c, err := r.Cookie(g.cookie)
	return err == nil && same(c.Value, g.session)
}

// same compares in a time that does not tell how much is right.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// link returns the URL that lets in whoever opens it first.
func (g *guard) link() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return "http://" + g.hosts[0] + "/enter?token=" + g.token
}
