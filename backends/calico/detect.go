package calico

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
)

// errUnavailable: neither of Calico's API groups is served.
var errUnavailable = fmt.Errorf("%w: neither projectcalico.org/v3 nor crd.projectcalico.org/v1 serves bgpconfigurations",
	backends.ErrNotInstalled)

// ErrMigrating: Calico's objects are being moved from one API group to the other. What is written now may go to the side that
// nobody reads.
var ErrMigrating = errors.New("a migration of Calico's objects between API groups is under way; writing goes on when it is over")

// The two ways to Calico's objects. v3 is served by Calico's API server or by its native CRDs; v1 is the raw storage of
// installations without either. Their schemas are equal.
var (
	groupV3 = v3.SchemeGroupVersion
	groupV1 = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}
)

// migrationGroup has the object that exists while Calico moves its objects (kube-controllers/pkg/apis/migration).
const migrationGroup = "migration.projectcalico.org"

// nodeNamespaces are where calico-node runs: by the operator, and by manifests.
var nodeNamespaces = []string{"calico-system", "kube-system"}

// Detection is what was found out about the Calico of a cluster.
type Detection struct {
	// BGP is set if BIRD is known to run on the nodes.
	BGP bool
	// Facts is all of it in words.
	Facts []backends.Fact

	group         schema.GroupVersion // zero: not installed
	nodeNamespace string
	bird          string // on, off or unknown
	birdSource    string
	version       [3]int          // of Calico; zero if it is not known
	served        map[string]bool // the resources of the group
	filters       bool            // BGPFilters are among them
	migrating     bool
	migrationSaid string // why that is not known
	pools         []v3.IPPool
	controllers   *v3.KubeControllersConfiguration
}

// Available reports whether any of Calico's groups is served.
func (d Detection) Available() bool { return !d.group.Empty() }

// Detect asks the API server what Calico there is. It writes nothing. That there is none is not an error.
func Detect(ctx context.Context, dc discovery.DiscoveryInterface, c dynamic.Interface) (Detection, error) {
	d := Detection{nodeNamespace: nodeNamespaces[len(nodeNamespaces)-1], bird: "unknown", birdSource: "no calico-node DaemonSet was found"}
	if err := d.findGroup(ctx, dc, c); err != nil || !d.Available() {
		d.Facts = d.facts()
		return d, err
	}
	d.readNode(ctx, c)
	d.readVersion(ctx, c)
	d.readIPAM(ctx, c)
	err := d.readMigration(ctx, dc, c)
	d.BGP = d.bird == "on"
	d.Facts = d.facts()
	return d, err
}

// findGroup finds the group to use: v3 if it lists the resource and answers, else v1, which is the same storage.
func (d *Detection) findGroup(ctx context.Context, dc discovery.DiscoveryInterface, c dynamic.Interface) error {
	var failed error
	for _, group := range Groups {
		served, err := resources(dc, group)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if !served[resource] {
			continue
		}
		_, err = c.Resource(group.WithResource(resource)).Get(ctx, defaultName, metav1.GetOptions{})
		switch {
		case apierrors.IsServiceUnavailable(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
			failed = errors.Join(failed, fmt.Errorf("%s: %w", group, err))
			continue
		case err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err): // an Apply tells of the latter
			return fmt.Errorf("read BGPConfiguration %q (%s): %w", defaultName, group, err)
		}
		d.group, d.served, d.filters = group, served, served["bgpfilters"]
		return nil
	}
	return failed
}

// resources returns what is served of a group, by plural name.
func resources(d discovery.DiscoveryInterface, group schema.GroupVersion) (map[string]bool, error) {
	list, err := d.ServerResourcesForGroupVersion(group.String())
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("discover %s: %w", group, err)
	}
	out := map[string]bool{}
	for _, r := range list.APIResources {
		out[r.Name] = true
	}
	return out, nil
}

// decode reads one object into a Go type; false if it is not there or cannot be read, which is as good here.
func decode(ctx context.Context, r dynamic.ResourceInterface, name string, into any) bool {
	u, err := r.Get(ctx, name, metav1.GetOptions{})
	return err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into) == nil
}

