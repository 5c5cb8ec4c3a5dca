package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/check"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// checker is the flags of check.
type checker struct {
	c connection
	o output

	all, http, watch, fromPod bool
	timeout, interval         time.Duration
	lasting, podStart         time.Duration
	image                     string
}

func checkCommand() *cobra.Command {
	x := &checker{c: connection{about: oneService, spare: told}}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out whether addresses can be reached from here, and where the way is broken",
		Long: `check goes the way to a Service step by step, for each of its addresses and ports: has it an address, is it advertised, is a BGP session up,
does an endpoint serve, who has the address on the own link, does a TCP connection come about, and, with --http, is there an answer. It
names the first step that is broken, and what helps.

With --watch it goes on trying and counts what is lost: beside an upgrade, for instance. With --from-pod the connections come from a pod
that is started for it and removed: this needs permission to create and delete pods there, and an image with sh, nc and wget.

Exit codes: 0 everything can be reached, 1 the command failed, 2 a way is broken, or with --watch something was lost.`,
		Example: `  kubectl fairlead check service shop/web
  kubectl fairlead check address 192.0.2.10 --http
  kubectl fairlead check --all -o json | jq -r '.results[] | select(.broken) | .address'
  kubectl fairlead check service shop/web --watch --for 10m
  kubectl fairlead check --all --from-pod --image busybox:stable`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !x.all {
				return errors.New("say what to check: service NAMESPACE/NAME, address IP, or --all")
			}
			return x.run(func([]string) (selects, error) { return func(*corev1.Service, netip.Addr) bool { return true }, nil })(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&x.all, "all", false, "check all Services that the installation serves")
	x.addFlags(cmd)
	cmd.AddCommand(checkServiceCommand(), checkAddressCommand())
	return cmd
}

type selects = func(svc *corev1.Service, addr netip.Addr) bool

func checkServiceCommand() *cobra.Command {
	x := &checker{c: connection{about: oneService, spare: told}}
	cmd := &cobra.Command{
		Use: "service [NAMESPACE/]NAME", Aliases: []string{"svc"}, Short: "Check the addresses of a Service",
		Long: `service checks each address and port of a Service; see kubectl fairlead check --help.

Exit codes: 0 everything can be reached, 1 the command failed, 2 a way is broken, or with --watch something was lost.`,
		Example: `  kubectl fairlead check service shop/web
  kubectl fairlead check service web -n shop --http`,
		Args:              one("a Service: [NAMESPACE/]NAME"),
		ValidArgsFunction: x.c.offer(x.c.services),
		RunE: x.run(func(args []string) (selects, error) {
			namespace, name, ok := strings.Cut(strings.TrimPrefix(args[0], "service/"), "/")
			if !ok {
				namespace, name = x.c.current, namespace
			}
			if namespace == "" || name == "" || strings.Contains(name, "/") {
				return nil, fmt.Errorf("%q does not name a Service; write NAMESPACE/NAME", args[0])
			}
			return func(svc *corev1.Service, _ netip.Addr) bool { return svc.Namespace == namespace && svc.Name == name }, nil
		}),
	}
	x.addFlags(cmd)
	return cmd
}

func checkAddressCommand() *cobra.Command {
	x := &checker{c: connection{spare: told}}
	cmd := &cobra.Command{
		Use: "address IP", Aliases: []string{"ip"}, Short: "Check an address",
		Long: `address checks each port of an address that a Service has; see kubectl fairlead check --help.

Exit codes: 0 everything can be reached, 1 the command failed, 2 a way is broken, or with --watch something was lost.`,
		Example:           `  kubectl fairlead check address 2001:db8::10`,
		Args:              one("an IP address"),
		ValidArgsFunction: x.c.offer(x.c.addresses),
		RunE: x.run(func(args []string) (selects, error) {
			want, err := netip.ParseAddr(args[0])
			if err != nil || want.Zone() != "" {
				return nil, fmt.Errorf("%q is not an IP address; write one like 192.0.2.10 or 2001:db8::10", args[0])
			}
			return func(_ *corev1.Service, addr netip.Addr) bool { return addr == want.Unmap() }, nil
		}),
	}
	x.addFlags(cmd)
	return cmd
}

func (x *checker) addFlags(cmd *cobra.Command) {
	x.c.addFlags(cmd)
	x.o.addFlag(cmd, formatTable, formatJSON, formatYAML)
	f := cmd.Flags()
	f.BoolVar(&x.http, "http", false, "ask for a page, too: by https on port 443, by http elsewhere")
	f.DurationVar(&x.timeout, "timeout", 3*time.Second, "how long a connection, and an answer, may take")
	f.BoolVarP(&x.watch, "watch", "w", false, "go on trying, and count what is lost")
	f.DurationVar(&x.interval, "interval", time.Second, "how often --watch tries")
	f.DurationVar(&x.lasting, "for", 0, "how long --watch goes on; 0: until it is interrupted")
	f.BoolVar(&x.fromPod, "from-pod", false, "have a pod try, in --namespace or the namespace of the context")
	f.StringVar(&x.image, "image", "busybox:stable", "image of that pod; it needs sh, nc and wget")
	f.DurationVar(&x.podStart, "pod-start", time.Minute, "how long the pod may take to start")
}

func (x *checker) validate() error {
	switch {
	case x.timeout <= 0 || x.interval <= 0:
		return errors.New("--timeout and --interval must be positive, like 1s")
	case x.lasting < 0 || x.podStart <= 0:
		return errors.New("--for must not be negative, and --pod-start must be positive, like 1m")
	case x.watch && x.fromPod:
		return errors.New("--watch and --from-pod do not go together: a pod tries once")
	case x.lasting > 0 && !x.watch:
		return errors.New("--for needs --watch")
	}
	return nil
}

