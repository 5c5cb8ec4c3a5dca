package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/scrape"
	"github.com/fairlead/fairlead/internal/speaker"
	"github.com/fairlead/fairlead/internal/speaker/membership"
)

// Options are the flags of the speaker.
type Options struct {
	Kubeconfig, Namespace  string
	NodeName               string
	PodName, PodUID        string
	Backend                string
	BGPBackend, L2Backend  string
	BGPListenPort          uint16
	BGPShutdownWait        time.Duration
	BindAddress            string
	BindPort               uint16
	Profile                membership.Profile
	Peers                  []string
	PeerLabels             string
	SecretPath             string
	GratuitousInterval     time.Duration
	SameSubnet, Sticky     bool
	IgnoreExcludeLB        bool
	BGPDrainCordoned       bool
	ServiceBGPStatus       string
	ExcludeInterfacesFile  string
	Metrics                scrape.Options
	HealthProbeBindAddress string
	Logging                cli.Logging
}

// backendNames are the values of --backend and --l2-backend.
var backendNames = []string{speaker.Auto, "speaker", "calico", "cilium", "none"}

// The values of --service-bgp-status.
const (
	statusAll  = "all"
	statusNone = "none"
)

// defaultPort is where speakers listen for each other unless a flag says otherwise, as MetalLB's do.
const defaultPort = 7946

func (o *Options) addFlags(f *pflag.FlagSet) {
	cli.AddConnectionFlags(f, &o.Kubeconfig, &o.Namespace)
	f.StringVar(&o.NodeName, "node-name", "", "name of the Node object of the machine this runs on")
	f.StringVar(&o.PodName, "pod-name", "", "name of the pod this runs in, the owner of its ServiceL2Status objects; empty outside a pod")
	f.StringVar(&o.PodUID, "pod-uid", "", "uid of that pod")
	f.StringVar(&o.Backend, "backend", speaker.Auto,
		"who advertises the addresses: "+strings.Join(backendNames, ", ")+"; with auto, what the controller hands to the speakers is served")
	f.StringVar(&o.L2Backend, "l2-backend", "", "who serves L2Advertisements, if not --backend")
	f.StringVar(&o.BGPBackend, "bgp-backend", "", "who serves BGPAdvertisements, if not --backend")
	f.Uint16Var(&o.BGPListenPort, "bgp-listen-port", 0, "TCP port on which routers may begin a BGP session; 0: only this side does")
	f.DurationVar(&o.BGPShutdownWait, "bgp-shutdown-wait", 5*time.Second,
		"how long routers get to prefer other nodes before routes are withdrawn, when the speaker stops")
	f.BoolVar(&o.BGPDrainCordoned, "bgp-drain-cordoned", true, "while the node is cordoned, have routers prefer other nodes (RFC 8326)")
	f.StringVar(&o.ServiceBGPStatus, "service-bgp-status", statusAll,
		"whether there is a ServiceBGPStatus for each Service and each node that advertises it: all, or none where these are too many objects")
	f.StringVar(&o.BindAddress, "memberlist-bind-address", "",
		"address on which other speakers reach this one; default: all, and the Node's InternalIP is what they are told")
	f.Uint16Var(&o.BindPort, "memberlist-bind-port", defaultPort, "port of that address, UDP and TCP")
	o.Profile = membership.Fast
	f.Var(&o.Profile, "memberlist-profile",
		"how soon a speaker that does not answer counts as gone: fast, in about half a second, or lan, in five to ten")
	f.StringSliceVar(&o.Peers, "memberlist-peers", nil,
		"addresses of other speakers, as host or host:port; default: the pods with --memberlist-labels")
	f.StringVar(&o.PeerLabels, "memberlist-labels", "app.kubernetes.io/name=fairlead,app.kubernetes.io/component=speaker",
		"labels of the speakers' pods")
	f.StringVar(&o.SecretPath, "memberlist-secret-path", "",
		"file with the secret that all speakers have in common; without one, what they say to each other is not encrypted")
	f.DurationVar(&o.GratuitousInterval, "gratuitous-interval", 0,
		"how often every address is announced again unasked; 0: only when it comes to this node, and when speakers find each other again")
	f.BoolVar(&o.SameSubnet, "same-subnet", false, "announce an address only on interfaces whose subnet contains it")
	f.BoolVar(&o.Sticky, "sticky", true,
		"have an address stay with the node that announces it when another one joins that would be chosen before it; a higher preference by preferredNodeSelectors moves it")
	f.BoolVar(&o.IgnoreExcludeLB, "ignore-exclude-lb", false,
		"announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers, too")
	f.StringVar(&o.ExcludeInterfacesFile, "exclude-interfaces-file", "",
		"YAML file with a list announcedInterfacesToExclude of regular expressions for names of interfaces that are never used; default: those of container networks")
	o.Metrics.AddFlags(f)
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", "0", "address:port for /healthz and /readyz; 0 turns them off")
	o.Logging.AddFlags(f)
}

// complete fills in what depends on the surroundings.
func (o *Options) complete() (err error) {
	o.Namespace, err = cli.Namespace(o.Namespace)
	return err
}

// validate checks what was given.
func (o *Options) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.NodeName == "" {
		add("--node-name is needed: the name of this machine's Node object; in a pod, take it from spec.nodeName")
	}
	for _, b := range []struct{ flag, value string }{{"backend", o.Backend}, {"bgp-backend", cmp.Or(o.BGPBackend, o.Backend)},
		{"l2-backend", cmp.Or(o.L2Backend, o.Backend)}} {
		if !slices.Contains(backendNames, b.value) {
			add("--%s: %q is not a backend; use one of %s", b.flag, b.value, strings.Join(backendNames, ", "))
		}
	}
	if o.ServiceBGPStatus != statusAll && o.ServiceBGPStatus != statusNone {
		add("--service-bgp-status: %q is unknown; use %s or %s", o.ServiceBGPStatus, statusAll, statusNone)
	}
	if o.BindAddress != "" {
		if _, err := netip.ParseAddr(o.BindAddress); err != nil {
			add("--memberlist-bind-address: %q is not an IP address", o.BindAddress)
		}
	}
	if _, err := labels.Parse(o.PeerLabels); err != nil {
		add("--memberlist-labels: %q is not a label selector: %w", o.PeerLabels, err)
	}
	if (o.PodName == "") != (o.PodUID == "") {
		add("--pod-name and --pod-uid are needed together")
	}
	if o.BGPShutdownWait < 0 {
		add("--bgp-shutdown-wait: %v is not a time to wait", o.BGPShutdownWait)
	}
	if o.GratuitousInterval < 0 || o.GratuitousInterval > 0 && o.GratuitousInterval < time.Second {
		add("--gratuitous-interval: %v is too short; use 1s or more, or 0 for never", o.GratuitousInterval)
	}
	return errors.Join(append(errs, o.Metrics.Validate())...)
}

// secret reads what the speakers have in common.
func (o *Options) secret() ([]byte, error) {
	if o.SecretPath == "" {
		return nil, nil
	}
	b, err := os.ReadFile(o.SecretPath)
	if err != nil {
		return nil, fmt.Errorf("--memberlist-secret-path: %w", err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("--memberlist-secret-path: %s is empty", o.SecretPath)
	}
	return b, nil
}
