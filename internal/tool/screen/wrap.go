package screen

import (
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// narrowest is the width below which nothing is wrapped: it would only become harder to read.
const narrowest = 40

// widthOf returns how many columns a terminal has, or what $COLUMNS says; 0: nothing is wrapped.
func widthOf(f *os.File, env func(string) string) int {
	if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n >= narrowest {
		return n
	}
	if f == nil {
		return 0
	}
	if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= narrowest {
		return n
	}
	return 0
}

// line is text with the style of each rune.
type line struct {
	runes  []rune
	styles []Style
}

func (l *line) add(c Cell) {
	for _, r := range Clean(c.Text) {
		l.runes, l.styles = append(l.runes, r), append(l.styles, c.Style)
	}
}

// length returns how long the line is without the spaces at its end.
func (l *line) length() int {
	n := len(l.runes)
	for n > 0 && l.runes[n-1] == ' ' {
		n--
	}
	return n
}

// from returns what is behind a place, without the spaces there.
func (l *line) from(i int) *line {
	for i < len(l.runes) && l.runes[i] == ' ' {
		i++
	}
	return &line{l.runes[i:], l.styles[i:]}
}

// fit returns how much of the line goes into width columns, at least one word behind the first skip runes; it ends before a space.
func (l *line) fit(skip, width int) int {
	if len(l.runes) <= width {
		return len(l.runes)
	}
	end := 0
	for i := skip + 1; i < len(l.runes); i++ {
		if l.runes[i] != ' ' || l.runes[i-1] == ' ' {
			continue
		}
		if i > width && end > 0 {
			break
		}
		end = i
		if i > width {
			break
		}
	}
	if end == 0 {
		return len(l.runes)
	}
	return end
}

// write prints a line, with what does not fit below it, indented by hang. The first skip runes are not wrapped.
func (s *Screen) write(l *line, skip, hang int) {
	for indent := 0; ; indent = hang {
		end := len(l.runes)
		if s.width > 0 {
			end = l.fit(skip, max(s.width-indent, 1))
		}
		s.print(&line{l.runes[:end], l.styles[:end]}, indent)
		if l = l.from(end); len(l.runes) == 0 {
			return
		}
		skip = 0
	}
}

func (s *Screen) print(l *line, indent int) {
	end := l.length()
	var out strings.Builder
	out.WriteString(strings.Repeat(" ", indent))
	for i := 0; i < end; {
		j := i
		for j < end && l.styles[j] == l.styles[i] {
			j++
		}
		out.WriteString(s.styled(string(l.runes[i:j]), l.styles[i]))
		i = j
	}
	out.WriteByte('\n')
	_, _ = s.w.Write([]byte(out.String())) // as with fmt.Print, nobody could be told
}

func (s *Screen) styled(text string, style Style) string {
	if !s.colours || style == Plain {
		return text
	}
	return "\x1b[" + codes[style] + "m" + text + "\x1b[0m"
}

// indentOf returns with how many spaces a text begins.
func indentOf(text string) int {
	return utf8.RuneCountInString(text) - utf8.RuneCountInString(strings.TrimLeft(text, " "))
}
