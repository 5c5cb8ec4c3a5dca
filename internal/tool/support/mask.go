package support

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Masked is written in place of what nobody else is to read.
const Masked = "(masked)"

// copies are the annotations in which tools keep a whole object as it was applied, passwords included: kubectl, kapp and Rancher.
var copies = []string{"kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"}

// shortest is the length from which on a value that was masked is masked wherever else it is: a shorter one is part of too many words.
const shortest = 4

// masker takes out what nobody else is to read. What it has masked under the name of a password, it masks in every text from then on.
type masker struct {
	known []string // the longest first
	count int
}

// names are what the names of passwords have in them.
const names = `password|passwd|passphrase|pwd|secret|token|credential|api[_-]?key|auth[_-]?key|private[_-]?key|authorization`

var (
	private = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`)
	jwt     = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	bearer  = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=-]{4,}`)
	inURL   = regexp.MustCompile(`(://)[^/\s:@"']*:[^/\s@"']+@`)
	// named is a name that sounds like a password's, and the value behind it: in quotes, which may be those of a quoted text, or up to the next
	// space.
	named = regexp.MustCompile(`(?i)([\w.-]*(?:` + names + `)[\w.-]*\\*["']?\s*[:=]\s*)` +
		`(\\+"[^"]*"|"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|(?:bearer|basic)\s+[^\s"'\\]+|[^\s"'\\]+)`)
	// sensitive is such a name alone.
	sensitive = regexp.MustCompile(`(?i)(?:` + names + `)`)
	// refers is the name of something that names a Secret, and holds none.
	refers = regexp.MustCompile(`(?i)(ref|name|namespace|secrets|passwordsecret)$`)
)

// text returns a text without what nobody else is to read.
func (m *masker) text(s string) string {
	out := private.ReplaceAllString(s, Masked)
	out = named.ReplaceAllStringFunc(out, func(found string) string {
		x := named.FindStringSubmatch(found)
		return x[1] + quoted(x[2])
	})
	out = bearer.ReplaceAllString(out, "$1 "+Masked)
	out = jwt.ReplaceAllString(out, Masked)
	out = inURL.ReplaceAllString(out, "$1"+Masked+"@")
	for _, k := range m.known {
		out = strings.ReplaceAll(out, k, Masked)
	}
	if out != s { // what is masked already is masked again by its name, and is no other place
		m.count += max(1, strings.Count(out, Masked)-strings.Count(s, Masked))
	}
	return out
}

// quoted is Masked in the quotes that a value has.
func quoted(value string) string {
	for _, q := range []string{`"`, `'`} {
		if i := strings.Index(value, q); i >= 0 && i == len(value)-len(strings.TrimLeft(value, `\`)) && strings.HasSuffix(value, q) {
			return value[:i+1] + Masked + value[:i+1]
		}
	}
	return Masked
}

// words are what is no password, although it is under the name of one.
var words = []string{Masked, "true", "false", "none", "null", "auto", "enabled", "disabled", "required", "optional"}

// learn notes what is masked.
func (m *masker) learn(value string) {
	if len(value) < shortest || slices.Contains(words, strings.ToLower(value)) {
		return
	}
	for _, form := range []string{value, quoteJSON(value, true), quoteJSON(value, false), strconv.Quote(value), strconv.QuoteToASCII(value)} {
		if form != value {
			form = form[1 : len(form)-1] // without the quotes
		}
		if !slices.Contains(m.known, form) {
			m.known = append(m.known, form)
		}
	}
	slices.SortFunc(m.known, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
}

// quoteJSON is a text as JSON has it: as for web pages, or else.
func quoteJSON(value string, html bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(value); err != nil {
		panic(err) // a text can be encoded
	}
	return strings.TrimSpace(b.String())
}

// take masks an object's passwords, and learns them. all masks whatever sounds like one; else names of Secrets stay.
func (m *masker) take(u *unstructured.Unstructured, all bool) {
	u.SetManagedFields(nil)
	if notes := u.GetAnnotations(); notes != nil {
		for _, c := range copies {
			delete(notes, c)
		}
		u.SetAnnotations(notes)
	}
	m.fields(u.Object, all, place{})
}

// place is where in an object something is: under a name that sounds like a password's, and under one of a reference.
type place struct{ password, reference bool }

// fields masks what is under names that sound like a password's.
func (m *masker) fields(v any, all bool, at place) any {
	switch x := v.(type) {
	case map[string]any:
		name, _ := x["name"].(string)
		for key, value := range x {
			in := place{at.password, at.reference || refers.MatchString(key)}
			if sensitive.MatchString(key) && (all || !refers.MatchString(key)) || key == "value" && sensitive.MatchString(name) { // of an environment variable
				in.password = true
			}
			x[key] = m.fields(value, all, in)
		}
	case []any:
		for i, value := range x {
			in := at
			if i > 0 && isFlag(x[i-1]) && !strings.HasPrefix(fmt.Sprint(value), "-") {
				in.password = true
			}
			x[i] = m.fields(value, all, in)
		}
	case string, int64, float64:
		if text := fmt.Sprint(x); at.password && text != "" {
			m.count++
			if !at.reference {
				m.learn(text)
			}
			return Masked
		}
	}
	return v
}

// isFlag reports whether an argument of a command has a password as its next one.
func isFlag(arg any) bool {
	flag, _ := arg.(string)
	return strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && sensitive.MatchString(flag)
}

// strings masks every text in a value.
func (m *masker) strings(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for key, value := range x {
			x[key] = m.strings(value)
		}
	case []any:
		for i, value := range x {
			x[i] = m.strings(value)
		}
	case string:
		return m.text(x)
	}
	return v
}
