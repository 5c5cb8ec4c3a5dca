package screen

import (
	"strings"
	"unicode/utf8"
)

// Table prints rows with aligned columns, indented by two spaces. What does not fit of a last column goes below it; if it would have too little
// room there, all of it goes below the others, further to the left. If these do not fit, the row is wrapped as text is.
func (s *Screen) Table(rows ...[]Cell) {
	widths := columns(rows)
	for _, r := range rows {
		if len(r) == 0 {
			s.Line()
			continue
		}
		last := r[len(r)-1]
		others := padded(r[:len(r)-1], widths)
		start, size := len(others.runes)+gap, utf8.RuneCountInString(Clean(last.Text))
		room := s.width - start
		switch {
		case s.width == 0, size <= room, size > 0 && room >= max(narrowColumn, longestWord(last.Text)):
			others.add(C("%s", strings.Repeat(" ", gap)))
			others.add(last)
			s.write(others, start, start)
		case others.length() <= s.width:
			s.print(others, 0)
			if size > 0 {
				s.write(below(last), hanging, hanging)
			}
		default:
			s.write(loose(r), gap, hanging)
		}
	}
}

// Fits reports whether the columns of a table, but for the last one, fit into the width of the screen.
func (s *Screen) Fits(rows ...[]Cell) bool {
	sum, widths := 0, columns(rows)
	for _, w := range widths[:max(0, len(widths)-1)] {
		sum += gap + w
	}
	return s.width == 0 || sum <= s.width
}

const (
	// gap is how far apart columns are, and how far the first one is from the left.
	gap = 2
	// hanging is how far to the right a row goes on that has been wrapped.
	hanging = 6
	// narrowColumn is the width below which a last column goes on at the left of the screen.
	narrowColumn = 24
)

// columns returns the widths of all columns; a cell that is the last one of its row takes no room.
func columns(rows [][]Cell) []int {
	var out []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(out) {
				out = append(out, 0)
			}
			if i < len(r)-1 {
				out[i] = max(out[i], utf8.RuneCountInString(Clean(c.Text)))
			}
		}
	}
	return out
}

// padded returns cells below each other's columns.
func padded(cells []Cell, widths []int) *line {
	l := &line{}
	for i, c := range cells {
		l.add(C("%s", strings.Repeat(" ", gap)))
		l.add(c)
		l.add(C("%s", strings.Repeat(" ", widths[i]-utf8.RuneCountInString(Clean(c.Text)))))
	}
	return l
}

// loose returns cells without columns.
func loose(cells []Cell) *line {
	l := &line{}
	for _, c := range cells {
		if c.Text != "" {
			l.add(C("%s", strings.Repeat(" ", gap)))
			l.add(c)
		}
	}
	return l
}

func below(c Cell) *line {
	l := &line{}
	l.add(C("%s", strings.Repeat(" ", hanging)))
	l.add(c)
	return l
}

func longestWord(text string) int {
	most := 0
	for word := range strings.FieldsSeq(Clean(text)) {
		most = max(most, utf8.RuneCountInString(word))
	}
	return most
}
