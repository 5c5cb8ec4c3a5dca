// Package demo shows the product at work on a real API server: a cluster of its own, Calico's CRDs, the scenario of Kubespray's
// documentation, Services and their addresses, and the configuration that Calico would act on.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/crds"
	"github.com/fairlead/fairlead/internal/localcluster"
)

//go:embed manifests
var manifests embed.FS

const (
	configNamespace  = "metallb-system"
	serviceNamespace = "demo"
	// patience is how long each step may wait for the cluster to do its part.
	patience = time.Minute
)

// blocks are what Calico must be told to advertise in the end.
var blocks = []string{"10.5.0.0/16", "10.6.0.0/16", "10.10.0.0/16"}

// Options are what a Demo needs.
type Options struct {
	Assets     string   // folder with kube-apiserver and etcd
	Folders    []string // where kubectl and calico-crds are looked for
	Controller string   // path of the controller binary
	Once       bool     // end after the last step instead of waiting for ctx to end
	Out        io.Writer
}

// demo is one run.
type demo struct {
	Options
	dir        string
	cluster    *localcluster.Cluster
	client     client.Client
	controller *exec.Cmd
	exited     chan error // yields the controller's end
}

// Run shows everything, step by step. It removes what it has started before it returns. The error names the step that failed.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o}
	defer func() { err = errors.Join(err, d.stop()) }()
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"start etcd and kube-apiserver", d.startCluster},
		{"install the CRDs of metallb.io, fairlead.io and Calico", d.installCRDs},
		{"start the controller with --backend=calico", d.startController},
		{"apply the pools, peers, communities and advertisements of the scenario", d.applyScenario},
		{"create Services and wait for their addresses", d.createServices},
		{"look at what Calico is told to advertise", d.showCalico},
	}
	for i, s := range steps {
		start := time.Now()
		fmt.Fprintf(d.Out, "[%d/%d] %s\n", i+1, len(steps), s.title)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("step %d of %d (%s): %w", i+1, len(steps), s.title, err)
		}
		fmt.Fprintf(d.Out, "      done in %.1f s\n", time.Since(start).Seconds())
	}
	if o.Once {
		return nil
	}
	d.showNext()
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.Out, "\nStopping and removing everything.")
		return nil
	case err := <-d.exited:
		return d.controllerEnded(err)
	}
}

func (d *demo) startCluster(context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "fairlead-demo-"); err != nil {
		return err
	}
	if d.cluster, err = localcluster.Start(d.Assets); err != nil {
		return err
	}
	if err := os.WriteFile(d.kubeconfig(), d.cluster.Kubeconfig, 0o600); err != nil {
		return err
	}
	d.client, err = client.New(d.cluster.Config, client.Options{})
	return err
}

func (d *demo) kubeconfig() string { return filepath.Join(d.dir, "kubeconfig") }

func (d *demo) logFile() string { return filepath.Join(d.dir, "controller.log") }

func (d *demo) installCRDs(context.Context) error {
	ours, err := crds.All()
	if err != nil {
		return err
	}
	calicos, err := localcluster.ReadCRDs(localcluster.CalicoCRDs, d.Folders...)
	if err != nil {
		return err
	}
	return d.cluster.InstallCRDs(slices.Concat(ours, calicos)...)
}

func (d *demo) startController(ctx context.Context) error {
	for _, name := range []string{configNamespace, serviceNamespace} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := d.client.Create(ctx, ns); err != nil {
			return fmt.Errorf("create namespace %q: %w", name, err)
		}
	}
	log, err := os.Create(d.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	d.controller = exec.Command(d.Controller, "--kubeconfig", d.kubeconfig(), "--namespace", configNamespace, "--backend=calico", "--log-format=text")
	d.controller.Stdout, d.controller.Stderr = log, log
	// Its own process group: Ctrl-C is for the demo, which stops the controller in its turn.
	d.controller.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.controller.Start(); err != nil {
		d.controller = nil
		return fmt.Errorf("start the controller: %w; build it with 'make build'", err)
	}
	d.exited = make(chan error, 1)
	go func() { d.exited <- d.controller.Wait() }()

	state := schema.GroupVersionKind{Group: "metallb.io", Version: "v1beta1", Kind: "ConfigurationState"}
	return d.until(ctx, "the controller to report its configuration", func(ctx context.Context) (bool, error) {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(state)
		err := d.client.Get(ctx, types.NamespacedName{Namespace: configNamespace, Name: "controller"}, u)
		return err == nil, client.IgnoreNotFound(err)
	})
}

