// Package screen prints reports for people: headings, tables and bars, with colours where they are wanted. Texts of objects are
// hostile input: whatever could command a terminal is taken out.
package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// Style is how a text looks.
type Style int

// The styles. Good, Bad and Doubtful are verdicts.
const (
	Plain Style = iota
	Bold
	Faint
	Good
	Bad
	Doubtful
)

var codes = map[Style]string{Bold: "1", Faint: "2", Good: "32", Bad: "31", Doubtful: "33"}

// Screen is where a report is printed.
type Screen struct {
	w       io.Writer
	colours bool
	width   int // of the terminal; 0: nothing is wrapped
}

// New returns a Screen. It has colours if w is a terminal, or CLICOLOR_FORCE is set, and the environment does not say otherwise (no-color.org,
// bixense.com/clicolors), and wraps text to the width of the terminal, or to $COLUMNS.
func New(w io.Writer, env func(string) string) *Screen {
	f, _ := w.(*os.File)
	s := &Screen{w: w, width: widthOf(f, env)}
	switch {
	case env("NO_COLOR") != "":
	case env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0":
		s.colours = true
	case f != nil && env("TERM") != "dumb":
		info, err := f.Stat()
		s.colours = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// Coloured reports whether a Screen has colours.
func (s *Screen) Coloured() bool { return s.colours }

// inColour returns a Screen with colours.
func inColour(w io.Writer) *Screen { return &Screen{w: w, colours: true} }

// Cell is a text with a style.
type Cell struct {
	Text  string
	Style Style
}

// C returns a plain cell.
func C(format string, args ...any) Cell { return Cell{Text: fmt.Sprintf(format, args...)} }

// In returns the cell in a style.
func (c Cell) In(s Style) Cell { return Cell{c.Text, s} }

// Line prints cells with a space between them. What does not fit goes below, further to the right.
func (s *Screen) Line(cells ...Cell) {
	l := joined(cells)
	indent := indentOf(string(l.runes))
	s.write(l, indent, indent+2)
}

// Verbatim prints cells with a space between them, however long that is: command lines are copied, and differences compared.
func (s *Screen) Verbatim(cells ...Cell) { s.print(joined(cells), 0) }

func joined(cells []Cell) *line {
	l := &line{}
	for i, c := range cells {
		if i > 0 {
			l.add(C(" "))
		}
		l.add(c)
	}
	return l
}

// Heading prints an empty line and a title.
func (s *Screen) Heading(title string) {
	fmt.Fprintln(s.w)
	s.Line(Cell{title, Bold})
}

// Bar returns a bar of width characters, of which percent are full.
func Bar(percent, width int) string {
	full := min(width, max(0, percent*width/100))
	if percent > 0 && full == 0 {
		full = 1
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// Clean returns s without anything that a terminal obeys: control characters, and those that change the direction of text. White space
// of any kind becomes a space.
func Clean(s string) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			out.WriteByte(' ')
		case !dangerous(r):
			out.WriteRune(r)
		}
	}
	return out.String()
}

// dangerous reports whether a terminal may act on r: control characters of both sets, format characters, line separators.
func dangerous(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// JSON returns v as indented JSON in which nothing is dangerous to a terminal either.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, r := range b.String() {
		if r != '\n' && dangerous(r) {
			if r > 0xffff {
				high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
				fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
				continue
			}
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.Bytes(), nil
}