// readNode finds out where calico-node runs, and whether BIRD does (node/filesystem/etc/rc.local: not with the networking backends
// none and vxlan).
func (d *Detection) readNode(ctx context.Context, c dynamic.Interface) {
	daemonSets := c.Resource(appsv1.SchemeGroupVersion.WithResource("daemonsets"))
	for _, namespace := range nodeNamespaces {
		var ds appsv1.DaemonSet
		if !decode(ctx, daemonSets.Namespace(namespace), "calico-node", &ds) {
			continue
		}
		d.nodeNamespace, d.bird, d.birdSource = namespace, "on", "DaemonSet "+namespace+"/calico-node"
		for _, container := range ds.Spec.Template.Spec.Containers {
			for _, env := range container.Env {
				if container.Name != "calico-node" || env.Name != "CALICO_NETWORKING_BACKEND" {
					continue
				}
				value := env.Value
				if ref := env.ValueFrom; ref != nil && ref.ConfigMapKeyRef != nil {
					value = d.configValue(ctx, c, namespace, ref.ConfigMapKeyRef.Name, ref.ConfigMapKeyRef.Key)
				}
				if value == "none" || value == "vxlan" {
					d.bird = "off"
				}
			}
		}
		return
	}
	if value := d.configValue(ctx, c, "kube-system", "calico-config", "calico_backend"); value != "" {
		d.bird, d.birdSource = "off", "ConfigMap kube-system/calico-config"
		if value == "bird" {
			d.bird = "on"
		}
	}
}

func (d *Detection) configValue(ctx context.Context, c dynamic.Interface, namespace, name, key string) string {
	u, err := c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace).Get(ctx, name,
		metav1.GetOptions{})
	if err != nil {
		return ""
	}
	value, _, _ := unstructured.NestedString(u.Object, "data", key)
	return value
}

func (d *Detection) readVersion(ctx context.Context, c dynamic.Interface) {
	var info v3.ClusterInformation
	if !decode(ctx, c.Resource(d.group.WithResource("clusterinformations")), defaultName, &info) {
		return
	}
	d.migrating = info.Spec.DatastoreReady != nil && !*info.Spec.DatastoreReady
	numbers, _, _ := strings.Cut(strings.TrimPrefix(info.Spec.CalicoVersion, "v"), "-")
	var v [3]int
	for i, s := range strings.SplitN(numbers, ".", 3) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return
		}
		v[i] = n
	}
	d.version = v
}

// perIP reports whether Calico advertises an entry of a single address by the status of Services, not only by
// spec.loadBalancerIP: from v3.30.7, v3.31.5 and v3.32.0 (confd/pkg/backends/calico/routes.go).
func (d *Detection) perIP() bool {
	for _, since := range [][3]int{{3, 30, 7}, {3, 31, 5}} {
		if d.version[0] == since[0] && d.version[1] == since[1] {
			return d.version[2] >= since[2]
		}
	}
	return slices.Compare(d.version[:], []int{3, 32, 0}) >= 0
}

// neverPerIP reports whether it is known not to.
func (d *Detection) neverPerIP() bool { return d.version != [3]int{} && !d.perIP() }

// readIPAM reads the pools and the settings of Calico's own address allocator.
func (d *Detection) readIPAM(ctx context.Context, c dynamic.Interface) {
	list, err := c.Resource(d.group.WithResource("ippools")).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range list.Items {
		var p v3.IPPool
		if runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p) == nil {
			d.pools = append(d.pools, p)
		}
	}
	var k v3.KubeControllersConfiguration
	if decode(ctx, c.Resource(d.group.WithResource("kubecontrollersconfigurations")), defaultName, &k) {
		d.controllers = &k
	}
}

func (d *Detection) readMigration(ctx context.Context, dc discovery.DiscoveryInterface, c dynamic.Interface) error {
	groups, err := dc.ServerGroups()
	if err != nil {
		return fmt.Errorf("discover API groups: %w", err)
	}
	for _, g := range groups.Groups {
		if g.Name != migrationGroup {
			continue
		}
		r := schema.GroupVersionResource{Group: g.Name, Version: g.PreferredVersion.Version, Resource: "datastoremigrations"}
		list, err := c.Resource(r).List(ctx, metav1.ListOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case apierrors.IsForbidden(err):
			d.migrationSaid = err.Error()
			return nil
		case err != nil:
			return fmt.Errorf("list %s: %w", r.GroupResource(), err)
		}
		for _, m := range list.Items {
			if phase, _, _ := unstructured.NestedString(m.Object, "status", "phase"); phase != "Complete" {
				d.migrating = true
			}
		}
	}
	return nil
}

