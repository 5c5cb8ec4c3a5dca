package main

import (
	"bytes"
	"context"
	"errors"
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

// every is how often status --wait and --watch look.
const every = 2 * time.Second

func statusCommand() *cobra.Command {
	c := connection{spare: details}
	var o output
	f := follower{look: c.status}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show in short whether everything is ready, and what waits",
		Long: `status sums up an installation: the controller, the speakers, the backends, the pools, and the Services that have no address or are not
advertised. kubectl fairlead doctor tells what is wrong, and what helps.

With --wait it looks again until everything is ready and no Service waits; with --watch it goes on, and prints what has changed. With both,
it prints what changes until everything is ready.

Exit codes: 0 done, 1 the command failed, or too little may be read to tell, 2 with --wait, not everything was ready in time.`,
		Example: `  kubectl fairlead status
  kubectl fairlead status --wait --timeout 5m
  kubectl fairlead status --watch
  kubectl fairlead status -o json | jq -r '.services.waiting[] | .namespace + "/" + .name'`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			f.print = func(r *status.Report) error {
				return o.print(cmd, document.InstallationStatus, r, func(s *screen.Screen, wide bool) { showStatus(s, r, wide) })
			}
			f.complain = func(err error) { fmt.Fprintln(cmd.ErrOrStderr(), "kubectl-fairlead:", screen.Clean(err.Error())) }
			return f.follow(ctx)
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, allFormats...)
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "end when everything is ready")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on, and print what has changed")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long --wait waits")
	return cmd
}

// follower looks at an installation once, until it is ready, or for ever.
type follower struct {
	wait, watch bool
	timeout     time.Duration
	look        func(context.Context) (*status.Report, error)
	print       func(*status.Report) error
	complain    func(error)
}

func (f *follower) follow(ctx context.Context) error {
	end := time.Now().Add(f.timeout)
	seen, complaint := "", ""
	for {
		r, err := f.lookBy(ctx, end)
		if ctx.Err() != nil {
			return f.ended()
		}
		over := f.wait && !time.Now().Before(end)
		done := err == nil && (!f.wait && !f.watch || f.wait && (r.Ready || r.Unknown() != nil))
		if err != nil && (!f.wait && !f.watch || errors.Is(err, survey.ErrNotInstalled) || errors.Is(err, survey.ErrAmbiguous)) {
			return err
		}
		if err == nil && (done || over || f.watch) {
			if text := digest(r); text != seen {
				seen = text
				if err := f.print(r); err != nil {
					return err
				}
			}
		}
		switch {
		case done:
			return r.Unknown()
		case over && err != nil:
			f.complain(err)
			return exitCode(exitFound)
		case over:
			return exitCode(exitFound)
		case err != nil && err.Error() != complaint:
			complaint = err.Error()
			f.complain(fmt.Errorf("%w; trying again", err))
		}
		pause := every
		if f.wait {
			pause = min(pause, max(0, time.Until(end)))
		}
		select {
		case <-ctx.Done():
			return f.ended()
		case <-time.After(pause):
		}
	}
}

// lookBy looks, and does not wait for an answer past the end; but the first look is always given a moment.
func (f *follower) lookBy(ctx context.Context, end time.Time) (*status.Report, error) {
	if !f.wait {
		return f.look(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(end), patience))
	defer cancel()
	return f.look(ctx)
}

// ended is the result if the user has ended it.
func (f *follower) ended() error {
	if f.wait {
		return errors.New("ended before everything was ready")
	}
	return nil
}

// digest tells whether a report has changed.
func digest(r *status.Report) string {
	b, err := screen.JSON(r)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}

// status looks at the installation. Each look may take --request-timeout.
func (c *connection) status(ctx context.Context) (*status.Report, error) {
	c.budget.set(c.timeout)
	m, err := c.model(ctx)
	if err != nil {
		return nil, err
	}
	return statusOf(ctx, c.client, m)
}

// statusOf sums up what was surveyed, and the DaemonSets that r reads.
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
