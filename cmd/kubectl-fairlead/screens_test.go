package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/check"
	"github.com/fairlead/fairlead/internal/tool/doctor"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/support"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

var update = flag.Bool("update", false, "write the screens in testdata anew")

// golden compares what show prints with a file in testdata.
func golden(t *testing.T, name string, show func(*screen.Screen)) {
	t.Helper()
	goldenAt(t, name, 0, show)
}

// goldenAt is golden on a terminal of a width.
func goldenAt(t *testing.T, name string, width int, show func(*screen.Screen)) {
	t.Helper()
	var b bytes.Buffer
	show(screen.New(&b, ofWidth(width)))
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test -update")
	assert.Equal(t, string(want), b.String(), "if this is meant to be, run go test -update")
	assert.NotContains(t, b.String(), "\x1b", "a text commands the terminal")
	for _, width := range []int{60, 80, 120} {
		fits(t, name, width, show)
	}
}

// fits tells of lines that are wider than the terminal, but for what is copied or compared: command lines and differences.
func fits(t *testing.T, name string, width int, show func(*screen.Screen)) {
	t.Helper()
	var b bytes.Buffer
	show(screen.New(&b, ofWidth(width)))
	for line := range strings.Lines(b.String()) {
		text := strings.TrimRight(line, "\n")
		if n := utf8.RuneCountInString(text); n > width && !verbatim.MatchString(text) {
			t.Errorf("%s: %d of %d columns: %s", name, n, width, text)
		}
	}
}

// ofWidth is the environment of a terminal of a width; 0: of none.
func ofWidth(width int) func(string) string {
	return func(key string) string { return map[string]string{"COLUMNS": fmt.Sprint(width)}[key] }
}

// verbatim is a command line, or a line of a difference.
var verbatim = regexp.MustCompile(`^ *(\$ |[-+] )`)

// TestLongTexts: names as long as Kubernetes takes them, and texts of any length, fit.
func TestLongTexts(t *testing.T) {
	name, text := strings.Repeat("n", 30), strings.Repeat("a message of some words ", 20)
	for what, show := range map[string]func(*screen.Screen){
		"status": func(s *screen.Screen) {
			showStatus(s, &status.Report{
				Controller: status.Controller{State: status.NotReady, Why: text}, Backends: []status.Backend{{Name: name, State: status.NotReady, Why: text}},
				Pools:    []status.Pool{{Name: name, Problem: text}},
				Services: status.Services{Waiting: []status.Service{{Namespace: name, Name: "web", Reason: "NoMatchingPool", Message: text}}}, Gaps: []string{text},
			}, false)
		},
		"doctor": func(s *screen.Screen) {
			showReport(s, &doctor.Report{Findings: []doctor.Finding{{Check: "pools", Severity: doctor.Error, What: text, Why: text, Command: "kubectl " + text}}, Gaps: []string{text}})
		},
		"plan": func(s *screen.Screen) {
			showPlan(s, &plan.Report{
				Objects: []plan.Object{{Action: plan.ActionInvalid, Kind: "IPAddressPool", Namespace: "x", Name: name, Why: text}}, Faults: []plan.Fault{{Object: name, Field: "spec", Problem: text}},
				Services: []plan.Service{{Namespace: "x", Name: name, Addresses: plan.Renumbered, Before: []string{"192.0.2.0", "2001:db8::1"}, After: []string{"198.51.100.1"}, Message: text, Why: text}},
				Nodes:    []plan.NodeChange{{What: "2001:db8:ffff:ffff::/64 to a peer with communities [64512:7]", Before: []string{"n1", "n2"}, After: []string{name}}}, Warnings: []string{text}, Notes: []string{text}, Gaps: []string{text},
				Backends: []plan.Backend{{Name: "calico", Findings: []string{text}, Problem: text}},
			}, true)
		},
		"check": func(s *screen.Screen) {
			showCheck(s, &check.Report{From: "here", Results: []check.Result{{Namespace: "x", Name: name, Steps: []check.Step{{Step: check.StepConnect, State: check.Broken, Detail: text}}, Broken: check.StepConnect, Help: text}}, Gaps: []string{text}})
		},
		"pools": func(s *screen.Screen) {
			showPools(s, &explain.Pools{Pools: []explain.PoolUse{
				{Name: name, Addresses: []string{"192.0.2.0/24", "2001:db8:ffff:ffff:ffff:ffff:ffff:0/112"}, Families: []explain.FamilyUse{{Family: "IPv6", Capacity: 1<<63 - 1, Free: 1<<63 - 1}}, Reservations: []string{name, name}},
				{Name: "aside", Problem: text},
			}}, true, true)
		},
		"support": func(s *screen.Screen) {
			showBundle(s, "bundle.tar.gz", &support.Manifest{Missing: []support.Missing{{What: "nodes", Why: text}}})
		},
	} {
		for _, width := range []int{60, 80, 120} {
			fits(t, what, width, show)
		}
	}
}

