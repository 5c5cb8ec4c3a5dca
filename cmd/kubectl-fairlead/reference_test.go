package main

import (
	"testing"

	"github.com/spf13/cobra"

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
	text := "# Reference: kubectl fairlead\n\n" +
		"Written by `make reference`. What the commands are for, with examples and exit codes: [kubectl.md](../kubectl.md).\n\n" +
		reference.Flags(nil, all...)
	reference.Check(t, "../../docs/reference/kubectl.md", text, *update)
}
