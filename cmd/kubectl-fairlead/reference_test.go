package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/check"
	"github.com/fairlead/fairlead/internal/tool/dashboard"
	"github.com/fairlead/fairlead/internal/tool/doctor"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/handover"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/reference"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/support"
)

// TestReference keeps docs/reference/kubectl.md true.
func TestReference(t *testing.T) {
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				all = append(all, sub)
				walk(sub)
			}
		}
	}
	walk(command())
	everywhere := &cobra.Command{Use: "Flags", Short: "What every command has that asks an API server: flags of kubectl, which mean the same"}
	(&connection{}).addClusterFlags(everywhere)
	text := "# Reference: kubectl fairlead\n\n" +
		"Written by `make reference`. What the commands are for, with examples and exit codes: [kubectl.md](../kubectl.md).\n\n" +
		reference.Flags(nil, everywhere)
	for _, cmd := range all {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			same := everywhere.Flags().Lookup(f.Name)
			f.Hidden = f.Hidden || same != nil && same.Usage == f.Usage
		})
	}
	reference.Check(t, "../../docs/reference/kubectl.md", text+reference.Flags(nil, all...), *update)
}

// reports are the Go types of the documents; a schema is published of each.
var reports = map[document.Kind]any{
	document.InstallationStatus: status.Report{}, document.ServiceExplanation: explain.Service{}, document.AddressExplanation: explain.OneAddress{},
	document.ReachabilityReport: check.Report{}, document.OutageReport: outages{}, document.PoolList: explain.Pools{}, document.PeerList: explain.Peers{},
	document.BackendList: explain.Backends{}, document.Diagnosis: doctor.Report{}, document.Plan: plan.Report{}, document.Handover: handover.Report{},
	document.Versions: versions{}, document.OverviewPage: dashboard.Overview{}, document.PoolPage: dashboard.Pool{}, document.NetworkPage: dashboard.Network{},
	document.ConfigurationPage: dashboard.Configuration{}, document.PlanPage: dashboard.Plan{}, document.SearchPage: dashboard.Search{}, document.Problem: dashboard.Problem{},
	document.SupportBundle: support.Manifest{},
}

// TestReferenceSchemas keeps docs/reference/schema true.
func TestReferenceSchemas(t *testing.T) {
	const folder = "../../docs/reference/schema"
	schemas := reference.NewSchemas(t, "github.com/fairlead/fairlead/cmd/kubectl-fairlead", ".", "../../internal/tool", "../../internal/process/cli")
	for kind := range document.Sources {
		require.Contains(t, reports, kind)
		reference.Check(t, filepath.Join(folder, string(kind)+".json"), schemas.Of(t, kind, reports[kind]), *update)
		documenttest.Schema(t, "../..", kind) // it is a schema
	}
	reference.Check(t, filepath.Join(folder, "README.md"), "# Reference: documents\n\n"+
		"Written by `make reference`. Everything that `kubectl fairlead` prints by `-o json` or `-o yaml`, and every page of its dashboard as JSON, is a\n"+
		"document with `apiVersion: "+document.APIVersion+"` and a kind. This folder has a JSON Schema (2020-12) of each. Fields may be added to a kind; what\n"+
		"is there stays, and means the same.\n\n"+reference.Kinds(), *update)
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, files, len(document.Sources)+1, "there is a schema of a kind that is not")
}
