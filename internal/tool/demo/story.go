package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/screen"
)

// step is one of those that a demo consists of.
type step struct {
	title string
	why   string // why it matters; may be empty
	do    func(context.Context) error
}

// story is what a demo tells.
type story struct {
	problem string // in a sentence, and what is done about it
	steps   []step
}

const (
	// columns is how wide a terminal has to be.
	columns = 80
	// margin is before everything that a step prints.
	margin = "      "
)

// What the demos of the CNIs have in common.
const (
	cniProblem = `On bare metal, a Service of type LoadBalancer stays pending: nobody gives it an address. Fairlead gives it one from ` +
		`MetalLB's pools, and has %s announce it: no second BGP daemon runs, and no address moves by accident. ` +
		`This cluster is the demo's own, without nodes and pods; nothing of yours is touched.`
	startWhy      = "A real API server, so that all that follows is real, too."
	controllerWhy = "All that runs of Fairlead: one Deployment. Nothing runs on the nodes."
	applyWhy      = "These are MetalLB's own objects, unchanged."
	servicesWhy   = "Each asks in one of the usual ways, by MetalLB's annotations."
	toldWhy       = "Without Fairlead, you write this by hand, and again after each change. %s does the rest."
)

// tell runs the steps of a story.
func (d *demo) tell(ctx context.Context, s story) error {
	out := d.screen()
	out.Line(screen.C("%s", s.problem))
	for i, x := range s.steps {
		begun := time.Now()
		fmt.Fprintln(d.Out)
		out.Line(screen.C("[%d/%d]", i+1, len(s.steps)).In(screen.Faint), screen.C("%s", x.title).In(screen.Bold))
		if x.why != "" {
			out.Line(screen.C("%s", margin[1:]), screen.C("%s", x.why).In(screen.Faint))
		}
		err := ctx.Err() // not every step heeds it
		if err == nil {
			err = x.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("step %d of %d (%s): %w", i+1, len(s.steps), x.title, err)
		}
		out.Line(screen.C("%s", margin[1:]), screen.C("done in %.1f s", time.Since(begun).Seconds()).In(screen.Good))
	}
	return nil
}

// screen wraps at columns, or at what $COLUMNS says.
func (d *demo) screen() *screen.Screen {
	return screen.New(d.Out, func(name string) string {
		if value := os.Getenv(name); value != "" || name != "COLUMNS" {
			return value
		}
		return strconv.Itoa(columns)
	})
}

// indent prints lines below a step.
func (d *demo) indent(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(d.Out, "%s%s", margin, line)
	}
}

// runTool runs a command of this program as who tries the demo would, and shows it and what it prints. It fails unless the exit code is that one.
func (d *demo) runTool(ctx context.Context, exitCode int, args ...string) error {
	fmt.Fprintf(d.Out, "%s$ kubectl fairlead %s\n", margin, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, plugin(), args...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = ownGroup()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.kubeconfig(), fmt.Sprint("COLUMNS=", columns-len(margin)))
	if d.screen().Coloured() {
		cmd.Env = append(cmd.Env, "CLICOLOR_FORCE=1")
	}
	out, err := cmd.CombinedOutput()
	d.indent(string(out))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != exitCode {
		return fmt.Errorf("kubectl fairlead %s: exit code %d, want %d", args[0], got, exitCode)
	}
	return nil
}

// explain shows why a Service has no address, and mends that.
func (d *demo) explain(ctx context.Context) error {
	if err := d.create(ctx, "wiki.yaml"); err != nil {
		return err
	}
	var svc corev1.Service
	get := func(ctx context.Context) error {
		return d.client.Get(ctx, types.NamespacedName{Namespace: serviceNamespace, Name: "wiki"}, &svc)
	}
	err := d.until(ctx, "Service demo/wiki to be judged", func(ctx context.Context) (bool, error) {
		err := get(ctx)
		return len(svc.Status.Conditions) > 0, err
	})
	if err != nil {
		return err
	}
	if err := d.runTool(ctx, 2, "explain", "service", "demo/wiki"); err != nil {
		return err
	}
	const right = "metallb.io/loadBalancerIPs=10.10.0.7"
	fmt.Fprintf(d.Out, "\n%s$ kubectl annotate service wiki --namespace demo --overwrite \\\n%s    %s\n", margin, margin, right)
	key, value, _ := strings.Cut(right, "=")
	before := svc.DeepCopy()
	svc.Annotations[key] = value
	if err := d.client.Patch(ctx, &svc, client.MergeFrom(before)); err != nil {
		return err
	}
	err = d.until(ctx, "Service demo/wiki to have its address", func(ctx context.Context) (bool, error) {
		err := get(ctx)
		return len(addresses(&svc)) > 0, err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "%sdemo/wiki has %s\n", margin, strings.Join(addresses(&svc), " "))
	return nil
}

// plan shows what a smaller pool would do, before anything is done.
func (d *demo) plan(ctx context.Context) error {
	const name = "smaller.yaml"
	b, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, name), b, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "%s$ cat %s\n", margin, name)
	d.indent(string(b))
	fmt.Fprintln(d.Out)
	return d.runTool(ctx, 2, "plan", "-f", name)
}

// doctor shows that nothing is wrong.
func (d *demo) doctor(ctx context.Context) error { return d.runTool(ctx, 0, "doctor") }

// notShown says what the demo leaves out for want of something.
func (d *demo) notShown(what string, missing []string) {
	d.screen().Line(screen.C("Not shown is %s: %s is missing.", what, strings.Join(missing, "; ")))
	fmt.Fprintln(d.Out)
}

// learn are the steps that use the tool on what the demo has made.
func (d *demo) learn() []step {
	return []step{
		{"ask why a Service has no address, and give it one", "Every \"no\" explains itself, and says what to do first.", d.explain},
		{"ask what a smaller pool would do, before it is applied",
			"Addresses do not move by accident: this tells whose would, and writes nothing.", d.plan},
	}
}
