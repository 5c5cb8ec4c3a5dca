// Command kubectl-fairlead is the user's tool; kubectl finds it as "kubectl fairlead".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a command ends soon: collecting less often saves a third of the time of a large plan
	}
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	err := command().ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintln(os.Stderr, "kubectl-fairlead:", screen.Clean(err.Error()))
		os.Exit(exitFailed)
	}
}

// The exit codes, the same for all commands.
const (
	exitFailed = 1 // the command could not do its work
	exitFound  = 2 // it did, and found something that the exit code is to tell
)

// exitCode ends the command with that code; everything has been said.
type exitCode int

// Error is needed for the type to be an error; nobody sees it.
func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubectl-fairlead",
		Short: "See what Fairlead does, and why",
		Long: `kubectl fairlead tells why a Service has the address it has, or has none; how full the pools are; who advertises; what is wrong with an
installation; and what a change would do before it is made. But for migrate, allocator release and check --from-pod it writes nothing to
the cluster. It needs no more than permission to read; what it may not read, it says.`,
		Version:       cli.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl fairlead"},
	}
	cmd.AddCommand(statusCommand(), dashboardCommand(), explainCommand(), checkCommand(), poolsCommand(), peersCommand(), backendsCommand(), planCommand(),
		doctorCommand(),
		allocatorCommand(), convertCommand(), migrateCommand(), supportCommand(), demoCommand(), versionCommand())
	return cmd
}