func (x *checker) run(choose func(args []string) (selects, error)) func(*cobra.Command, []string) error {
	return x.c.run(&x.o, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if err := x.validate(); err != nil {
			return err
		}
		m, err := x.c.model(ctx)
		if err != nil {
			return err
		}
		if err := m.Need("Services"); err != nil {
			return err
		}
		which, err := choose(args)
		if err != nil {
			return err
		}
		report := check.Read(m, which)
		if len(report.Results) == 0 && len(args) > 0 {
			return fmt.Errorf("the installation in namespace %q serves no Service of type LoadBalancer with %s; see 'kubectl fairlead explain'",
				m.Namespace, args[0])
		}
		prober, err := x.prober(cmd)
		if err != nil {
			return err
		}
		if x.watch {
			return x.follow(ctx, cmd, report, prober)
		}
		x.c.budget.set(0)
		if err := check.Complete(ctx, report, prober, x.http); err != nil {
			return err
		}
		if err := x.o.print(cmd, document.ReachabilityReport, report, func(s *screen.Screen, _ bool) { showCheck(s, report) }); err != nil {
			return err
		}
		if report.Broken() {
			return exitCode(exitFound)
		}
		return nil
	})
}

func (x *checker) prober(cmd *cobra.Command) (check.Prober, error) {
	if !x.fromPod {
		return &check.Here{Timeout: x.timeout, HTTP: x.http}, nil
	}
	rc, err := x.c.reach() // the other connection does not write
	if err != nil {
		return nil, err
	}
	w, err := client.NewWithWatch(rc, client.Options{Scheme: survey.NewScheme()})
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	last := ""
	return &check.Pod{
		Client: w, Namespace: x.c.current, Image: x.image, Timeout: x.timeout, HTTP: x.http, Start: x.podStart,
		Progress: func(text string) {
			if text != last {
				fmt.Fprintln(cmd.ErrOrStderr(), screen.Clean(text))
			}
			last = text
		},
	}, nil
}

// outages are what --watch has found.
type outages struct {
	Targets []*check.Tally `json:"targets"`
	// Lost counts the tries of all Targets that failed.
	Lost int `json:"lost"`
}

// follow tries again and again.
func (x *checker) follow(ctx context.Context, cmd *cobra.Command, report *check.Report, p check.Prober) error {
	targets := report.Targets()
	if len(targets) == 0 {
		return errors.New("there is no address with a TCP port to try")
	}
	ctx, cancel := cli.Within(ctx, x.lasting)
	defer cancel()
	say := func(format string, args ...any) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s %s\n", time.Now().Format(time.TimeOnly), screen.Clean(fmt.Sprintf(format, args...)))
	}
	say("trying %d addresses and ports every %s", len(targets), x.interval)
	tallies := check.Watch(ctx, p, targets, x.interval, func(t *check.Tally, lost bool, outage time.Duration) {
		if lost {
			say("%s: lost: %s", t.Target, t.LastError)
			return
		}
		say("%s: back after %s", t.Target, outage.Round(time.Millisecond))
	})
	lost := 0
	for _, t := range tallies {
		lost += t.Lost
	}
	result := &outages{tallies, lost}
	err := x.o.print(cmd, document.OutageReport, result, func(s *screen.Screen, _ bool) {
		var rows [][]screen.Cell
		for _, t := range tallies {
			style := screen.Good
			if t.Lost > 0 {
				style = screen.Bad
			}
			rows = append(rows, []screen.Cell{screen.C("%s", t.Target), screen.C("%d tried", t.Tried), screen.C("%d lost", t.Lost).In(style),
				screen.C("longest outage %.0f ms", t.LongestOutage)})
		}
		s.Table(rows...)
	})
	if err != nil {
		return err
	}
	if lost > 0 {
		return exitCode(exitFound)
	}
	return nil
}

func showCheck(s *screen.Screen, r *check.Report) {
	s.Line(screen.C("From %s", r.From).In(screen.Bold))
	for i := range r.Results {
		x := &r.Results[i]
		title := fmt.Sprintf("%s/%s", x.Namespace, x.Name)
		if x.Address != "" {
			title += fmt.Sprintf("  %s  %d/%s", x.Address, x.Port, x.Protocol)
		}
		s.Heading(title)
		var rows [][]screen.Cell
		for _, step := range x.Steps {
			style := map[string]screen.Style{check.OK: screen.Good, check.Broken: screen.Bad, check.Unknown: screen.Doubtful,
				check.Skipped: screen.Faint}[step.State]
			detail := step.Detail
			if step.Millis != nil {
				detail = joinNonEmpty("; ", detail, fmt.Sprintf("%.1f ms", *step.Millis))
			}
			rows = append(rows, []screen.Cell{screen.C("%s", step.Step), screen.C("%s", step.State).In(style), screen.C("%s", detail)})
		}
		s.Table(rows...)
		if x.Broken != "" {
			s.Line(screen.C("  broken at: %s", x.Broken).In(screen.Bad))
			s.Line(screen.C("  what helps: %s", x.Help))
		}
	}
	if len(r.Results) == 0 {
		s.Line(screen.C("  there is no Service to check"))
	}
	for _, g := range r.Gaps {
		s.Line(screen.C("%s", g).In(screen.Doubtful))
	}
}
