package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/internal/tool/doctor"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

func doctorCommand() *cobra.Command {
	c := connection{spare: told}
	var o output
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check an installation, and name the command that fixes each finding",
		Long: `doctor checks the CustomResourceDefinitions, the controller and its Lease, a MetalLB that still runs, the configuration, the pools, the
backends and the CNI's switches, the speakers, kube-proxy, the BGP sessions, the admission webhook, and the Services that have no
address or are not advertised. Where no controller runs, it looks at the CNI itself.

It changes nothing: the command of each finding is for you to run. What you may not read is listed under "Not checked".

Exit codes: 0 no finding of severity error, 1 the command failed, Fairlead is not installed, or not everything could be checked and
nothing worse was found, 2 there is a finding of severity error.`,
		Example: `  kubectl fairlead doctor
  kubectl fairlead doctor -n metallb-system -o json | jq -r '.findings[] | select(.severity == "error") | .what'`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			s, absent := c.survey(ctx)
			if absent != nil && !errors.Is(absent, survey.ErrNotInstalled) {
				return absent
			}
			m, err := s.Model()
			if err != nil {
				return err
			}
			report, err := c.diagnose(ctx, m)
			if err != nil {
				return err
			}
			if err := o.print(cmd, document.Diagnosis, report, func(s *screen.Screen, _ bool) { showReport(s, report) }); err != nil {
				return err
			}
			if absent != nil {
				return absent // what would be found has been said
			}
			if report.Count(doctor.Error) > 0 {
				return exitCode(exitFound)
			}
			if len(report.Gaps) > 0 {
				return exitCode(exitFailed) // that nothing was found does not say that there is nothing
			}
			return nil
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatJSON, formatYAML)
	return cmd
}

// diagnose makes all checks.
func (c *connection) diagnose(ctx context.Context, m *survey.Model) (*doctor.Report, error) {
	options, err := c.rehearsal(m.Survey)
	if err != nil {
		return nil, err
	}
	facts, err := doctor.Read(ctx, c.client, m, options)
	if err != nil {
		return nil, err
	}
	return doctor.Examine(facts), nil
}

// rehearsal returns what the backends need to rehearse, with the flags of the controller.
func (c *connection) rehearsal(s *survey.Survey) (rehearse.Options, error) {
	disc, err := discovery.NewDiscoveryClientForConfig(c.rest)
	if err != nil {
		return rehearse.Options{}, err
	}
	dyn, err := dynamic.NewForConfig(c.rest)
	if err != nil {
		return rehearse.Options{}, err
	}
	set := s.Controller.Settings
	return rehearse.Options{
		Discovery: disc, Dynamic: dyn, Client: c.client, Installation: s.Namespace,
		Aggregation: set["calico-aggregation"], AllowWider: set["allow-wider-advertisement"] == "true", CiliumNamespace: set["cilium-namespace"],
	}, nil
}

func showReport(s *screen.Screen, r *doctor.Report) {
	styles := map[string]screen.Style{doctor.Error: screen.Bad, doctor.Warning: screen.Doubtful, doctor.Info: screen.Faint}
	for i, f := range r.Findings {
		if i > 0 {
			s.Line()
		}
		s.Line(screen.C("%s", f.Severity).In(styles[f.Severity]), screen.C("[%s]", f.Check).In(screen.Faint), screen.C("%s", f.What))
		if f.Why != "" {
			s.Line(screen.C("  %s", f.Why))
		}
		if f.Command != "" {
			s.Verbatim(screen.C("  $ %s", f.Command).In(screen.Bold))
		}
	}
	if len(r.Gaps) > 0 {
		if len(r.Findings) > 0 {
			s.Line()
		}
		s.Line(screen.C("Not checked").In(screen.Bold))
		for _, g := range r.Gaps {
			s.Line(screen.C("  %s", g).In(screen.Doubtful))
		}
	}
	if len(r.Findings)+len(r.Gaps) > 0 {
		s.Line()
	}
	sum := fmt.Sprintf("Namespace %s: %s.", r.Namespace, r.Summary())
	if len(r.Gaps) > 0 {
		sum += " Not everything could be checked."
	}
	s.Line(screen.C("%s", sum))
}
