package cni_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	bycalico "github.com/fairlead/fairlead/backends/calico"
	bycilium "github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/cni/calico"
	"github.com/fairlead/fairlead/integration/cni/cilium"
	"github.com/fairlead/fairlead/integration/testbed"
)

var update = flag.Bool("update", false, "write the generated part of docs/delegation.md")

const (
	fieldsBegin = "<!-- fields: written by make reference -->\n"
	fieldsEnd   = "<!-- end of fields -->\n"
	// unseen is the word for what the mapping says that a CNI does and no Row shows.
	unseen = "written, not seen"
)

// column is what one CNI makes of fields.
type column struct {
	mapping []backends.FieldMapping
	shown   map[string]string // by field, the name of a Row
}

func name(m *backends.FieldMapping) string { return m.Kind + " " + m.Field }

// columns returns Calico's and Cilium's, with the same fields in the same order.
func columns(t *testing.T) [2]column {
	t.Helper()
	onCalico, err := cni.Shown("calico", calico.New().Rows()...)
	require.NoError(t, err)
	onCilium, err := cni.Shown("cilium", append(cilium.New().Rows(), cilium.Layer2Rows()...)...)
	require.NoError(t, err)
	out := [2]column{{bycalico.Mapping(), onCalico}, {bycilium.Mapping(), onCilium}}
	require.Len(t, out[1].mapping, len(out[0].mapping))
	for i := range out[0].mapping {
		require.Equal(t, name(&out[0].mapping[i]), name(&out[1].mapping[i]), "both tables are in the same order")
	}
	return out
}

// cell tells what becomes of the i-th field. What is refused is told to the user, which is tested with the backends.
func (c *column) cell(i int) string {
	m := &c.mapping[i]
	text := string(m.How)
	if m.How == backends.Expressed && c.shown[name(m)] == "" {
		text = unseen
	}
	if m.To != "" {
		text += ": " + m.To
	}
	text += "."
	if m.Note != "" {
		text += " " + m.Note
	}
	return text
}

// fields returns what becomes of each field, a table for each kind, and a table of the Rows that show it.
func fields(c [2]column) string {
	var out, seen strings.Builder
	kind := ""
	for i := range c[0].mapping {
		m := &c[0].mapping[i]
		if m.Kind != kind {
			kind = m.Kind
			fmt.Fprintf(&out, "\n### %s\n\n| field | Calico | Cilium |\n|---|---|---|\n", kind)
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", m.Field, c[0].cell(i), c[1].cell(i))
		if by := [2]string{c[0].shown[name(m)], c[1].shown[name(m)]}; by != [2]string{} {
			fmt.Fprintf(&seen, "| %s `%s` | %s | %s |\n", m.Kind, m.Field, by[0], by[1])
		}
	}
	return out.String() + "\n### Where it was seen\n\n| field | Calico | Cilium |\n|---|---|---|\n" + seen.String() + "\n"
}

// TestReferenceFields keeps the tables of docs/delegation.md equal to what the backends say and the Rows show.
func TestReferenceFields(t *testing.T) {
	file := testbed.Folder("docs", "delegation.md")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), fieldsBegin)
	require.True(t, ok, "%s has no place for the fields", file)
	is, after, ok := strings.Cut(rest, fieldsEnd)
	require.True(t, ok, "%s has no end of the fields", file)
	want := fields(columns(t))
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+fieldsBegin+want+fieldsEnd+after), 0o644))
		return
	}
	assert.Equal(t, want, is, "run: make reference")
}

// TestUnseen: the table says "expressed" of nothing that no Row shows, and a step that says neither routes nor announcements shows nothing.
func TestUnseen(t *testing.T) {
	c := column{mapping: []backends.FieldMapping{{Kind: "BGPPeer", Field: "peerPort", How: backends.Expressed, To: "somewhere"}}}
	assert.Equal(t, unseen+": somewhere.", c.cell(0))
	c.shown = map[string]string{"BGPPeer peerPort": "a row"}
	assert.Equal(t, "expressed: somewhere.", c.cell(0))

	shown, err := cni.Shown("nobody", cni.Row{Name: "mine", Shows: []string{"BGPPeer vrf"}, Steps: []cni.Step{
		{Apply: "kind: L2Advertisement\nspec: {one: [x]}", Routes: "r1: 198.51.100.1 from all"},
		{Apply: "kind: L2Advertisement\nspec: {two: [x], three: []}", Announced: "198.51.100.1 on eth0"},
		{Apply: "kind: L2Advertisement\nspec: {four: [x]}"},
		{Apply: "kind: BGPAdvertisement\nspec: {five: 1}", Routes: "r1: 198.51.100.1 from all", Instead: map[string]cni.Instead{"nobody": {Told: "no"}}},
		{Apply: "kind: BGPPeer\nspec: {six: 1}", Routes: "r1: 198.51.100.1 from all"},
	}})
	require.NoError(t, err)
	assert.Equal(t, "mine", shown["BGPPeer vrf"])
	assert.Equal(t, "mine", shown["L2Advertisement two"])
	for _, not := range []string{"L2Advertisement one", "L2Advertisement three", "L2Advertisement four", "BGPAdvertisement five", "BGPPeer six"} {
		assert.Empty(t, shown[not], not)
	}
}
