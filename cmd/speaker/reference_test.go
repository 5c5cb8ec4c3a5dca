package main

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/speaker"
	"github.com/fairlead/fairlead/internal/tool/reference"
)

var update = flag.Bool("update", false, "write docs/reference anew")

// TestReference keeps docs/reference/speaker.md true.
func TestReference(t *testing.T) {
	r := &reference.Recorder{}
	_, err := speaker.NewMetrics(r, "NODE")
	require.NoError(t, err)
	text := "# Reference: the speaker\n\n" +
		"Written by `make reference`. A flag on the command line comes before its environment variable.\n\n" +
		reference.Flags(cli.EnvName, command()) +
		"## Metrics\n\nOn `--metrics-bind-address`, path `/metrics`. Those of controller-runtime, of client-go and of the Go runtime are there, too.\n\n" +
		reference.Metrics(t, append(r.Collectors, new(config.Metrics))...)
	reference.Check(t, "../../docs/reference/speaker.md", text, *update)
}
