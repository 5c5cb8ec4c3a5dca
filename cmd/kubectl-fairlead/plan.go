package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// The values of --exit-code: for what the command ends with exitFound.
const (
	codeDisruptive = "disruptive"
	codeChanges    = "changes"
	codeNever      = "never"
)

func planCommand() *cobra.Command {
	c := connection{about: objects, spare: []string{survey.ServiceBGPStatuses}}
	var o output
	var files []string
	var recursive, prune, serverSide bool
	code := codeDisruptive
	cmd := &cobra.Command{
		Use:   "plan -f FILE|FOLDER",
		Short: "Tell what would change if objects were applied; nothing is written",
		Long: `plan tells what would become of the Services and of the CNI's configuration if the objects in a file or folder were applied: which
Services would be renumbered, get or lose an address, or be advertised otherwise; which faults the objects have; what would be written
for Calico or Cilium; and what speakers would announce from where. It runs the controller's own rules on a copy of the cluster.

Objects of metallb.io and fairlead.io, Services and Namespaces count; others are ignored. Objects without a namespace go to --namespace,
or to that of the kubeconfig's context, as with kubectl apply. Configuration that goes to another namespace than that of the installation
is not read there; the plan warns of it.

Nothing is written. The API server is asked for dry runs, which need permission to create and patch the objects; without it, the plan
is made without them and says so.

Exit codes: 0 nothing to tell, 1 the command failed, or too little could be found out to be sure of that, 2 as --exit-code says:
  disruptive  an address would move, be taken away or be advertised no longer, or an object is faulty (default)
  changes     anything would change for a Service, a node or the CNI
  never       never 2`,
		Example: `  kubectl fairlead plan -f pools.yaml
  kubectl fairlead plan -f pools.yaml -n metallb-system
  kubectl fairlead plan -f clusters/prod -R --prune
  kustomize build . | kubectl fairlead plan -f - -o json | jq '.services[] | select(.addresses == "renumbered")'`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if codes := []string{codeDisruptive, codeChanges, codeNever}; !slices.Contains(codes, code) {
				return fmt.Errorf("--exit-code: %q is none of %s", code, strings.Join(codes, ", "))
			}
			if len(files) == 0 {
				return errors.New("--filename is needed: a file, a folder, or - for standard input")
			}
			manifests, err := plan.Load(files, recursive, cmd.InOrStdin())
			if err != nil {
				return err
			}
			s, err := c.survey(ctx)
			if err != nil {
				return err
			}
			options, err := c.rehearsal(s)
			if err != nil {
				return err
			}
			change := &plan.Change{Client: c.client, Namespace: c.current, ServerSide: serverSide, Prune: prune}
			report, err := plan.Run(ctx, change, s, manifests, options)
			if err != nil {
				return err
			}
			if err := o.print(cmd, document.Plan, report, func(s *screen.Screen, wide bool) { showPlan(s, report, wide) }); err != nil {
				return err
			}
			if code == codeDisruptive && report.Disruptive || code == codeChanges && (report.Changes || report.Disruptive) {
				return exitCode(exitFound)
			}
			return report.Unknown()
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, allFormats...)
	f := cmd.Flags()
	f.StringSliceVarP(&files, "filename", "f", nil, "file or folder with the objects; - is standard input; can be repeated")
	f.BoolVarP(&recursive, "recursive", "R", false, "read folders in folders, too")
	f.BoolVar(&prune, "prune", false, "take objects of the configuration that are not in the files as deleted; Services never are")
	f.BoolVar(&serverSide, "server-side", false, "apply as kubectl apply --server-side --force-conflicts does")
	f.StringVar(&code, "exit-code", codeDisruptive, "for what the exit code is 2: disruptive, changes or never")
	complete(cmd, "exit-code", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{codeDisruptive, codeChanges, codeNever}, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func showPlan(s *screen.Screen, r *plan.Report, wide bool) {
	s.Line(screen.C("Objects").In(screen.Bold))
	var rows [][]screen.Cell
	ignored := 0
	for _, o := range r.Objects {
		if o.Action == plan.ActionIgnored && !wide {
			ignored++
			continue
		}
		style := map[string]screen.Style{plan.ActionCreate: screen.Good, plan.ActionChange: screen.Doubtful, plan.ActionDelete: screen.Bad,
			plan.ActionInvalid: screen.Bad, plan.ActionUnchanged: screen.Faint, plan.ActionIgnored: screen.Faint}[o.Action]
		rows = append(rows, []screen.Cell{screen.C("%s", o.Action).In(style), screen.C("%s %s/%s", o.Kind, o.Namespace, o.Name),
			screen.C("%s", o.Why)})
	}
	shown, more := cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
	if ignored > 0 {
		s.Line(screen.C("  ignored (-o wide shows them): %d", ignored).In(screen.Faint))
	}
	warnings, more := cut(r.Warnings, wide)
	for _, w := range warnings {
		s.Line(screen.C("  warning:").In(screen.Doubtful), screen.C("%s", w))
	}
	showMore(s, len(r.Warnings), more)
	showFaults(s, r.Faults, wide)
	showServices(s, r.Services, wide)
	if len(r.Nodes) > 0 {
		s.Heading("Speakers")
		var rows [][]screen.Cell
		for _, n := range r.Nodes {
			rows = append(rows, []screen.Cell{screen.C("%s", n.What), screen.C("%s -> %s", from(n.Before), from(n.After))})
		}
		shown, more := cut(rows, wide)
		s.Table(shown...)
		showMore(s, len(rows), more)
	}
	for i := range r.Backends {
		showWrites(s, &r.Backends[i], wide)
	}
	showNotes(s, r.Notes, r.Gaps)
	switch {
	case r.Disruptive && r.Incomplete:
		s.Heading("Disruptive: see above what would move, go or fail, and what could not be checked.")
	case r.Disruptive:
		s.Heading("Disruptive: see above what would move, go or fail.")
	case r.Incomplete:
		s.Heading("Not known: see above what could not be checked.")
	case r.Changes:
		s.Heading("No address would move, and none would be withdrawn.")
	default:
		s.Heading("Nothing would change.")
	}
}

func showFaults(s *screen.Screen, all []plan.Fault, wide bool) {
	if len(all) == 0 {
		return
	}
	s.Heading("Faults")
	shown, more := cut(all, wide)
	defer showMore(s, len(all), more)
	for _, f := range shown {
		if f.Mended {
			s.Line(screen.C("  mended").In(screen.Good), screen.C("%s: %s: %s", f.Object, f.Field, f.Problem))
			continue
		}
		s.Line(screen.C("  new").In(screen.Bad), screen.C("%s: %s: %s; %s", f.Object, f.Field, f.Problem, f.Consequence))
	}
}

// from is a list in words where an empty one means nobody or nothing.
func from(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func showServices(s *screen.Screen, all []plan.Service, wide bool) {
	s.Heading("Services")
	if len(all) == 0 {
		s.Line(screen.C("  none would change"))
		return
	}
	styles := map[string]screen.Style{plan.Gains: screen.Good, plan.Loses: screen.Bad, plan.Renumbered: screen.Bad, plan.Stays: screen.Plain}
	shown, more := cut(all, wide)
	defer showMore(s, len(all), more)
	for _, x := range shown {
		name := fmt.Sprintf("%s/%s", x.Namespace, x.Name)
		if x.New {
			name += " (new)"
		}
		addresses := screen.C("%s", from(x.After))
		if x.Addresses != plan.Stays {
			addresses = screen.C("%s -> %s", from(x.Before), from(x.After))
		}
		s.Line(screen.C("  %s", name).In(screen.Bold), screen.C("%s:", x.Addresses).In(styles[x.Addresses]), addresses)
		if x.Reason != "" && x.Reason != "Allocated" {
			s.Line(screen.C("    %s: %s", x.Reason, x.Message).In(screen.Doubtful))
		}
		if !slices.Equal(x.AdvertisedBefore, x.AdvertisedAfter) {
			s.Line(screen.C("    advertised: %s -> %s", from(x.AdvertisedBefore), from(x.AdvertisedAfter)))
		}
		if x.Why != "" {
			s.Line(screen.C("    no longer advertised: %s", x.Why).In(screen.Bad))
		}
	}
}

func showWrites(s *screen.Screen, b *plan.Backend, wide bool) {
	s.Heading("Written for " + b.Name)
	writes, more := cut(b.Writes, wide)
	for _, w := range writes {
		style := map[string]screen.Style{rehearse.Create: screen.Good, rehearse.Update: screen.Doubtful, rehearse.Delete: screen.Bad}[w.Verb]
		name := w.Name
		if w.Namespace != "" {
			name = w.Namespace + "/" + name
		}
		s.Line(screen.C("  %s", w.Verb).In(style), screen.C("%s %s (%s)", w.Kind, name, w.APIVersion))
		if w.Verb == rehearse.Delete && !wide {
			continue
		}
		for _, line := range plan.Diff(plan.Lines(w.Before), plan.Lines(w.After)) {
			style := screen.Good
			if strings.HasPrefix(line, "-") {
				style = screen.Bad
			}
			if strings.HasPrefix(line, " ") {
				style = screen.Faint
			}
			s.Verbatim(screen.C("      %s", line).In(style))
		}
	}
	showMore(s, len(b.Writes), more)
	if len(b.Writes) == 0 && b.Problem == "" {
		s.Line(screen.C("  nothing because of this"))
	}
	if b.Outstanding > 0 {
		s.Line(screen.C("  yet to be written without this, too: %d", b.Outstanding).In(screen.Faint))
	}
	if b.Steps {
		s.Line(screen.C("  more is written in steps, once this has taken effect").In(screen.Faint))
	}
	for _, f := range b.Findings {
		s.Line(screen.C("  %s", f).In(screen.Doubtful))
	}
	if b.Problem != "" {
		s.Line(screen.C("  what would be written is not wholly known: %s", b.Problem).In(screen.Bad))
	}
}
