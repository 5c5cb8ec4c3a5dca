package main

import (
	"flag"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/reference"
)

var update = flag.Bool("update", false, "write docs/reference anew")

// TestReference keeps docs/reference/controller.md true.
func TestReference(t *testing.T) {
	cmd := command()
	text := "# Reference: the controller\n\n" +
		"Written by `make reference`. A flag on the command line comes before its environment variable.\n\n" +
		reference.Flags(cli.EnvName, append([]*cobra.Command{cmd}, cmd.Commands()...)...) +
		"## Metrics\n\nOn `--metrics-bind-address`, path `/metrics`. Those of controller-runtime, of client-go and of the Go runtime are there, too.\n\n" +
		reference.Metrics(t, assign.NewMetrics(nil), assign.NewProviderMetrics(nil), new(config.Metrics), delegate.NewMetrics())
	reference.Check(t, "../../docs/reference/controller.md", text, *update)
}
