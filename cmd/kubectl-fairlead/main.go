// Command kubectl-fairlead is the user's tool; kubectl finds it as "kubectl fairlead".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kubectl-fairlead:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kubectl-fairlead",
		Short:         "See how Fairlead works",
		Version:       cli.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl fairlead"},
	}
	cmd.AddCommand(demoCommand())
	cmd.AddCommand(convertCommand())
	cmd.AddCommand(migrateCommand())
	return cmd
}
