// Package testbed runs the controller's binary against a real API server, for black-box tests.
package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/crds"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// Patience is how long a test waits for something to happen before it fails. It is generous: machines are slow at times.
const Patience = 60 * time.Second

// Bed is an API server with our CRDs, and the controller's binary.
type Bed struct {
	*localcluster.Cluster
	// Client reads and writes directly, without a limit of its own.
	Client client.WithWatch

	dir        string
	kubeconfig string
	controller string

	helpers []*Process // that end with the Bed

	mu    sync.Mutex // protects races
	races []string   // reports of the race detector
}

// Folder returns the path of a folder of the repository.
func Folder(elem ...string) string {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		panic("the repository's root cannot be found: " + err.Error())
	}
	return filepath.Join(append([]string{strings.TrimSpace(string(root))}, elem...)...)
}

// CalicoCRDs returns Calico's CRDs by their plural names.
func CalicoCRDs(t testing.TB, plurals ...string) []*apiextensionsv1.CustomResourceDefinition {
	return readCRDs(t, localcluster.CalicoCRDs, plurals)
}

// CiliumCRDs returns Cilium's CRDs by their plural names.
func CiliumCRDs(t testing.TB, plurals ...string) []*apiextensionsv1.CustomResourceDefinition {
	return readCRDs(t, localcluster.CiliumCRDs, plurals)
}

func readCRDs(t testing.TB, folder string, plurals []string) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	all, err := localcluster.ReadCRDs(folder, Folder("bin"))
	require.NoError(t, err)
	var out []*apiextensionsv1.CustomResourceDefinition
	for _, plural := range plurals {
		for _, crd := range all {
			if crd.Spec.Names.Plural == plural {
				out = append(out, crd)
			}
		}
	}
	require.Len(t, out, len(plurals))
	return out
}

// Scheme knows Kubernetes' own types and ours.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme, v1beta1.AddToScheme, v1beta2.AddToScheme,
	} {
		utilruntime.Must(add(s))
	}
	return s
}

// New starts a Bed; the caller stops it with Close.
func New() (*Bed, error) {
	ctrl.SetLogger(logr.Discard())
	assets, err := localcluster.Assets(Folder("bin"))
	if err != nil {
		return nil, err
	}
	ours, err := crds.All()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fairlead-test-")
	if err != nil {
		return nil, err
	}
	b := &Bed{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if b.controller, err = b.Build("controller"); err != nil {
		return nil, err
	}
	if b.Cluster, err = localcluster.Start(assets, ours...); err != nil {
		return nil, err
	}
	b.Config.QPS = -1
	if b.Client, err = client.NewWithWatch(b.Config, client.Options{Scheme: Scheme()}); err != nil {
		return nil, err
	}
	return b, os.WriteFile(b.kubeconfig, b.Kubeconfig, 0o600)
}

// Build builds a command and returns where its binary is. It is removed with the Bed.
func (b *Bed) Build(command string) (string, error) { return b.build(command, "CGO_ENABLED=0") }

func (b *Bed) build(command, env string, flags ...string) (string, error) {
	path := filepath.Join(b.dir, command)
	build := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), Folder("cmd", command))...)
	build.Env = append(os.Environ(), env)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
	}
	return path, nil
}

// Close stops the API server and removes its files. It is an error, too, if a controller has had a data race; see DetectRaces.
func (b *Bed) Close() error {
	for _, p := range b.helpers {
		p.Kill()
	}
	return errors.Join(b.Stop(), os.RemoveAll(b.dir), b.raced())
}

// Main runs the tests of a package on one Bed, which it stores in *bed.
func Main(m *testing.M, bed **Bed) int {
	return MainWith(m, bed, func(*Bed) error { return nil })
}

// MainWith is Main with something to prepare on the Bed before the tests.
func MainWith(m *testing.M, bed **Bed, prepare func(*Bed) error) int {
	b, err := New()
	if err == nil {
		err = prepare(b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		return 1
	}
	*bed = b
	code := m.Run()
	if err := b.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		code = max(code, 1)
	}
	return code
}

// Kubectl runs the real kubectl and returns what it prints; it fails the test if kubectl fails.
func (b *Bed) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(Folder("bin", "kubectl"), append([]string{"--kubeconfig", b.kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// Namespace makes a namespace with a unique name and deletes its Services when the test ends.
func (b *Bed) Namespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	require.NoError(t, b.Client.Create(t.Context(), ns))
	t.Cleanup(func() {
		ctx := context.Background()
		require.NoError(t, b.Client.DeleteAllOf(ctx, &corev1.Service{}, client.InNamespace(ns.Name)))
	})
	return ns.Name
}

// Eventually waits until check reports success; it fails the test with the last answer when Patience runs out. It works in a
// Cleanup, too.
func Eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.WithoutCancel(t.Context()), 20*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if err == nil || ctx.Err() == nil { // not that the time was over in the midst of it
			last = err
		}
		return err == nil, nil
	})
	require.NoError(t, err, "waiting for %s: %v", what, last)
}

// Process is a running controller.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed

	mu  sync.Mutex // protects log
	log bytes.Buffer
}

// Start starts the controller for the objects in namespace, and stops it when the test ends. Its log is shown if the test fails.
func (b *Bed) Start(t testing.TB, namespace string, args ...string) *Process {
	t.Helper()
	p, err := b.Launch(namespace, args...)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("controller %s:\n%s", strings.Join(args, " "), p.Log())
		}
	})
	return p
}

// Launch is Start outside a test: the caller stops the controller. It advertises nothing unless args choose a backend.
func (b *Bed) Launch(namespace string, args ...string) (*Process, error) {
	args = append([]string{"--kubeconfig", b.kubeconfig, "--namespace", namespace, "--log-format=text", "--backend=none"}, args...)
	return b.launch(b.controller, args...)
}

func (b *Bed) launch(binary string, args ...string) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		b.noteRace(p.Log())
		close(p.done)
	}()
	return p, nil
}

// Cleanup runs "controller cleanup" to its end and returns what it printed.
func (b *Bed) Cleanup(t testing.TB, namespace string, args ...string) string {
	t.Helper()
	args = append([]string{"cleanup", "--kubeconfig", b.kubeconfig, "--namespace", namespace}, args...)
	out, err := exec.CommandContext(t.Context(), b.controller, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Write collects the log.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log returns what the controller has written so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Kill ends the controller with SIGKILL, if it still runs, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal to the controller.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the controller has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the controller with SIGTERM and returns how it ended and how long that took.
func (p *Process) Stop() (time.Duration, error) {
	start := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
	return time.Since(start), p.err
}