func (d *demo) applyScenario(ctx context.Context) error { return d.create(ctx, "kubespray.yaml") }

// create creates every object of a manifest, as it is.
func (d *demo) create(ctx context.Context, name string) error {
	b, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		return err
	}
	for _, doc := range strings.Split(string(b), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.client.Create(ctx, u); err != nil {
			return fmt.Errorf("create %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
		fmt.Fprintf(d.Out, "      %s %s/%s\n", u.GetKind(), u.GetNamespace(), u.GetName())
	}
	return nil
}

func (d *demo) createServices(ctx context.Context) error {
	if err := d.create(ctx, "services.yaml"); err != nil {
		return err
	}
	var list corev1.ServiceList
	err := d.until(ctx, "every Service to have an address", func(ctx context.Context) (bool, error) {
		if err := d.client.List(ctx, &list, client.InNamespace(serviceNamespace)); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(list.Items, func(s corev1.Service) bool { return len(s.Status.LoadBalancer.Ingress) == 0 }), nil
	})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "      SERVICE\tADDRESS\tPOOL\tASKED FOR")
	for _, s := range list.Items {
		fmt.Fprintf(w, "      %s\t%s\t%s\t%s\n", s.Name, s.Status.LoadBalancer.Ingress[0].IP, s.Annotations["metallb.io/ip-allocated-from-pool"], asked(&s))
	}
	return w.Flush()
}

func asked(s *corev1.Service) string {
	var out []string
	for k, v := range s.Annotations {
		if !strings.HasSuffix(k, "/ip-allocated-from-pool") {
			out = append(out, k+"="+v)
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "any address"
	}
	return strings.Join(out, " ")
}

func (d *demo) showCalico(ctx context.Context) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "BGPConfiguration"})
	err := d.until(ctx, "BGPConfiguration/default to hold "+strings.Join(blocks, ", "), func(ctx context.Context) (bool, error) {
		if err := d.client.Get(ctx, types.NamespacedName{Name: "default"}, u); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		return slices.Equal(cidrs(u), blocks), nil
	})
	if err != nil {
		return err
	}
	shown := map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(),
		"metadata": map[string]any{"name": u.GetName()}, "spec": u.Object["spec"],
	}
	b, err := yaml.Marshal(shown)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		fmt.Fprintf(d.Out, "      %s", line)
	}
	return nil
}

// cidrs returns the blocks that Calico is told to advertise, by address.
func cidrs(u *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "serviceLoadBalancerIPs")
	var out []netip.Prefix
	for _, item := range list {
		block, _ := item.(map[string]any)
		s, _ := block["cidr"].(string)
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	text := make([]string, len(out))
	for i, p := range out {
		text[i] = p.String()
	}
	return text
}

func (d *demo) showNext() {
	kubectl := "kubectl"
	for _, dir := range d.Folders {
		path := filepath.Join(dir, "kubectl")
		if _, err := os.Stat(path); err == nil {
			kubectl = path
			break
		}
	}
	fmt.Fprintf(d.Out, `
The cluster stays up until Ctrl-C. In another terminal:

  export KUBECONFIG=%s
  %s get services -n %s
  %s get ipaddresspools,bgpadvertisements,configurationstates -n %s
  %s get backends.fairlead.io,bgpconfigurations.crd.projectcalico.org -o yaml

The controller's log is in %s.
`, d.kubeconfig(), kubectl, serviceNamespace, kubectl, configNamespace, kubectl, d.logFile())
}

// until polls done; it fails if the controller ends or patience runs out.
func (d *demo) until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-d.exited:
			d.exited <- err
			return false, d.controllerEnded(err)
		default:
			return done(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

func (d *demo) controllerEnded(err error) error {
	b, readErr := os.ReadFile(d.logFile())
	if readErr != nil {
		return fmt.Errorf("the controller ended: %w", errors.Join(err, readErr))
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("the controller ended (%v); its last words:\n%s", err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
}

// stop ends and removes everything that was started.
func (d *demo) stop() error {
	var failed error
	if d.controller != nil {
		_ = d.controller.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.exited:
		case <-time.After(10 * time.Second):
			failed = errors.Join(errors.New("the controller did not stop in time"), d.controller.Process.Kill())
		}
	}
	if d.cluster != nil {
		failed = errors.Join(failed, d.cluster.Stop())
	}
	if d.dir != "" {
		failed = errors.Join(failed, os.RemoveAll(d.dir))
	}
	return failed
}
