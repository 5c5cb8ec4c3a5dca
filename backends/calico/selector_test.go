package calico

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/labels"
)

func TestNodeSelector(t *testing.T) {
	for _, tc := range []struct {
		name      string
		selectors []labels.Selector
		want      string
		err       string
	}{
		{name: "all nodes"},
		{name: "everything", selectors: []labels.Selector{labels.Everything()}},
		{name: "everything among others", selectors: []labels.Selector{selector("rack=1"), labels.Everything()}},
		{name: "nothing is not all nodes", selectors: []labels.Selector{labels.Nothing()}, want: "!all()"},
		{name: "nothing among others", selectors: []labels.Selector{labels.Nothing(), selector("rack=1")}, want: "rack == '1'"},
		{name: "equal", selectors: []labels.Selector{selector("rack=1")}, want: "rack == '1'"},
		{name: "twice equal", selectors: []labels.Selector{selector("rack==1,row=a")}, want: "rack == '1' && row == 'a'"},
		{name: "not equal", selectors: []labels.Selector{selector("rack!=1")}, want: "rack != '1'"},
		{name: "exists", selectors: []labels.Selector{selector("node-role.kubernetes.io/control-plane")}, want: "has(node-role.kubernetes.io/control-plane)"},
		{name: "does not exist", selectors: []labels.Selector{selector("!node-role.kubernetes.io/control-plane")}, want: "!has(node-role.kubernetes.io/control-plane)"},
		{name: "in", selectors: []labels.Selector{selector("rack in (2,1)")}, want: "rack in { '1', '2' }"},
		{name: "in one", selectors: []labels.Selector{selector("rack in (1)")}, want: "rack == '1'"},
		{name: "in the empty value", selectors: []labels.Selector{selector("rack in ()")}, want: "rack == ''"},
		{name: "not in", selectors: []labels.Selector{selector("rack notin (2,1)")}, want: "rack not in { '1', '2' }"},
		{name: "not in one", selectors: []labels.Selector{selector("rack notin (1)")}, want: "rack != '1'"},
		{name: "alternatives", selectors: []labels.Selector{selector("rack=1,!off"), selector("edge")}, want: "(!has(off) && rack == '1') || (has(edge))"},
		{name: "a number", selectors: []labels.Selector{selector("rack>1")}, err: `operator "gt" has no counterpart in Calico's selectors`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := nodeSelector(tc.selectors)
			if tc.err != "" {
				assert.EqualError(t, err, tc.err)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

// TestEither: a BGPPeer that gains nodes has those that it had until others have them.
func TestEither(t *testing.T) {
	for _, tc := range []struct{ a, b, want string }{
		{"", "all()", ""},
		{"all()", "rack == 'a'", "all()"},
		{"!all()", "rack == 'a'", "rack == 'a'"},
		{"rack == 'a'", "!all()", "rack == 'a'"},
		{"rack == 'a'", "rack == 'a'", "rack == 'a'"},
		{"rack == 'a'", "has(edge)", "(rack == 'a') || (has(edge))"},
		{selectNames([]string{"n1", "n3"}), selectNames([]string{"n2", "n3"}), selectNames([]string{"n1", "n2", "n3"})},
		{selectNames([]string{"n1"}), "has(edge)", "(" + selectNames([]string{"n1"}) + ") || (has(edge))"},
	} {
		assert.Equal(t, tc.want, either(tc.a, tc.b), "%q, %q", tc.a, tc.b)
	}
}
