// Command controller measures the controller's binary on a real API server, each figure beside what a bare loop achieves on the
// same API server in the same run. It fails if something does not work, never because a figure is poor.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The values of --only, in the order in which they run.
const (
	nameBacklog = "backlog"
	nameRestart = "restart"
	nameBurst   = "burst"
	namePaced   = "paced"
	nameChurn   = "churn"
	nameSteady  = "steady"
)

var names = []string{nameBacklog, nameRestart, nameBurst, namePaced, nameChurn, nameSteady}

// services is how many Services the measures have whose size is fixed.
const services = 1000

// options are the flags.
type options struct {
	Sizes  []int
	Only   []string
	Output string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Measure the controller on a real API server",
		Long: `Measure the controller's binary on a kube-apiserver and etcd of its own, started anew for each measure.

  backlog  Services that were created before the controller starts
  restart  the controller starts, with Services that have their addresses
  burst    1,000 Services created at once, by 8 and by 32 clients
  paced    50 Services a second for 20 seconds
  churn    200 of 1,000 Services deleted and created again
  steady   API requests while nothing happens, over 60 seconds

Progress goes to stderr, the table to stdout.`,
		Example: `  # Everything, about 12 minutes on two cores:
  make bench-controller

  # One measure with one size:
  make bench-controller BENCH_ARGS='--only backlog --sizes 4000'

  # A restart with very many Services, to compare by a program:
  make bench-controller BENCH_ARGS='--only restart --sizes 50000 -o json' > restart.json`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			var r report
			err := run(cmd.Context(), o, &r)
			if printed := r.print(os.Stdout, o.Output); err == nil {
				err = printed
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&o.Sizes, "sizes", []int{1000, 4000, 10000}, "numbers of Services for backlog and restart")
	f.StringSliceVar(&o.Only, "only", names, "what to measure")
	f.StringVarP(&o.Output, "output", "o", outputTable, "table or json")
	return cmd
}

func (o options) validate() error {
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--only: %q is not a measure; use some of %s", name, strings.Join(names, ","))
		}
	}
	for _, n := range o.Sizes {
		if n < 2 || n > 1_000_000 {
			return fmt.Errorf("--sizes: %d is out of range; use 2 to 1000000", n)
		}
	}
	if o.Output != outputTable && o.Output != outputJSON {
		return fmt.Errorf("--output: %q is not a format; use table or json", o.Output)
	}
	return nil
}

// run measures what o selects. What was measured before an error is in r.
func run(ctx context.Context, o options, r *report) error {
	wanted := func(name string) bool { return slices.Contains(o.Only, name) }
	for _, n := range o.Sizes {
		if !wanted(nameBacklog) && !wanted(nameRestart) {
			break
		}
		// The restart continues with the Services of the backlog: to create them is most of the work.
		err := inWorld(ctx, r, func(w *world) error {
			if wanted(nameBacklog) {
				if err := w.backlog(ctx, n); err != nil {
					return fmt.Errorf("%s: %w", nameBacklog, err)
				}
			}
			if !wanted(nameRestart) {
				return nil
			}
			if err := w.restart(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", nameRestart, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name    string
		measure func(*world, context.Context) error
	}{
		{nameBurst, (*world).burst}, {namePaced, (*world).paced}, {nameChurn, (*world).churn}, {nameSteady, (*world).steady},
	} {
		if !wanted(m.name) {
			continue
		}
		if err := inWorld(ctx, r, func(w *world) error { return m.measure(w, ctx) }); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// progress tells on stderr what goes on.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
