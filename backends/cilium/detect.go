package cilium

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
)

// ErrUnavailable: none of the objects that could be written is served.
var ErrUnavailable = fmt.Errorf("%w: cilium.io serves neither ciliumbgpadvertisements nor ciliuml2announcementpolicies",
	backends.ErrNotInstalled)

// DefaultNamespace is where Cilium's ConfigMap is unless an installation says otherwise.
const DefaultNamespace = "kube-system"

// ConfigMap is the ConfigMap with Cilium's settings; the keys are those of install/kubernetes/cilium/templates/cilium-configmap.yaml.
const ConfigMap = "cilium-config"

const (
	keyBGP              = "enable-bgp-control-plane"
	keyL2               = "enable-l2-announcements"
	keyLBIPAM           = "enable-lb-ipam"
	keyDefaultIPAM      = "default-lb-service-ipam"
	keyNodeIPAM         = "enable-node-ipam"
	keySecrets          = "bgp-secrets-namespace"
	keyProxyReplacement = "kube-proxy-replacement"
)

// Groups are the versions of cilium.io, the preferred one first.
var Groups = []schema.GroupVersion{v2.SchemeGroupVersion, v2alpha1.SchemeGroupVersion}

// Watched are the resources that others write and that decide what Cilium makes of ours.
var Watched = []string{v2.BGPAPluralName, v2.BGPPCPluralName, v2.BGPCCPluralName, v2alpha1.L2AnnouncementPluralName, v2.PoolPluralName}

// Detection is what was found out about the Cilium of a cluster. The ConfigMap is what Cilium's processes read when they start: one
// that was changed since is not what they do.
type Detection struct {
	// BGP is set if the objects of the BGP control plane are served and it is switched on; L2 likewise.
	BGP, L2 bool
	// Facts is all of it in words.
	Facts []backends.Fact

	served    map[string]schema.GroupVersionResource // by kind
	config    map[string]string                      // nil if there is no ConfigMap
	source    string                                 // what config was read from
	poolNames []string                               // some of the CiliumLoadBalancerIPPools
}

// Available reports whether any object that could be written is served.
func (d Detection) Available() bool { return d.serves(kindAdvert) || d.serves(kindPolicy) }

// APIVersion returns the group and version of the objects that are written: of those for BGP, if they are served.
func (d Detection) APIVersion() string {
	for _, kind := range []string{kindAdvert, kindPolicy} {
		if d.serves(kind) {
			return d.served[kind].GroupVersion().String()
		}
	}
	return ""
}

func (d Detection) serves(kind string) bool { _, ok := d.served[kind]; return ok }

// Detect asks the API server what Cilium there is. It writes nothing. That there is none is not an error.
func Detect(ctx context.Context, dc discovery.DiscoveryInterface, c dynamic.Interface, namespace string) (Detection, error) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	d := Detection{served: map[string]schema.GroupVersionResource{}, source: "ConfigMap " + namespace + "/" + ConfigMap}
	for _, gv := range Groups {
		list, err := dc.ServerResourcesForGroupVersion(gv.String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return d, fmt.Errorf("discover %s: %w", gv, err)
		}
		for _, r := range list.APIResources {
			if !d.serves(r.Kind) && !strings.Contains(r.Name, "/") {
				d.served[r.Kind] = gv.WithResource(r.Name)
			}
		}
	}
	if d.Available() {
		if err := d.read(ctx, c, namespace); err != nil {
			return d, err
		}
	}
	d.BGP = d.serves(kindAdvert) && d.on(keyBGP, false)
	d.L2 = d.serves(kindPolicy) && d.on(keyL2, false)
	d.Facts = d.facts()
	return d, nil
}

func (d *Detection) read(ctx context.Context, c dynamic.Interface, namespace string) error {
	u, err := c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace).Get(ctx, ConfigMap,
		metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read %s: %w", d.source, err)
	}
	if err == nil {
		if d.config, _, err = unstructured.NestedStringMap(u.Object, "data"); err != nil {
			return fmt.Errorf("read %s: %w", d.source, err)
		}
		if d.config == nil {
			d.config = map[string]string{}
		}
	}
	if pools, ok := d.served[v2.PoolKindDefinition]; ok {
		const some = 5
		list, err := c.Resource(pools).List(ctx, metav1.ListOptions{Limit: some})
		if err != nil {
			return fmt.Errorf("list %s: %w", pools.Resource, err)
		}
		for _, p := range list.Items {
			d.poolNames = append(d.poolNames, p.GetName())
		}
	}
	return nil
}

// on reports whether a switch is on.
func (d Detection) on(key string, absent bool) bool {
	v, err := strconv.ParseBool(d.config[key])
	return v || err != nil && absent
}

// defaultIPAM returns who gives addresses to Services without a class: lbipam, nodeipam or none. Any unknown value acts as none.
func (d Detection) defaultIPAM() string {
	switch v, set := d.config[keyDefaultIPAM]; {
	case !set:
		return "lbipam"
	case v == "lbipam", v == "nodeipam":
		return v
	}
	return "none"
}

