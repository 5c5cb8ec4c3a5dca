// Package demo shows the product at work on a real API server, on a cluster of its own: Services and their addresses, and the
// configuration that Calico or Cilium would act on; or speakers on a network of namespaces, and what a client and a router there see.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
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
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

//go:embed manifests
var manifests embed.FS

const (
	configNamespace  = "metallb-system"
	serviceNamespace = "demo"
	// patience is how long each step may wait for the cluster to do its part.
	patience = time.Minute
)

// The backends that can be shown.
const (
	Calico  = "calico"
	Cilium  = "cilium"
	Speaker = "speaker"
)

// Backends lists the backends that can be shown, the default first.
var Backends = []string{Calico, Cilium, Speaker}

// Options are what Run needs.
type Options struct {
	Backend    string   // one of Backends
	Allocator  string   // one of config.Allocators
	Assets     string   // folder with kube-apiserver and etcd
	Folders    []string // where kubectl, CRDs and the control planes of CNIs and providers are looked for
	Controller string   // path of the controller binary
	Speaker    string   // path of the speaker binary
	Once       bool     // end after the last step instead of waiting for ctx to end
	Out        io.Writer
}

// demo is one run.
type demo struct {
	Options
	dir       string
	cluster   *localcluster.Cluster
	client    client.WithWatch
	processes []*process
	network   *network // of the speakers; nil without
	l2Backend string   // who serves L2Advertisements, if not the backend
	provider  *process // of addresses; nil without
	ends      []func() // what else is to end, and how
}

// Run shows everything, step by step. It removes what it has started before it returns. The error names the step that failed.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o}
	defer func() { err = errors.Join(err, d.stop()) }()
	s, err := d.story()
	if err != nil {
		return err
	}
	if err := d.tell(ctx, s); err != nil || o.Once {
		return err
	}
	link, err := d.startDashboard(ctx)
	if err != nil {
		return err
	}
	d.showNext(link)
	err = d.watch(ctx)
	if err == nil {
		fmt.Fprintln(d.Out, "\nStopping and removing everything.")
	}
	return err
}

// story returns that of the backend. The error names all that is missing for it; nothing has been started then.
func (d *demo) story() (story, error) {
	if runtime.GOOS == "windows" {
		return story{}, errors.New("the demo stops what it starts by signals, which Windows does not have; run it on Linux or macOS, or in WSL")
	}
	switch d.Allocator {
	case config.AllocatorClusterAPI:
		return d.allocatorStory()
	case "", config.AllocatorBuiltin:
	default:
		return story{}, fmt.Errorf("allocator %q: want one of %s", d.Allocator, strings.Join(config.Allocators, ", "))
	}
	switch d.Backend {
	case Calico:
		return d.calicoStory(), nil
	case Cilium:
		return d.ciliumStory(), nil
	case Speaker:
		return d.speakerStory()
	}
	return story{}, fmt.Errorf("backend %q: want one of %s", d.Backend, strings.Join(Backends, ", "))
}

