package cilium

import (
	"slices"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The kinds that are written.
const (
	kindSecret        = "Secret"
	kindPeerConfig    = v2.BGPPCKindDefinition
	kindClusterConfig = v2.BGPCCKindDefinition
	kindAdvert        = v2.BGPAKindDefinition
	kindPolicy        = v2alpha1.L2AnnouncementKindDefinition
)

// addOrder is the order in which kinds are created and updated: what is referred to comes first, and what says who hears an
// advertisement comes before a session on which it could be heard.
var addOrder = []string{kindSecret, kindPeerConfig, kindAdvert, kindClusterConfig, kindPolicy}

// deleteOrder is the order in which kinds are deleted. Secrets go before peer configs, so that as long as there is a Secret
// there is a peer config: without one, nobody looks for Secrets.
var deleteOrder = []string{kindPolicy, kindAdvert, kindClusterConfig, kindSecret, kindPeerConfig}

// object is what all kinds that are written have in common.
type object interface {
	metav1.Object
	runtime.Object
}

// key identifies an object.
type key struct{ kind, namespace, name string }

// String returns kind/name or kind/namespace/name.
func (k key) String() string {
	if k.namespace == "" {
		return k.kind + "/" + k.name
	}
	return k.kind + "/" + k.namespace + "/" + k.name
}

// quoted is how messages name an object.
func (k key) quoted() string {
	if k.namespace == "" {
		return k.kind + ` "` + k.name + `"`
	}
	return k.kind + ` "` + k.namespace + "/" + k.name + `"`
}

func kindOf(o object) string {
	switch o.(type) {
	case *corev1.Secret:
		return kindSecret
	case *v2.CiliumBGPPeerConfig:
		return kindPeerConfig
	case *v2.CiliumBGPClusterConfig:
		return kindClusterConfig
	case *v2.CiliumBGPAdvertisement:
		return kindAdvert
	case *v2alpha1.CiliumL2AnnouncementPolicy:
		return kindPolicy
	}
	panic("not one of the kinds that are written")
}

func keyOf(o object) key { return key{kindOf(o), o.GetNamespace(), o.GetName()} }

// world is what was found in the cluster, of everybody. All BGP objects are held as v2: for what is used here, v2alpha1 has the
// same fields (pkg/k8s/apis/cilium.io/v2alpha1/bgp_*_types.go), apart from peerConfigRef.group and .kind, which have one value.
type world struct {
	secrets        []*corev1.Secret // ours only
	peerConfigs    []*v2.CiliumBGPPeerConfig
	clusterConfigs []*v2.CiliumBGPClusterConfig
	adverts        []*v2.CiliumBGPAdvertisement
	policies       []*v2alpha1.CiliumL2AnnouncementPolicy
	nodeConfigs    []*v2.CiliumBGPNodeConfig
}

// objects returns everything of the kinds that are written, in addOrder.
func (w *world) objects() []object {
	var out []object
	out = appendObjects(out, w.secrets)
	out = appendObjects(out, w.peerConfigs)
	out = appendObjects(out, w.clusterConfigs)
	out = appendObjects(out, w.adverts)
	return appendObjects(out, w.policies)
}

func appendObjects[T object](out []object, in []T) []object {
	out = slices.Grow(out, len(in))
	for _, o := range in {
		out = append(out, o)
	}
	return out
}

// find returns the object of that name, or the zero value.
func find[T object](in []T, name string) T {
	for _, o := range in {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	return none
}
