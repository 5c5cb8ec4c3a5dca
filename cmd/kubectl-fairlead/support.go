package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/support"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

func supportCommand() *cobra.Command {
	var c connection
	file, lines := "", int64(5000)
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Gather what helps others to find out what is wrong, without passwords",
		Long: `support-bundle writes one archive with the objects of metallb.io and fairlead.io, what backends have written for the CNI, the Services of
type LoadBalancer with their EndpointSlices, the nodes, the events of all these, the metrics and logs of the controller and the speakers,
and what status, doctor, pools, peers, backends and version tell. manifest.json lists what is in it, and what could not be read and why.

Passwords are masked: those of BGPPeers, whatever has a name that sounds like a password's, token's or secret's, tokens in logs, and
wherever else the same password is. Copies of objects in annotations are left out, and the contents of Secrets are not read. Names,
addresses and annotations stay: look through the archive before you hand it on.

Logs take permission to get pods/log, metrics to get pods/proxy. Nothing is written to the cluster.

Exit codes: 0 the archive is written, whatever could not be read, 1 the command failed; then there is no archive.`,
		Example: `  kubectl fairlead support-bundle
  kubectl fairlead support-bundle -o fairlead.tar.gz --log-lines 20000
  kubectl fairlead support-bundle -o - | tar -xzO --wildcards '*/manifest.json' | jq .missing`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lines < 1 {
				return fmt.Errorf("--log-lines: %d is too few; it takes at least 1", lines)
			}
			return c.support(cmd, file, lines)
		},
	}
	c.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&file, "output", "o", "", "file to write, which must not be there yet; -: standard output (default: fairlead-support-TIME.tar.gz)")
	f.Int64Var(&lines, "log-lines", lines, "how many lines of each log are taken, the last ones")
	complete(cmd, "output", cobra.FixedCompletions([]string{"tar.gz", "tgz"}, cobra.ShellCompDirectiveFilterFileExt))
	return cmd
}

// support writes the archive into a file, or to standard output.
func (c *connection) support(cmd *cobra.Command, file string, lines int64) error {
	ctx, now := cmd.Context(), time.Now()
	c.budget.set(c.timeout)
	if err := c.find(ctx); err != nil {
		return err
	}
	o, err := c.supportOptions(cmd.ErrOrStderr(), lines, now)
	if err != nil {
		return err
	}
	if file == "-" {
		_, err := support.Write(ctx, cmd.OutOrStdout(), o)
		return err
	}
	if file == "" {
		file = "fairlead-support-" + now.UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("--output: %s is there already; name another file", file)
	}
	if err != nil {
		return err
	}
	m, err := support.Write(ctx, out, o)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	showBundle(screen.New(cmd.OutOrStdout(), os.Getenv), file, m)
	return nil
}

func showBundle(s *screen.Screen, file string, m *support.Manifest) {
	s.Line(screen.C("Wrote %s: %d files; something was masked in %d places.", file, len(m.Files), m.Masked))
	if len(m.Missing) > 0 {
		s.Heading("Not in it")
	}
	for _, x := range m.Missing {
		s.Line(screen.C("  %s: %s", x.What, x.Why).In(screen.Doubtful))
	}
}

// supportOptions says what is taken. Each request, and each report, may take --request-timeout.
func (c *connection) supportOptions(progress io.Writer, lines int64, now time.Time) (support.Options, error) {
	c.budget.set(0)
	disc, err := discovery.NewDiscoveryClientForConfig(c.rest)
	if err != nil {
		return support.Options{}, err
	}
	dyn, err := dynamic.NewForConfig(c.rest)
	if err != nil {
		return support.Options{}, err
	}
	core, err := corev1client.NewForConfig(c.rest)
	if err != nil {
		return support.Options{}, err
	}
	return support.Options{
		Discovery: disc, Dynamic: dyn, Core: core, Namespace: c.installation, LogLines: lines, Patience: c.timeout, Now: now, Reports: c.supportReports(),
		Progress: func(what string) { fmt.Fprintln(progress, "reading", screen.Clean(what)) },
	}, nil
}

// supportReports are what the commands tell.
func (c *connection) supportReports() []support.Report {
	var out []support.Report
	add := func(name string, kind document.Kind, tell func(context.Context) (any, error)) {
		out = append(out, support.Report{Name: name, Kind: kind, Make: func(ctx context.Context) (any, error) {
			c.budget.set(c.timeout)
			defer c.budget.set(0)
			return tell(ctx)
		}})
	}
	var once sync.Once
	var m *survey.Model
	var failed error
	model := func(tell func(context.Context, *survey.Model) (any, error)) func(context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			once.Do(func() { m, failed = c.model(ctx) })
			if failed != nil {
				return nil, failed
			}
			return tell(ctx, m)
		}
	}
	add("versions", document.Versions, func(ctx context.Context) (any, error) {
		v := &versions{Client: cli.BuildOf()}
		return v, c.versions(ctx, v)
	})
	add("status", document.InstallationStatus, model(func(ctx context.Context, m *survey.Model) (any, error) { return known(statusOf(ctx, c.client, m)) }))
	add("doctor", document.Diagnosis, model(func(ctx context.Context, m *survey.Model) (any, error) { return known(c.diagnose(ctx, m)) }))
	add("pools", document.PoolList, model(func(_ context.Context, m *survey.Model) (any, error) { return explain.OfPools(m), nil }))
	add("peers", document.PeerList, model(func(_ context.Context, m *survey.Model) (any, error) { return explain.OfPeers(m), nil }))
	add("backends", document.BackendList, model(func(_ context.Context, m *survey.Model) (any, error) { return explain.OfBackends(m), nil }))
	return out
}

// known returns nothing if there was an error: a nil pointer would be something.
func known[T any](report *T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return report, nil
}