func TestServiceScreens(t *testing.T) {
	partial := func(s *survey.Survey) {
		s.Nodes, s.Gaps = nil, []survey.Gap{{What: "EndpointSlices", Why: "you may not list endpointslices.discovery.k8s.io"}}
	}
	hostile := func(s *survey.Survey) {
		svc := s.Service("shop", "lost")
		svc.Annotations["metallb.io/address-pool"] = "no\x1b[2Jwhere\u202e"
		svc.Status.Conditions[0].Message = "line one\nline two\x07"
	}
	for _, tc := range []struct {
		golden, name string
		change       []func(*survey.Survey)
	}{
		{golden: "service-web", name: "web"},
		{golden: "service-lost", name: "lost"},
		{golden: "service-wide", name: "wide"},
		{golden: "service-mail", name: "mail"},
		{golden: "service-partial", name: "web", change: []func(*survey.Survey){partial}},
		{golden: "service-hostile", name: "lost", change: []func(*survey.Survey){hostile}},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			r := explain.OfService(surveytest.Model(t, surveytest.Shop, tc.change...), "shop", tc.name)
			golden(t, tc.golden, func(s *screen.Screen) { showService(s, r, false) })
		})
	}
}

func TestOtherScreens(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop)
	golden(t, "address-held", func(s *screen.Screen) { showAddress(s, explain.OfAddress(m, netip.MustParseAddr("192.0.2.1")), false) })
	golden(t, "address-outside", func(s *screen.Screen) {
		showAddress(s, explain.OfAddress(m, netip.MustParseAddr("2001:db8::ffff")), false)
	})
	blind := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
		s.Config.Pools, s.Gaps = nil, []survey.Gap{{What: "IPAddressPools", Why: "you may not list ipaddresspools.metallb.io"}}
	})
	golden(t, "address-unknown", func(s *screen.Screen) {
		showAddress(s, explain.OfAddress(blind, netip.MustParseAddr("192.0.2.3")), false)
	})
	golden(t, "pools", func(s *screen.Screen) { showPools(s, explain.OfPools(m), false, false) })
	goldenAt(t, "pools-80", 80, func(s *screen.Screen) { showPools(s, explain.OfPools(m), false, false) })
	goldenAt(t, "service-web-80", 80, func(s *screen.Screen) { showService(s, explain.OfService(m, "shop", "web"), false) })
	golden(t, "pools-main", func(s *screen.Screen) { showPools(s, explain.OfPools(m, "main"), true, false) })
	golden(t, "peers", func(s *screen.Screen) { showPeers(s, explain.OfPeers(m), m.At, false) })
	golden(t, "backends-wide", func(s *screen.Screen) { showBackends(s, explain.OfBackends(m), true) })

	r := doctor.Examine(&doctor.Facts{Model: m})
	r.Gaps = []string{"cannot check Nodes: you may not list nodes"}
	golden(t, "doctor", func(s *screen.Screen) { showReport(s, r) })
}

func TestPlanScreen(t *testing.T) {
	now := surveytest.Survey(t, surveytest.Shop)
	then := surveytest.Survey(t, surveytest.Shop, func(s *survey.Survey) {
		s.Config.Pools[0].Spec.Addresses = []string{"192.0.2.1/32"}
		s.Config.Pools = append(s.Config.Pools, v1beta1.IPAddressPool{
			ObjectMeta: metav1.ObjectMeta{Name: "nowhere", Namespace: s.Namespace}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.9.0.0/30"}},
		})
	})
	r, err := plan.Compare(now, then)
	require.NoError(t, err)
	r.Objects = []plan.Object{
		{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "main", Action: plan.ActionChange}, {Kind: "Deployment", Name: "x", Action: plan.ActionIgnored},
		{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "broken", Action: plan.ActionInvalid, Why: `unknown field "spec.addreses"`},
	}
	r.Backends = []plan.Backend{{
		Name: "calico", Outstanding: 1, Findings: []string{"UnsupportedField: BGPAdvertisement/metallb-system/routed spec.localPref: is not honoured"},
		Writes: []rehearse.Write{{
			Verb: rehearse.Update, Kind: "BGPConfiguration", Name: "default", APIVersion: "projectcalico.org/v3",
			Before: map[string]any{"spec": map[string]any{"serviceLoadBalancerIPs": []any{map[string]any{"cidr": "192.0.2.0/30"}}}},
			After:  map[string]any{"spec": map[string]any{"serviceLoadBalancerIPs": []any{map[string]any{"cidr": "192.0.2.1/32"}}}},
		}},
	}}
	golden(t, "plan", func(s *screen.Screen) { showPlan(s, r, false) })
}

