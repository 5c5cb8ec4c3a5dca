package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Options are the flags of the controller.
type Options struct {
	Kubeconfig             string
	Namespace              string
	Backend                string
	LoadBalancerClass      string
	LeaderElect            bool
	MetricsBindAddress     string
	HealthProbeBindAddress string
	LogLevel               string
	LogFormat              string
}

// The values of --backend.
const (
	backendCalico = "calico"
	backendNone   = "none"
)

var backendNames = []string{backendCalico, backendNone}

// podNamespace is where a pod finds the namespace it runs in.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (o *Options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; default: $KUBECONFIG, then the pod's service account")
	f.StringVar(&o.Namespace, "namespace", "", "namespace of the configuration objects; default: the pod's own")
	f.StringVar(&o.Backend, "backend", backendNone, "who advertises the addresses: "+strings.Join(backendNames, ", "))
	f.StringVar(&o.LoadBalancerClass, "lb-class", "", "serve only Services with this spec.loadBalancerClass; default: only those without one")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "act only while holding the Lease fairlead-controller; needed with more than one replica")
	f.StringVar(&o.MetricsBindAddress, "metrics-bind-address", "0", "address:port for Prometheus metrics; 0 turns them off")
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", "0", "address:port for /healthz and /readyz; 0 turns them off")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "json", "json or text")
}

// complete fills in what depends on the surroundings, and checks the rest.
func (o *Options) complete() error {
	if !slices.Contains(backendNames, o.Backend) {
		return fmt.Errorf("--backend: %q is not a backend; use one of %s", o.Backend, strings.Join(backendNames, ", "))
	}
	if o.Namespace == "" {
		b, err := os.ReadFile(podNamespace)
		if err != nil {
			return fmt.Errorf("--namespace is needed outside a pod: name the namespace of the IPAddressPools, such as metallb-system")
		}
		o.Namespace = strings.TrimSpace(string(b))
	}
	return nil
}
