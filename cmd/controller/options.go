package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/internal/admission"
)

// Options are the flags of the controller.
type Options struct {
	Kubeconfig             string
	Namespace              string
	Backend                string
	LoadBalancerClasses    []string
	ReportOtherClasses     bool
	CrossNamespaceSharing  bool
	LeaderElect            bool
	MetricsBindAddress     string
	HealthProbeBindAddress string
	LogLevel               string
	LogFormat              string
	Webhook                string
	WebhookPort            int
	WebhookService         string
}

// The values of --backend.
const (
	backendCalico = "calico"
	backendNone   = "none"
)

// The values of --webhook.
const (
	webhookEnabled  = "enabled"
	webhookDisabled = "disabled"
)

var backendNames = []string{backendCalico, backendNone}

// podNamespace is where a pod finds the namespace it runs in.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (o *Options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; default: $KUBECONFIG, then the pod's service account")
	f.StringVar(&o.Namespace, "namespace", "", "namespace of the configuration objects; default: the pod's own")
	f.StringVar(&o.Backend, "backend", backendNone, "who advertises the addresses: "+strings.Join(backendNames, ", "))
	f.StringSliceVar(&o.LoadBalancerClasses, "lb-class", nil, "serve only Services with one of these spec.loadBalancerClass; an empty entry, as in ',internal', stands for Services without one (default: only those)")
	f.BoolVar(&o.ReportOtherClasses, "report-other-classes", false, "tell Services of a class that is not served so, by an event")
	f.BoolVar(&o.CrossNamespaceSharing, "cross-namespace-sharing", true, "let Services of different namespaces share an address by an equal metallb.io/allow-shared-ip; if false, only those that name each other by fairlead.io/share-with-namespaces")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "act only while holding the Lease fairlead-controller; needed with more than one replica")
	f.StringVar(&o.MetricsBindAddress, "metrics-bind-address", "0", "address:port for Prometheus metrics; 0 turns them off")
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", "0", "address:port for /healthz and /readyz; 0 turns them off")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "json", "json or text")
	f.StringVar(&o.Webhook, "webhook", webhookDisabled, "enabled serves the admission webhook for metallb.io objects; disabled does not")
	f.IntVar(&o.WebhookPort, "webhook-port", 9443, "port of the admission webhook")
	f.StringVar(&o.WebhookService, "webhook-service", admission.DefaultService, "name of the Service that leads to the admission webhook")
}

// complete fills in what depends on the surroundings, and checks the rest.
func (o *Options) complete() error {
	if !slices.Contains(backendNames, o.Backend) {
		return fmt.Errorf("--backend: %q is not a backend; use one of %s", o.Backend, strings.Join(backendNames, ", "))
	}
	if o.Webhook != webhookEnabled && o.Webhook != webhookDisabled {
		return fmt.Errorf("--webhook: %q is neither %s nor %s", o.Webhook, webhookEnabled, webhookDisabled)
	}
	if len(o.LoadBalancerClasses) == 0 {
		o.LoadBalancerClasses = []string{""}
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