func (d Detection) facts() []backends.Fact {
	const discovered = "discovery"
	var out []backends.Fact
	for _, k := range []struct{ name, kind string }{{"bgp API", kindAdvert}, {"l2 API", kindPolicy}} {
		value := "not served"
		if d.serves(k.kind) {
			value = d.served[k.kind].GroupVersion().String()
		}
		out = append(out, backends.Fact{Name: k.name, Value: value, Source: discovered})
	}
	if !d.Available() {
		return out
	}
	if d.config == nil {
		return append(out, backends.Fact{Name: "configuration", Value: "not found", Source: d.source})
	}
	onOff := func(key string, absent bool) string {
		if d.on(key, absent) {
			return "on"
		}
		return "off"
	}
	ipam := onOff(keyLBIPAM, true)
	if ipam == "on" && len(d.poolNames) == 0 {
		ipam = "on, but idle without a CiliumLoadBalancerIPPool"
	}
	for _, f := range []struct{ name, value string }{
		{"bgp", onOff(keyBGP, false)}, {"l2", onOff(keyL2, false)}, {"lb-ipam", ipam}, {"lb-ipam for Services without a class", d.defaultIPAM()},
		{"node-ipam", onOff(keyNodeIPAM, false)}, {"namespace of BGP passwords", d.config[keySecrets]},
		{"kube-proxy replacement", d.config[keyProxyReplacement]},
	} {
		if f.value == "" {
			f.value = "not set"
		}
		out = append(out, backends.Fact{Name: f.name, Value: f.value, Source: d.source})
	}
	return out
}

// findings returns what of it the user has to know who wants advertisements by BGP or on layer 2.
func (d Detection) findings(bgp, l2 bool) []backends.Finding {
	if d.config == nil {
		return nil
	}
	config := backends.Source{Kind: "ConfigMap", Name: ConfigMap}
	_, config.Namespace, _ = strings.Cut(strings.TrimSuffix(d.source, "/"+ConfigMap), " ")
	var out []backends.Finding
	inactive := func(field, message string) {
		out = append(out, backends.Finding{Type: backends.BackendInactive, Object: config, Field: "data." + field, Message: message})
	}
	if bgp && !d.on(keyBGP, false) {
		inactive(keyBGP, "is not true: Cilium advertises nothing by BGP; set bgpControlPlane.enabled=true in Cilium's Helm values")
	}
	if l2 && !d.on(keyL2, false) {
		inactive(keyL2, "is not true: Cilium announces nothing on layer 2; set l2announcements.enabled=true in Cilium's Helm values")
	}
	if v := d.config[keyProxyReplacement]; l2 && (v == "false" || v == "disabled") {
		inactive(keyProxyReplacement,
			fmt.Sprintf("is %q: layer 2 announcements need kube-proxy replacement; set kubeProxyReplacement=true in Cilium's Helm values", v))
	}
	if f, ok := d.conflict(config); ok {
		out = append(out, f)
	}
	return out
}

// claims returns the classes of Services whose addresses Cilium's own allocators replace.
func (d Detection) claims() []string {
	switch awake := d.on(keyLBIPAM, true) && len(d.poolNames) > 0; {
	case awake && d.defaultIPAM() == "lbipam":
		return []string{"", classBGP, classL2}
	case awake && d.defaultIPAM() == "nodeipam" && d.on(keyNodeIPAM, false):
		return []string{"", classBGP, classL2}
	case awake:
		return []string{classBGP, classL2}
	case d.defaultIPAM() == "nodeipam" && d.on(keyNodeIPAM, false):
		return []string{""}
	}
	return nil
}

// conflict tells whether Cilium's own allocators overwrite the addresses of Services. LB-IPAM sleeps until the first
// CiliumLoadBalancerIPPool of any kind exists, even a disabled one, and then strips what it has not given itself
// (operator/pkg/lbipam/lbipam.go); node-IPAM writes the addresses of nodes (operator/pkg/nodeipam/nodesvclb.go).
func (d Detection) conflict(config backends.Source) (backends.Finding, bool) {
	f := backends.Finding{Type: backends.IPAMConflict, Object: config}
	switch awake := d.on(keyLBIPAM, true) && len(d.poolNames) > 0; {
	case d.defaultIPAM() == "nodeipam" && d.on(keyNodeIPAM, false):
		f.Field = "data." + keyDefaultIPAM
		f.Message = "is nodeipam: Cilium gives every Service without a class the addresses of nodes, in place of those from the pools; " +
			"set defaultLBServiceIPAM=none in Cilium's Helm values"
	case awake && d.defaultIPAM() == "lbipam":
		f.Field = "data." + keyLBIPAM
		f.Message = fmt.Sprintf("is not false, and there is CiliumLoadBalancerIPPool %s: Cilium takes the addresses of all Services away; "+
			"set enableLBIPAM=false in Cilium's Helm values, or delete the pool", few(d.poolNames))
	case awake:
		f.Field = "data." + keyLBIPAM
		f.Message = fmt.Sprintf("is not false, and there is CiliumLoadBalancerIPPool %s: Cilium takes the addresses of Services of the classes %s and %s away; "+
			"leave the class out, set enableLBIPAM=false in Cilium's Helm values, or delete the pool", few(d.poolNames), classBGP, classL2)
	default:
		return f, false
	}
	return f, true
}