// file returns where a file of the tools is; empty if nowhere.
func (d *demo) file(name string) string {
	for _, dir := range d.Folders {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
	d.client, err = client.NewWithWatch(d.cluster.Config, client.Options{Scheme: survey.NewScheme()})
	return err
}

func (d *demo) kubeconfig() string { return filepath.Join(d.dir, "kubeconfig") }

// installCRDs installs ours, and those in a folder.
func (d *demo) installCRDs(folders ...string) func(context.Context) error {
	return func(context.Context) error {
		all, err := crds.All()
		if err != nil {
			return err
		}
		for _, name := range folders {
			more, err := localcluster.ReadCRDs(name, d.Folders...)
			if err != nil {
				return err
			}
			all = append(all, more...)
		}
		return d.cluster.InstallCRDs(all...)
	}
}

func (d *demo) startController(ctx context.Context) error {
	for _, name := range []string{configNamespace, serviceNamespace} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := d.client.Create(ctx, ns); err != nil {
			return fmt.Errorf("create namespace %q: %w", name, err)
		}
	}
	cmd := exec.Command(d.Controller, "--kubeconfig", d.kubeconfig(), "--namespace", configNamespace, "--backend="+d.Backend,
		"--log-format=text")
	if d.l2Backend != "" {
		cmd.Args = append(cmd.Args, "--l2-backend="+d.l2Backend)
	}
	if d.Allocator == config.AllocatorClusterAPI {
		cmd.Args = append(cmd.Args, "--allocators="+d.Allocator)
	}
	// Its own process group: Ctrl-C is for the demo, which stops the controller in its turn.
	cmd.SysProcAttr = ownGroup()
	if _, err := d.launch("controller", cmd, here); err != nil {
		return fmt.Errorf("start the controller: %w; build it with 'make build'", err)
	}
	state := schema.GroupVersionKind{Group: "metallb.io", Version: "v1beta1", Kind: "ConfigurationState"}
	return d.until(ctx, "the controller to report its configuration", func(ctx context.Context) (bool, error) {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(state)
		err := d.client.Get(ctx, types.NamespacedName{Namespace: configNamespace, Name: "controller"}, u)
		return err == nil, client.IgnoreNotFound(err)
	})
}

// apply returns a step that creates every object of a manifest.
func (d *demo) apply(name string) func(context.Context) error {
	return func(ctx context.Context) error { return d.create(ctx, name) }
}

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
			return fmt.Errorf("create %s %s: %w", u.GetKind(), nameOf(u), err)
		}
		fmt.Fprintf(d.Out, "      %s %s\n", u.GetKind(), nameOf(u))
	}
	return nil
}

// nameOf returns namespace/name, or the name of what has no namespace.
func nameOf(o client.Object) string { return strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/") }

// createServices returns a step that creates the objects of a manifest and shows the addresses of the Services that there were not before.
func (d *demo) createServices(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		before, err := d.services(ctx)
		if err != nil {
			return err
		}
		if err := d.create(ctx, name); err != nil {
			return err
		}
		list, err := d.services(ctx)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(s corev1.Service) bool {
			return slices.ContainsFunc(before, func(old corev1.Service) bool { return old.Name == s.Name })
		})
		w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "      SERVICE\tADDRESS\tPOOL\tASKS FOR")
		for _, s := range list {
			fmt.Fprintf(w, "      %s\t%s\t%s\t%s\n", s.Name, strings.Join(addresses(&s), " "), s.Annotations["metallb.io/ip-allocated-from-pool"],
				asked(&s))
		}
		return w.Flush()
	}
}

// services returns all Services of the demo when they have an address of each of their families.
func (d *demo) services(ctx context.Context) ([]corev1.Service, error) {
	var list corev1.ServiceList
	err := d.until(ctx, "every Service to have its addresses", func(ctx context.Context) (bool, error) {
		if err := d.client.List(ctx, &list, client.InNamespace(serviceNamespace)); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(list.Items, func(s corev1.Service) bool {
			return len(s.Status.LoadBalancer.Ingress) < len(s.Spec.IPFamilies)
		}), nil
	})
	return list.Items, err
}

func addresses(s *corev1.Service) []string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return out
}

// asked is what a Service asks for, in words.
func asked(s *corev1.Service) string {
	out := "any address"
	if pool := s.Annotations["metallb.io/address-pool"]; pool != "" {
		out = "any of pool " + pool
	}
	if addrs := s.Annotations["metallb.io/loadBalancerIPs"]; addrs != "" {
		out = addrs
	}
	if s.Annotations["metallb.io/allow-shared-ip"] != "" {
		out += ", to share it"
	}
	return out
}

