// Package localcluster starts a real etcd and kube-apiserver on loopback, with free ports and a temporary folder. There is no
// kubelet and no controller manager: what such a cluster holds is what its user creates.
package localcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// assetsEnv names the folder of the binaries, as for every tool built on controller-runtime's envtest.
const assetsEnv = "KUBEBUILDER_ASSETS"

// startTimeout bounds the start of each process; both together usually take 5 s.
const startTimeout = 2 * time.Minute

// serviceCIDRs make the cluster dual stack, with room for a million Services.
const serviceCIDRs = "10.96.0.0/12,fd00:96::/108"

// Assets returns the folder that holds kube-apiserver and etcd: $KUBEBUILDER_ASSETS if set, else the first of folders that does.
func Assets(folders ...string) (string, error) {
	if dir := os.Getenv(assetsEnv); dir != "" {
		return dir, check(dir)
	}
	for _, dir := range folders {
		if check(dir) == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("kube-apiserver and etcd are in none of %s; run 'make tools', or set %s to a folder that holds them",
		strings.Join(folders, ", "), assetsEnv)
}

func check(dir string) error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%s: %w", assetsEnv, err)
		}
	}
	return nil
}

// Cluster is a running API server.
type Cluster struct {
	// Config connects as a member of system:masters.
	Config *rest.Config
	// Kubeconfig is the same as a file's content.
	Kubeconfig []byte

	env   *envtest.Environment
	certs string // folder of the API server's certificates; its own, so that they outlive a restart
}

// Start starts a cluster with the binaries in assets and returns when its API answers and serves crds.
func Start(assets string, crds ...*apiextensionsv1.CustomResourceDefinition) (*Cluster, error) {
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
		CRDs:                     crds,
	}
	certs, err := os.MkdirTemp("", "fairlead-apiserver-")
	if err != nil {
		return nil, err
	}
	server := env.ControlPlane.GetAPIServer()
	server.CertDir = certs
	// Without a grace period for watches, kube-apiserver waits a minute for them to end by themselves before it stops.
	server.Configure().Set("service-cluster-ip-range", serviceCIDRs).Set("shutdown-watch-termination-grace-period", "2s")
	c := &Cluster{env: env, certs: certs}
	if c.Config, err = env.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start kube-apiserver and etcd from %s: %w", assets, err), c.Stop())
	}
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, c.Config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create the admin user: %w", err), c.Stop())
	}
	if c.Kubeconfig, err = admin.KubeConfig(); err != nil {
		return nil, errors.Join(fmt.Errorf("write the admin's kubeconfig: %w", err), c.Stop())
	}
	return c, nil
}

// StopAPIServer ends kube-apiserver by SIGTERM, in good order, or by SIGKILL, as a crash would; etcd goes on. It returns when the
// process has ended.
func (c *Cluster) StopAPIServer(how syscall.Signal) error {
	server := c.env.ControlPlane.GetAPIServer()
	if how == syscall.SIGKILL {
		if err := c.killAPIServer(); err != nil {
			return fmt.Errorf("kill kube-apiserver: %w", err)
		}
	}
	if err := server.Stop(); err != nil {
		return fmt.Errorf("stop kube-apiserver: %w", err)
	}
	return nil
}

// StartAPIServer starts kube-apiserver again after StopAPIServer, on the same port, with the same certificates and the same etcd.
// It returns when the API answers.
func (c *Cluster) StartAPIServer() error {
	if err := c.env.ControlPlane.GetAPIServer().Start(); err != nil {
		return fmt.Errorf("start kube-apiserver again: %w", err)
	}
	return nil
}

// killAPIServer finds the process by its folder of certificates, which is on its command line and nobody else's: envtest does not
// tell its id. It works on Linux.
func (c *Cluster) killAPIServer() error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(line), "\x00"), "--cert-dir="+c.certs) {
			continue // it has ended, or is another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		server, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		return server.Kill()
	}
	return errors.New("there is no such process")
}

// EtcdURL returns where etcd answers, over plain HTTP.
func (c *Cluster) EtcdURL() string { return c.env.ControlPlane.Etcd.URL.String() }

// InstallCRDs installs crds and returns when they are served.
func (c *Cluster) InstallCRDs(crds ...*apiextensionsv1.CustomResourceDefinition) error {
	_, err := envtest.InstallCRDs(c.Config, envtest.CRDInstallOptions{CRDs: crds})
	return err
}

// Stop stops both processes and removes their folders.
func (c *Cluster) Stop() error { return errors.Join(c.env.Stop(), os.RemoveAll(c.certs)) }

// The folders with the CustomResourceDefinitions of Calico (group crd.projectcalico.org), of Cilium, and of Cluster API's IPAM contract with
// its in-cluster provider, as 'make tools' names them.
const (
	CalicoCRDs = "calico-crds"
	CiliumCRDs = "cilium-crds"
	IPAMCRDs   = "ipam-crds"
)

// IPAMProvider is the binary of Cluster API's in-cluster IPAM provider, as 'make tools' names it.
const IPAMProvider = "ipam-provider"

// IPAMArgs returns the arguments with which IPAMProvider serves the cluster of a kubeconfig file, and listens on no port that is known.
func IPAMArgs(kubeconfig string) []string {
	return []string{"--kubeconfig", kubeconfig, "--webhook-port", "0", "--health-probe-bind-address", "127.0.0.1:0", "--diagnostics-address", "0"}
}

// ReadCRDs returns the CustomResourceDefinitions in the folder of that name, from the first of folders that holds it.
func ReadCRDs(name string, folders ...string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	var files []string
	for _, dir := range folders {
		if found, err := filepath.Glob(filepath.Join(dir, name, "*.yaml")); err == nil && len(files) == 0 {
			files = found
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the folder %s is in none of %s; run 'make tools'", name, strings.Join(folders, ", "))
	}
	slices.Sort(files)
	out := make([]*apiextensionsv1.CustomResourceDefinition, len(files))
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		out[i] = &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(b, out[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return out, nil
}
