package main

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/internal/tool/reference"
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