// TestPeerText: what is not known of a peer is not made up.
func TestPeerText(t *testing.T) {
	for want, p := range map[string]explain.Peer{
		"10.0.0.1, AS 64513 (ours: 64512), held by calico":             {Address: "10.0.0.1", PeerASN: 64513, MyASN: 64512, Backend: "calico"},
		"on interface eth0, external AS (ours: 64512), held by nobody": {Interface: "eth0", DynamicASN: "external", MyASN: 64512},
		"10.0.0.300, ours: AS 64512, faulty":                           {Address: "10.0.0.300", MyASN: 64512, Faulty: true, Backend: "calico"},
		"faulty":                                                       {Faulty: true},
	} {
		assert.Equal(t, want, peerText(&p))
	}
}

// TestLongLists: a long list is cut, and its length told; -o wide shows all.
func TestLongLists(t *testing.T) {
	r := &plan.Report{}
	for i := range 5000 {
		r.Services = append(r.Services, plan.Service{Namespace: "shop", Name: fmt.Sprintf("s%d", i), Addresses: plan.Gains})
	}
	p := &explain.Pools{Pools: []explain.PoolUse{{Name: "main"}}}
	for i := range 300 {
		p.Pools[0].Holders = append(p.Pools[0].Holders, explain.Holder{IP: fmt.Sprintf("192.0.2.%d", i), Services: []string{"shop/web"}})
	}
	for _, tc := range []struct {
		show func(s *screen.Screen, wide bool)
		more string
		all  int
	}{
		{func(s *screen.Screen, wide bool) { showPlan(s, r, wide) }, "  and 4980 more; 5000 in all (-o wide shows them)\n", 5000},
		{func(s *screen.Screen, wide bool) { showPools(s, p, true, wide) }, "  and 280 more; 300 in all (-o wide shows them)\n", 300},
	} {
		for _, wide := range []bool{false, true} {
			var b bytes.Buffer
			tc.show(screen.New(&b, func(string) string { return "" }), wide)
			assert.Equal(t, !wide, strings.Contains(b.String(), tc.more))
			assert.Equal(t, wide, strings.Count(b.String(), "\n") > tc.all)
		}
	}
}

// TestPlanVerdict: the last line of a plan is what its exit code says.
func TestPlanVerdict(t *testing.T) {
	for _, tc := range []struct {
		report plan.Report
		last   string
	}{
		{plan.Report{}, "Nothing would change."},
		{plan.Report{Changes: true}, "No address would move, and none would be withdrawn."},
		{plan.Report{Incomplete: true, Backends: []plan.Backend{{Name: "calico", Problem: "no answer"}}}, "Not known: see above what could not be checked."},
		{plan.Report{Changes: true, Incomplete: true}, "Not known: see above what could not be checked."},
		{plan.Report{Disruptive: true, Incomplete: true}, "Disruptive: see above what would move, go or fail, and what could not be checked."},
		{plan.Report{Disruptive: true}, "Disruptive: see above what would move, go or fail."},
	} {
		var b bytes.Buffer
		showPlan(screen.New(&b, func(string) string { return "" }), &tc.report, false)
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		assert.Equal(t, tc.last, lines[len(lines)-1])
	}
}

// TestCommands: every command has a Long text, examples that begin with its own name, and exit codes where it has its own.
func TestCommands(t *testing.T) {
	for _, cmd := range command().Commands() {
		for _, c := range append(cmd.Commands(), cmd) {
			if c.Name() == "help" || c.Name() == "completion" || c.Parent().Name() == "completion" {
				continue
			}
			assert.Contains(t, c.Example, "kubectl fairlead", c.CommandPath())
			assert.NotEmpty(t, c.Short, c.CommandPath())
			if c.Flags().Lookup("output") != nil {
				assert.Contains(t, c.Long, "Exit codes: 0", c.CommandPath())
				assert.NotNil(t, c.Flags().Lookup("kubeconfig"), c.CommandPath())
			}
		}
	}
}