func (d *Detection) facts() []backends.Fact {
	if !d.Available() {
		return []backends.Fact{{Name: "API", Value: "not served", Source: "discovery"}}
	}
	version, ipam := "unknown", "idle: no IPPool is for load balancers"
	if d.version != [3]int{} {
		version = fmt.Sprintf("v%d.%d.%d", d.version[0], d.version[1], d.version[2])
	}
	if names := d.loadBalancerPools(); len(names) > 0 {
		ipam = fmt.Sprintf("%s, IPPools %s", d.assigns(), strings.Join(names, ", "))
	}
	out := []backends.Fact{
		{Name: "API", Value: d.group.String(), Source: "discovery"},
		{Name: "version", Value: version, Source: "ClusterInformation default"},
		{Name: "bgp", Value: d.bird, Source: d.birdSource},
		{Name: "address allocator", Value: ipam, Source: "IPPools and KubeControllersConfiguration default"},
	}
	if d.migrating {
		out = append(out, backends.Fact{Name: "migration", Value: "under way", Source: "DatastoreMigration or ClusterInformation default"})
	} else if d.migrationSaid != "" {
		out = append(out, backends.Fact{Name: "migration", Value: "unknown", Source: d.migrationSaid})
	}
	return out
}

func (d *Detection) loadBalancerPools() []string {
	var out []string
	for _, p := range d.pools {
		if slices.Contains(p.Spec.AllowedUses, v3.IPPoolAllowedUseLoadBalancer) {
			out = append(out, p.Name)
		}
	}
	return out
}

// assigns returns to which Services Calico's allocator gives addresses: kube-controllers/pkg/config/runconfig.go.
func (d *Detection) assigns() v3.AssignIPs {
	if d.controllers == nil {
		return v3.AllServices
	}
	in := d.controllers.Spec.Controllers
	if running := d.controllers.Status.RunningConfig.Controllers; running != (v3.ControllersConfig{}) {
		in = running
	}
	if in.LoadBalancer == nil {
		return "off"
	}
	if in.LoadBalancer.AssignIPs == "" {
		return v3.AllServices
	}
	return in.LoadBalancer.AssignIPs
}

// claims returns the classes of Services whose addresses Calico's allocator replaces
// (kube-controllers/pkg/controllers/loadbalancer/loadbalancer_controller.go).
func (d *Detection) claims() []string {
	switch assigns := d.assigns(); {
	case len(d.loadBalancerPools()) == 0 || assigns == "off":
		return nil
	case assigns == v3.AllServices:
		return []string{"", "calico"}
	}
	return []string{"calico"}
}

// findings returns what of it the user has to know who wants these prefixes advertised, and which pools have no route that leaves the
// nodes, with the IPPool that keeps them there.
func (d *Detection) findings(want []backends.Announcement) (out []backends.Finding, blocked map[string]string) {
	if d.bird == "off" {
		out = append(out, backends.Finding{
			Type: backends.BackendInactive, Object: configurationSource,
			Message: "has no effect: BIRD does not run on the nodes, as " + d.birdSource +
				" says; set the networking backend to bird, or BGP to Enabled in the operator's Installation",
		})
	}
	if names := d.loadBalancerPools(); len(names) > 0 && d.assigns() == v3.AllServices {
		out = append(out, backends.Finding{
			Type: backends.IPAMConflict, Object: backends.Source{Kind: v3.KindKubeControllersConfiguration, Name: defaultName},
			Field: "spec.controllers.loadBalancer",
			Message: fmt.Sprintf("with IPPool %s for load balancers, Calico's own allocator replaces the addresses of every Service without a class; "+
				"set it to null, or assignIPs to RequestedServicesOnly, or delete the IPPool", names[0]),
		})
	}
	blocked = map[string]string{}
	for _, p := range d.pools {
		cidr, err := netip.ParsePrefix(p.Spec.CIDR)
		if err != nil || !p.Spec.DisableBGPExport {
			continue
		}
		var pools []string
		for _, a := range want {
			if !cidr.Overlaps(a.Prefix) {
				continue
			}
			if !slices.Contains(pools, a.Pool) {
				pools = append(pools, a.Pool)
			}
			if cidr.Bits() <= a.Prefix.Bits() {
				blocked[a.Pool] = p.Name
			}
		}
		if len(pools) > 0 {
			out = append(out, backends.Finding{
				Type: backends.BackendInactive, Object: backends.Source{Kind: v3.KindIPPool, Name: p.Name}, Field: "spec.disableBGPExport",
				Message: fmt.Sprintf("is true, so that no route within %s leaves the nodes, those of pool %q included; set it to false", p.Spec.CIDR,
					pools[0]),
			})
		}
	}
	return out, blocked
}
