package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Main runs a command. If it fails, it says why, and the process ends with 1.
func Main(cmd *cobra.Command) {
	if err := cmd.Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
		os.Exit(1)
	}
}

// Logging is what a process logs, and how.
type Logging struct{ Level, Format string }

// AddFlags adds the flags that set it.
func (l *Logging) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&l.Level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.Format, "log-format", "json", "json or text")
}

// Daemon has a command without arguments run until it is told to end: when it has its flags, from the environment, too, and all of checks
// find nothing wrong with them.
func Daemon(cmd *cobra.Command, logging *Logging, run func(context.Context, *slog.Logger) error, checks ...func() error) *cobra.Command {
	cmd.Args, cmd.Version = cobra.NoArgs, Version()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := FlagsFromEnv(cmd.Flags()); err != nil {
			return err
		}
		var wrong []error
		for _, check := range checks {
			wrong = append(wrong, check())
		}
		if err := errors.Join(wrong...); err != nil {
			return err
		}
		log, err := NewLogger(os.Stderr, logging.Level, logging.Format)
		if err != nil {
			return err
		}
		return run(ctrl.SetupSignalHandler(), log)
	}
	return cmd
}
