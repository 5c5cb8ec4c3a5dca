package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

func statusCommand() *cobra.Command {
	c := connection{spare: details}
	var o output
	f := follower{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show in short whether everything is ready, and what waits",
		Long: `status sums up an installation: the controller, the speakers, the backends, the pools, and the Services that have no address or are not
advertised. kubectl fairlead doctor tells what is wrong, and what helps.

With --wait it looks again until everything is ready and no Service waits. With --watch it goes on until Ctrl-C, and prints the status again
whenever it has changed, which it hears by watches; it takes permission to watch. With both, it prints what changes until everything is
ready.

Exit codes: 0 done, or --watch was ended, 1 the command failed, too little may be read to tell, or --wait was ended before everything was
ready, 2 with --wait, not everything was ready in time.`,
		Example: `  kubectl fairlead status
  kubectl fairlead status --wait --timeout 5m
  kubectl fairlead status --watch
  kubectl fairlead status --watch -o json | jq --unbuffered -c '{ready, waiting: (.services.waiting | length)}'
  kubectl fairlead status -o json | jq -r '.services.waiting[] | .namespace + "/" + .name'`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			p := statusPrinter{cmd: cmd, output: &o, timed: f.watch}
			f.print = p.print
			f.complain = func(err error) { fmt.Fprintln(cmd.ErrOrStderr(), "kubectl-fairlead:", screen.Clean(err.Error())) }
			f.look = c.status
			if f.watch {
				w := statusWatch{connection: &c}
				defer w.stop()
				f.look, f.changed = w.look, w.changed
			}
			return f.follow(ctx)
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, allFormats...)
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "end when everything is ready")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on, and print the status again when it has changed")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long --wait waits")
	return cmd
}

// statusPrinter prints one status, or one after another.
type statusPrinter struct {
	cmd *cobra.Command
	*output
	timed   bool // people are told when
	printed bool
}

func (p *statusPrinter) print(r *status.Report) error {
	if p.printed && p.format == formatYAML {
		fmt.Fprintln(p.cmd.OutOrStdout(), "---")
	}
	again := p.printed
	p.printed = true
	return p.output.print(p.cmd, document.InstallationStatus, r, func(s *screen.Screen, wide bool) {
		if again {
			s.Line()
		}
		if p.timed {
			s.Line(screen.C("%s", time.Now().Format(time.TimeOnly)).In(screen.Faint))
		}
		showStatus(s, r, wide)
	})
}

// statusOf sums up what was surveyed, and the DaemonSets of the speakers, which r reads.
func statusOf(ctx context.Context, r client.Reader, m *survey.Model) (*status.Report, error) {
	var sets appsv1.DaemonSetList
	switch err := r.List(ctx, &sets, client.InNamespace(m.Namespace), survey.SpeakerLabels); {
	case apierrors.IsForbidden(err):
		m.Gaps = append(m.Gaps, survey.GapOf("DaemonSets", err))
	case err != nil:
		return nil, fmt.Errorf("read DaemonSets: %w", err)
	}
	return status.Of(m, sets.Items), nil
}

// stateCell is a state in colour.
func stateCell(state string) screen.Cell {
	style := map[string]screen.Style{status.Ready: screen.Good, status.NotReady: screen.Bad, status.Unknown: screen.Doubtful}[state]
	return screen.C("%s", state).In(style)
}

func showStatus(s *screen.Screen, r *status.Report, wide bool) {
	s.Line(screen.C("Namespace %s", r.Namespace).In(screen.Bold))
	rows := [][]screen.Cell{{screen.C("controller"), stateCell(r.Controller.State), screen.C("%s", controllerText(&r.Controller))}}
	if p := r.Speakers; p != nil {
		text := fmt.Sprintf("%d of %d pods are ready; alive on %s", p.ReadyPods, p.Desired, from(p.Alive))
		if p.Desired == 0 {
			text = "alive on " + from(p.Alive)
		}
		rows = append(rows, []screen.Cell{screen.C("speakers"), stateCell(p.State), screen.C("%s", joinNonEmpty("; ", text, p.Why))})
	}
	for _, b := range r.Backends {
		serves := "serves " + strings.Join(b.Serves, " and ")
		if len(b.Serves) == 0 {
			serves = "serves nothing"
		}
		rows = append(rows, []screen.Cell{screen.C("backend %s", b.Name), stateCell(b.State), screen.C("%s", joinNonEmpty("; ", serves, b.Why))})
	}
	s.Table(rows...)
	s.Heading("Pools")
	rows = nil
	for _, p := range r.Pools {
		use := screen.C("%s of %s in use", number(p.InUse), number(p.Capacity))
		if p.Problem != "" {
			use = screen.C("set aside: %s", p.Problem).In(screen.Bad)
		}
		rows = append(rows, []screen.Cell{screen.C("%s", p.Name), screen.C("%s", p.Family), use})
	}
	shown, more := cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
	if len(rows) == 0 && !unknown(r.Gaps, "IPAddressPools") {
		s.Line(screen.C("  there are none"))
	}
	if r.Faults > 0 {
		s.Line(screen.C("  faulty objects (kubectl fairlead doctor shows them): %d", r.Faults).In(screen.Bad))
	}
	notKnown := ""
	if n := len(r.Services.Unknown); n > 0 {
		notKnown = fmt.Sprintf(", %d of which it is not known whether a router hears them", n)
	}
	s.Heading(fmt.Sprintf("Services: %d, %d with an address, %d waiting%s", r.Services.Total, r.Services.WithAddress, len(r.Services.Waiting),
		notKnown))
	rows = nil
	for _, x := range r.Services.Waiting {
		rows = append(rows, []screen.Cell{screen.C("%s/%s", x.Namespace, x.Name), screen.C("%s", x.Reason).In(screen.Bad),
			screen.C("%s", x.Message)})
	}
	shown, more = cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
	if len(r.Services.Unknown) > 0 {
		x := r.Services.Unknown[0]
		s.Line(screen.C("  not known, such as of %s/%s: %s. %s", x.Namespace, x.Name, x.Message,
			sentence(r.Services.UnknownHelp)).In(screen.Doubtful))
	}
	showNotes(s, nil, r.Gaps)
	switch {
	case r.Unknown() != nil:
		s.Heading("Not known: see above what could not be checked.")
	case r.Ready:
		s.Heading("Everything is ready.")
	default:
		s.Heading(verdict(r))
	}
}

// verdict says that an installation is not ready, or only not known to be.
func verdict(r *status.Report) string {
	but := *r
	but.Services.Unknown = nil
	if len(r.Services.Unknown) > 0 && but.Complete() {
		return "Everything is ready as far as is known: see above what nobody says."
	}
	return "Not everything is ready."
}

// sentence begins a text with a capital.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func controllerText(c *status.Controller) string {
	version, replicas, leader := "", "", ""
	if c.Version != "" {
		version = "version " + c.Version
	}
	if c.Replicas > 0 {
		replicas = fmt.Sprintf("%d of %d replicas are ready", c.ReadyReplicas, c.Replicas)
	}
	if c.Leader != "" {
		leader = "led by " + c.Leader
	}
	return joinNonEmpty("; ", version, replicas, leader, c.Why)
}

func joinNonEmpty(sep string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}
