package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/controller/admission"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/scrape"
)

// Options are the flags of the controller.
type Options struct {
	Kubeconfig             string
	Namespace              string
	Backend                string
	BGPBackend             string
	L2Backend              string
	ManagePeers            bool
	AllowWider             bool
	CalicoAggregation      string
	CalicoSessionSamples   int
	CiliumNamespace        string
	MemberlistSecret       string
	LoadBalancerClasses    []string
	ReportOtherClasses     bool
	CrossNamespaceSharing  bool
	Allocators             []string
	AllocatorKubeconfig    string
	AllocatorNamespace     string
	ClusterName            string
	LeaderElect            bool
	Metrics                scrape.Options
	HealthProbeBindAddress string
	Logging                cli.Logging
	Webhook                string
	WebhookPort            int
	WebhookService         string
}

// The values of --webhook.
const (
	webhookEnabled  = "enabled"
	webhookDisabled = "disabled"
)

// ciliumNamespace is where Cilium is unless a flag says otherwise.
const ciliumNamespace = cilium.DefaultNamespace

// addServiceFlags adds the flags that say which Services are the installation's.
func (o *Options) addServiceFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.LoadBalancerClasses, "lb-class", nil,
		"serve only Services with one of these spec.loadBalancerClass; an empty entry, as in ',internal', stands for Services without one (default: only those)")
}

func (o *Options) addFlags(f *pflag.FlagSet) {
	cli.AddConnectionFlags(f, &o.Kubeconfig, &o.Namespace)
	o.addServiceFlags(f)
	f.StringVar(&o.Backend, "backend", delegate.Auto, "who advertises the addresses: "+strings.Join(delegate.Names, ", "))
	f.StringVar(&o.BGPBackend, "bgp-backend", "", "who serves BGPAdvertisements, if not --backend")
	f.StringVar(&o.L2Backend, "l2-backend", "", "who serves L2Advertisements, if not --backend")
	f.BoolVar(&o.ManagePeers, "manage-peers", true,
		"have the CNI hold the sessions that BGPPeers of metallb.io describe; without such objects its own peers are used")
	f.BoolVar(&o.AllowWider, "allow-wider-advertisement", false,
		"advertise a pool even if the CNI cannot keep its routes from peers or nodes that are not meant to hear them")
	f.StringVar(&o.CalicoAggregation, "calico-aggregation", string(calico.Auto),
		"how addresses become routes of Calico: auto, preserve, disabled, enabled, per-ip")
	f.IntVar(&o.CalicoSessionSamples, "calico-session-samples", 5,
		"how many of Calico's nodes are asked each minute, in turn, how their BGP sessions are; 0: none")
	f.StringVar(&o.CiliumNamespace, "cilium-namespace", ciliumNamespace, "namespace of Cilium's ConfigMap cilium-config")
	f.StringVar(&o.MemberlistSecret, "memberlist-secret", "memberlist",
		"name of the Secret that the speakers have in common; it is made when they are to serve anything; empty: it is not")
	f.BoolVar(&o.ReportOtherClasses, "report-other-classes", false, "tell Services of a class that is not served so, by an event")
	f.BoolVar(&o.CrossNamespaceSharing, "cross-namespace-sharing", true,
		"let Services of different namespaces share an address by an equal metallb.io/allow-shared-ip; if false, only those that name each other by fairlead.io/share-with-namespaces")
	f.StringSliceVar(&o.Allocators, "allocators", nil,
		"who may give out the addresses of pools, besides the built-in allocator (annotation fairlead.io/allocator): cluster-api")
	f.StringVar(&o.AllocatorKubeconfig, "allocator-kubeconfig", "",
		"kubeconfig file of the API server that has the claims of cluster-api, if it is another one; it is read again when it changes")
	f.StringVar(&o.AllocatorNamespace, "allocator-namespace", "", "namespace of the claims of cluster-api (default: --namespace)")
	f.StringVar(&o.ClusterName, "cluster-name", "", "what claims of this cluster are called on an API server that several clusters use; a DNS label")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "act only while holding the Lease fairlead-controller; needed with more than one replica")
	o.Metrics.AddFlags(f)
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", "0", "address:port for /healthz and /readyz; 0 turns them off")
	o.Logging.AddFlags(f)
	f.StringVar(&o.Webhook, "webhook", webhookDisabled, "enabled serves the admission webhook for metallb.io objects; disabled does not")
	f.IntVar(&o.WebhookPort, "webhook-port", 9443, "port of the admission webhook")
	f.StringVar(&o.WebhookService, "webhook-service", admission.DefaultService, "name of the Service that leads to the admission webhook")
}

// complete fills in what depends on the surroundings.
func (o *Options) complete() error {
	if len(o.LoadBalancerClasses) == 0 {
		o.LoadBalancerClasses = []string{""}
	}
	slices.Sort(o.LoadBalancerClasses)
	o.LoadBalancerClasses = slices.Compact(o.LoadBalancerClasses)
	var err error
	o.Namespace, err = cli.Namespace(o.Namespace)
	o.AllocatorNamespace = cmp.Or(o.AllocatorNamespace, o.Namespace)
	return err
}

// validate checks what was given.
func (o *Options) validate() error {
	for _, b := range []struct{ flag, value string }{{"backend", o.Backend}, {"bgp-backend", o.BGPBackend}, {"l2-backend", o.L2Backend}} {
		if !slices.Contains(delegate.Names, b.value) && (b.value != "" || b.flag == "backend") {
			return fmt.Errorf("--%s: %q is not a backend; use one of %s", b.flag, b.value, strings.Join(delegate.Names, ", "))
		}
	}
	if !slices.Contains(calico.Aggregations, calico.Aggregation(o.CalicoAggregation)) {
		return fmt.Errorf("--calico-aggregation: %q is none of %v", o.CalicoAggregation, calico.Aggregations)
	}
	if n := o.CalicoSessionSamples; n < 0 || n > delegate.MostSamples {
		return fmt.Errorf("--calico-session-samples: %d is not from 0 to %d", n, delegate.MostSamples)
	}
	if o.Webhook != webhookEnabled && o.Webhook != webhookDisabled {
		return fmt.Errorf("--webhook: %q is neither %s nor %s", o.Webhook, webhookEnabled, webhookDisabled)
	}
	if err := o.validateAllocators(); err != nil {
		return err
	}
	return o.Metrics.Validate()
}

func (o *Options) validateAllocators() error {
	for _, name := range o.Allocators {
		if name != config.AllocatorClusterAPI {
			return fmt.Errorf("--allocators: %q is no allocator besides the built-in one; use %s", name, config.AllocatorClusterAPI)
		}
	}
	if o.ClusterName != "" {
		if bad := validation.IsDNS1123Label(o.ClusterName); len(bad) > 0 {
			return fmt.Errorf("--cluster-name: %q: %s", o.ClusterName, bad[0])
		}
	}
	switch {
	case len(o.Allocators) == 0 && (o.AllocatorKubeconfig != "" || o.AllocatorNamespace != ""):
		return fmt.Errorf("--allocator-kubeconfig and --allocator-namespace are for --allocators=%s", config.AllocatorClusterAPI)
	case o.AllocatorKubeconfig != "" && o.ClusterName == "":
		return errors.New("--cluster-name is needed with --allocator-kubeconfig: it tells the claims of clusters apart")
	}
	return nil
}

// asked returns who is to serve each kind of advertisement.
func (o *Options) asked() delegate.Asked {
	return delegate.Asked{BGP: cmp.Or(o.BGPBackend, o.Backend), Layer2: cmp.Or(o.L2Backend, o.Backend)}
}