// startDashboard starts the dashboard, and returns the link that lets in whoever opens it first.
func (d *demo) startDashboard(ctx context.Context) (link string, err error) {
	cmd := exec.Command(plugin(), "dashboard", "--no-open", "--port=0", "--kubeconfig", d.kubeconfig())
	cmd.SysProcAttr = ownGroup() // as with the controller
	p, err := d.launch("dashboard", cmd, here)
	if err != nil {
		return "", fmt.Errorf("start the dashboard: %w", err)
	}
	err = d.until(ctx, "the dashboard to print its link", func(context.Context) (bool, error) {
		b, err := os.ReadFile(p.log)
		link = dashboardLink.FindString(string(b))
		return link != "", err
	})
	return link, err
}

var dashboardLink = regexp.MustCompile(`http://\S+`)

// showNext tells what to try.
func (d *demo) showNext(dashboard string) {
	kubectl := d.kubectl()
	fmt.Fprintf(d.Out, `
The cluster stays up until Ctrl-C. Three things to try:

1. Look at it in a browser. This link works once:

  %s

2. In another terminal, ask why a Service has its address:

  export KUBECONFIG=%s
  %s explain service demo/mail

3. Break something, and ask what is wrong:

  %s delete ipaddresspools %s -n %s
  %[3]s doctor

And the objects:

  %[4]s get services -n %[7]s
  %[4]s get ipaddresspools,bgpadvertisements,configurationstates -n %[6]s
  %[4]s get backends.fairlead.io%[8]s -o yaml
`, dashboard, d.kubeconfig(), plugin(), kubectl, d.lastPool(), configNamespace, serviceNamespace, map[string]string{
		Calico:  ",bgpconfigurations.crd.projectcalico.org",
		Cilium:  "," + strings.Join(ciliumResources(), ","),
		Speaker: ",servicel2statuses.metallb.io,bgpsessions.fairlead.io -n " + configNamespace,
	}[d.Backend])
	if d.provider != nil {
		fmt.Fprintf(d.Out, "  %s get ipaddressclaims,ipaddresses -n %s\n", kubectl, configNamespace)
	}
	d.network.showNext(d.Out)
	if kubectl == missingKubectl {
		fmt.Fprintln(d.Out, "\nThere is no kubectl here: 'make kubectl' builds it as bin/kubectl.")
	}
	fmt.Fprintf(d.Out, "\nThe controller's log is in %s.\n", d.logFile("controller"))
}

// missingKubectl is what kubectl is called where there is none.
const missingKubectl = "bin/kubectl"

// kubectl returns how kubectl is called.
func (d *demo) kubectl() string {
	if path := d.file("kubectl"); path != "" {
		return path
	}
	if _, err := exec.LookPath("kubectl"); err == nil {
		return "kubectl"
	}
	return missingKubectl
}

// lastPool is a pool that nothing else of the demo depends on.
func (d *demo) lastPool() string {
	switch {
	case d.provider != nil:
		return "shared"
	case d.Backend == Speaker:
		return "routed"
	}
	return "office"
}

// plugin returns how this program is called.
func plugin() string {
	path, err := os.Executable()
	if err != nil {
		return "kubectl fairlead"
	}
	return path
}

// until polls done; it fails if a process ends that is to run on, or patience runs out.
func (d *demo) until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	return d.poll(ctx, 100*time.Millisecond, what, done)
}

// poll is until with another interval.
func (d *demo) poll(ctx context.Context, every time.Duration, what string, done func(context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, every, patience, true, func(ctx context.Context) (bool, error) {
		for _, p := range d.processes {
			if err := p.lost(); err != nil {
				return false, err
			}
		}
		return done(ctx)
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// stop ends and removes everything that was started.
func (d *demo) stop() error {
	var failed error
	for _, end := range d.ends {
		end()
	}
	for _, p := range slices.Backward(d.processes) {
		failed = errors.Join(failed, p.end())
	}
	failed = errors.Join(failed, d.network.remove())
	if d.cluster != nil {
		failed = errors.Join(failed, d.cluster.Stop())
	}
	if d.dir != "" {
		failed = errors.Join(failed, os.RemoveAll(d.dir))
	}
	return failed
}
