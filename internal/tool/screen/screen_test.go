package screen

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClean(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "pool \"main\" übrig 池", "pool \"main\" übrig 池"},
		{"escape", "a\x1b[2Jb", "a[2Jb"},
		{"operating system command", "\x1b]0;title\x07x", "]0;titlex"},
		{"C1 control sequence introducer", "a\u009b31mb", "a31mb"},
		{"lines become spaces", "a\nb\r\tc", "a b  c"},
		{"direction", "a\u202eb\u2066c", "abc"},
		{"line separator", "a\u2028b", "ab"},
		{"zero width", "a\u200bb\ufeff", "ab"},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"delete", "a\x7fb", "ab"},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, Clean(tc.in)) })
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[0m\u009b\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Clean(s) {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r), "%q", Clean(s))
		}
		b, err := JSON(s)
		require.NoError(t, err)
		for _, r := range string(bytes.TrimSuffix(b, []byte("\n"))) {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r), "%q", b)
		}
		var back, want string
		require.NoError(t, json.Unmarshal(b, &back))
		plain, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(plain, &want))
		require.Equal(t, want, back)
	})
}

func TestTable(t *testing.T) {
	rows := [][]Cell{{C("NAME"), C("WHY")}, {C("a\x1b[1m").In(Good), C("one")}, {C("longer"), C("two\nlines")}, {C("x")}}
	var plain bytes.Buffer
	New(&plain, func(string) string { return "" }).Table(rows...)
	assert.Equal(t, "  NAME    WHY\n  a[1m    one\n  longer  two lines\n  x\n", plain.String(), "no colours: it is not a terminal")
	var coloured bytes.Buffer
	inColour(&coloured).Table(rows...)
	assert.Contains(t, coloured.String(), "\x1b[32ma[1m\x1b[0m    one\n", "colours do not count for the width")
}

func TestBar(t *testing.T) {
	for percent, want := range map[int]string{0: "[..........]", 1: "[#.........]", 50: "[#####.....]", 100: "[##########]", 140: "[##########]"} {
		assert.Equal(t, want, Bar(percent, 10))
	}
}

// atWidth returns what is printed on a terminal of so many columns; empty: on none.
func atWidth(columns string, do func(*Screen)) string {
	var b bytes.Buffer
	do(New(&b, func(name string) string { return map[string]string{"COLUMNS": columns}[name] }))
	return b.String()
}

// TestWideTable: a last column without room goes below the others, in which words are not torn; columns without room are wrapped as text is.
func TestWideTable(t *testing.T) {
	rows := [][]Cell{
		{C("shop/a-service-with-a-long-name"), C("True"), C("one two three four five six seven eight nine ten eleven twelve")}, {C("x"), C("False"), C("short")},
		{C("y"), C("False"), C("")}, {},
	}
	assert.Equal(t, `  shop/a-service-with-a-long-name  True
      one two three four five six seven eight nine
      ten eleven twelve
  x                                False  short
  y                                False

`, atWidth("50", func(s *Screen) { s.Table(rows...) }))
	rows = [][]Cell{{C("shop/a-service-with-a-long-name"), C("is not known"), C("why")}, {C("x"), C("is"), C("short")}}
	assert.Equal(t, "  shop/a-service-with-a-long-name  is not\n      known  why\n  x                                is\n      short\n",
		atWidth("41", func(s *Screen) { s.Table(rows...) }))
	word := []Cell{C("a column of some"), C("spec.serviceAllocation.namespaces leave it out")}
	assert.Equal(t, "  a column of some\n      spec.serviceAllocation.namespaces leave\n      it out\n", atWidth("46", func(s *Screen) { s.Table(word) }), "a word is longer than the room")
}

// TestFits: whether columns have room, but for the last one, which can go below.
func TestFits(t *testing.T) {
	row := []Cell{C("twenty characters ok"), C("twenty characters ok"), C("however long this is, it can go below the others")}
	for columns, want := range map[string]bool{"": true, "44": true, "43": false} {
		atWidth(columns, func(s *Screen) { assert.Equal(t, want, s.Fits(row), columns) })
	}
}

// TestWrap: text goes on below, where its line or its column begins; words, command lines and colours are not torn.
func TestWrap(t *testing.T) {
	long := func(s *Screen) { s.Line(C("  reason:").In(Bad), C("one two three four five six seven eight nine ten")) }
	assert.Equal(t, "  reason: one two three four five six\n    seven eight nine ten\n", atWidth("40", long))
	assert.Equal(t, "  reason: one two three four five six seven eight nine ten\n", atWidth("", long), "it is not a terminal")
	assert.Equal(t, "  reason: one two three four five six seven eight nine ten\n", atWidth("12", long), "too narrow")
	table := func(s *Screen) {
		s.Table([]Cell{C("a"), C("one two three four five six seven eight nine")}, []Cell{C("longer"), C("x")})
	}
	assert.Equal(t, "  a       one two three four five six\n          seven eight nine\n  longer  x\n", atWidth("40", table))
	assert.Equal(t, "  kubectl-get-pods-in-a-namespace-with-a-long-name\n    x\n", atWidth("40", func(s *Screen) { s.Line(C("  kubectl-get-pods-in-a-namespace-with-a-long-name x")) }))
	assert.Equal(t, "  $ kubectl -n metallb-system get pods -o wide\n", atWidth("40", func(s *Screen) { s.Verbatim(C("  $ kubectl -n metallb-system get pods -o wide")) }))

	var b bytes.Buffer
	s := &Screen{w: &b, colours: true, width: 40}
	s.Line(C("one two three four five six seven eight nine").In(Bad))
	assert.Equal(t, "\x1b[31mone two three four five six seven eight\x1b[0m\n  \x1b[31mnine\x1b[0m\n", b.String())
}

// TestColours: colours are for terminals, and for who asks for them; NO_COLOR wins.
func TestColours(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
	} {
		var out strings.Builder
		s := New(&out, func(name string) string { return c.env[name] })
		s.Line(C("ready").In(Good))
		assert.Equal(t, c.want, s.Coloured(), c.env)
		assert.Equal(t, c.want, strings.Contains(out.String(), "\x1b["), c.env)
	}
}
