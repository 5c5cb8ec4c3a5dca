package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cli/browser"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/dashboard"
	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// dashboardPort is the same for everybody, so that an address of a page works for a colleague, too.
const dashboardPort = 7470

func dashboardCommand() *cobra.Command {
	var c connection
	port, quiet, watchFor := dashboardPort, false, time.Minute
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Show the installation in a browser, live",
		Long: `dashboard shows in a browser what the other commands tell: free and used addresses, who waits and why, the path of a Service as a picture,
sessions and takeovers, faults, and what a change would do. Pages change by themselves when the cluster does.

It serves on 127.0.0.1 and nowhere else, prints a link that lets in the first who opens it, and opens it in the browser. It uses your
kubeconfig and your permissions; what you may not read, the pages say. Nothing is installed in the cluster, and nothing is written to it.
The address of a page, without the link's token, can be sent to colleagues: it works while their own dashboard runs.

Ctrl-C ends it.

Exit codes: 0 ended, 1 the command failed.`,
		Example: `  kubectl fairlead dashboard
  kubectl fairlead dashboard --no-open --port 8080
  kubectl fairlead dashboard --context production --port 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port < 0 || port > 65535 {
				return fmt.Errorf("--port: %d is not a port; use 1 to 65535, or 0 for any that is free", port)
			}
			if watchFor < time.Second {
				return errors.New("--watch-for: it takes at least 1s")
			}
			return c.dashboard(cmd, port, !quiet, watchFor)
		},
	}
	c.addFlags(cmd)
	f := cmd.Flags()
	f.IntVar(&port, "port", port, "port of 127.0.0.1 to serve on; 0: any that is free")
	f.BoolVar(&quiet, "no-open", false, "do not open the browser")
	f.DurationVar(&watchFor, "watch-for", watchFor, "how long a watch lasts before it is made anew; a permission that was taken away is noticed then")
	return cmd
}

// dashboard serves until the context of the command ends.
func (c *connection) dashboard(cmd *cobra.Command, port int, open bool, watchFor time.Duration) error {
	l, err := dashboard.Listen(port)
	if err != nil {
		return err
	}
	defer l.Close()
	c.budget.set(c.timeout)
	if err := c.find(cmd.Context()); err != nil {
		return err
	}
	cluster, err := c.live(live.Options{WatchFor: watchFor, Patience: c.timeout})
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30) // unlike other commands, this one stays, and mostly waits
	}
	s, err := dashboard.New(dashboard.Options{
		Cluster: cluster, Namespace: c.installation, Client: c.client, Patience: c.timeout, Now: c.clock.running, Plan: c.rehearse,
	}, l)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(cmd.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() { cluster.Run(ctx) })
	fmt.Fprintf(cmd.OutOrStdout(), "The dashboard of namespace %q. This link lets in the first who opens it:\n\n  %s\n\nCtrl-C ends it.\n", c.installation, s.Link())
	if open {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		if err := browser.OpenURL(s.Link()); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "No browser could be opened; open the link yourself.")
		}
	}
	return s.Run(ctx, l)
}

// live returns a reader of the installation that was found, which somebody has to run.
func (c *connection) live(o live.Options) (*live.Cluster, error) {
	c.budget.set(0) // watches last
	watching, err := client.NewWithWatch(c.rest, client.Options{Scheme: survey.NewScheme()})
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return live.New(watching, c.installation, o), nil
}

// rehearse tells what would change if YAML were applied.
func (c *connection) rehearse(ctx context.Context, yaml io.Reader) (*plan.Rehearsal, error) {
	manifests, err := plan.Read("what was pasted", yaml)
	if err != nil {
		return nil, err
	}
	s, err := survey.Read(ctx, c.client, c.installation, survey.ServiceBGPStatuses)
	if err == nil {
		err = s.Installed()
	}
	if err != nil {
		return nil, err
	}
	s.At = c.clock.running()
	options, err := c.rehearsal(s)
	if err != nil {
		return nil, err
	}
	return plan.Rehearse(ctx, &plan.Change{Client: c.client, Namespace: c.current}, s, manifests, options)
}
