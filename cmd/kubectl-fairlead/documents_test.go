package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/check"
	"github.com/fairlead/fairlead/internal/tool/doctor"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// printed returns what a command with -o prints of a report.
func printed(t *testing.T, format string, kind document.Kind, report any) []byte {
	t.Helper()
	cmd, out := &cobra.Command{}, bytes.Buffer{}
	cmd.SetOut(&out)
	o := output{format: format}
	require.NoError(t, o.print(cmd, kind, report, func(*screen.Screen, bool) { t.Error("it is for programs") }))
	return out.Bytes()
}

// TestDocuments: what is printed is what its schema says, of a cluster with everything and of one with nothing.
func TestDocuments(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop)
	none := surveytest.Model(t, nil)
	then := surveytest.Survey(t, surveytest.Shop, func(s *survey.Survey) { s.Config.Pools[0].Spec.Addresses = []string{"192.0.2.1/32"} })
	changes, err := plan.Compare(surveytest.Survey(t, surveytest.Shop), then)
	require.NoError(t, err)
	type printout struct {
		kind   document.Kind
		report any
	}
	all := []printout{
		{document.Plan, changes}, {document.OutageReport, &outages{Targets: []*check.Tally{{Target: "192.0.2.10:80"}}}},
		{document.Versions, &versions{Client: cli.BuildOf()}},
	}
	for _, x := range []*survey.Model{m, none} {
		all = append(all, []printout{
			{document.InstallationStatus, status.Of(x, nil)}, {document.PoolList, explain.OfPools(x)}, {document.PeerList, explain.OfPeers(x)},
			{document.BackendList, explain.OfBackends(x)}, {document.AddressExplanation, explain.OfAddress(x, netip.MustParseAddr("192.0.2.1"))},
			{document.Diagnosis, doctor.Examine(&doctor.Facts{Model: x})},
			{document.ReachabilityReport, check.Read(x, func(*corev1.Service, netip.Addr) bool { return true })},
		}...)
	}
	for _, name := range []string{"web", "lost", "wide", "mail"} {
		all = append(all, printout{document.ServiceExplanation, explain.OfService(m, "shop", name)})
	}
	for _, x := range all {
		kind, rest := documenttest.Validate(t, "../..", printed(t, formatJSON, x.kind, x.report))
		assert.Equal(t, x.kind, kind)
		bare, err := json.Marshal(x.report)
		require.NoError(t, err)
		assert.JSONEq(t, string(bare), string(rest), "%s: nothing is lost", kind)
		assert.Contains(t, string(printed(t, formatYAML, x.kind, x.report)), "kind: "+string(x.kind)+"\n")
	}
}

// TestSchemasRefuse: what is not as its schema says is refused: another kind, a field that lacks, a count that would lose digits.
func TestSchemasRefuse(t *testing.T) {
	schema := documenttest.Schema(t, "../..", document.PoolList)
	good := string(printed(t, formatJSON, document.PoolList, explain.OfPools(surveytest.Model(t, surveytest.Shop))))
	for _, tc := range []struct{ old, new string }{
		{"", ""}, {`"kind": "PoolList"`, `"kind": "PeerList"`}, {`"apiVersion": "tool.fairlead.io/v1"`, `"apiVersion": "tool.fairlead.io/v2"`}, {`"waiting": 0`, `"waits": 0`},
		{`"capacity": 10`, `"capacity": 9007199254740992`}, {`"capacity": 10`, `"capacity": "ten"`}, {`"autoAssign": true`, `"autoAssign": "yes"`},
	} {
		require.Contains(t, good, tc.old)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(good, tc.old, tc.new, 1)))
		require.NoError(t, err)
		assert.Equal(t, tc.old == "", schema.Validate(value) == nil, "%s instead of %s", tc.new, tc.old)
	}
}

// TestWideCounts: the size of an IPv6 pool comes through whole.
func TestWideCounts(t *testing.T) {
	m := surveytest.Model(t, []byte(`apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: wide, namespace: metallb-system}
spec: {addresses: ["2001:db8::/64", "2001:db8:1::/71"]}
`))
	text := string(printed(t, formatJSON, document.PoolList, explain.OfPools(m)))
	documenttest.Validate(t, "../..", []byte(text))
	assert.Contains(t, text, `"capacity": "9223372036854775807"`)
	assert.Contains(t, text, `"inUse": 0`)
	text = string(printed(t, formatYAML, document.InstallationStatus, status.Of(m, nil)))
	assert.Contains(t, text, `capacity: "9223372036854775807"`)
	assert.True(t, strings.HasPrefix(text, "apiVersion: tool.fairlead.io/v1\n"))
}
