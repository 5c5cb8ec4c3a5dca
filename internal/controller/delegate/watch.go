package delegate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
)

// watched are the kinds, by backend, that others write and that decide what the CNI makes of ours.
var watched = map[string]struct {
	groups    []schema.GroupVersion
	resources []string
}{
	Calico: {calico.Groups, calico.Watched},
	Cilium: {cilium.Groups, cilium.Watched},
}

var (
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	crds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// watch is what is followed: all objects of a kind, those of a namespace, or one of them.
type watch struct {
	schema.GroupVersionResource
	namespace, name string
}

// watches follow what decides over what the CNIs do that are asked to advertise: their kinds, their settings, the CRDs themselves, and the
// Secrets of BGPPeers. What cannot be watched is read again every lookAgain.
type watches struct {
	client    metadata.Interface
	discovery discovery.DiscoveryInterface
	changed   func(backend string) // must not block; the CNI is other than before
	passwords func()               // must not block; a Secret is other than before
	log       *slog.Logger
	// secretsIn is the namespace of the BGPPeers' Secrets, empty if they are not needed; ciliumConfig is where Cilium's ConfigMap is.
	secretsIn, ciliumConfig string
	auto                    bool // a CNI that is not there yet may be the one to advertise

	mu      sync.Mutex // protects running
	running map[watch]context.CancelFunc
}

// set has what concerns these backends followed that the API server serves, until ctx ends, and nothing else.
func (w *watches) set(ctx context.Context, backends []string) {
	wanted := map[watch]func(){}
	for _, name := range backends {
		changed := func() { w.changed(name) }
		for _, resource := range served(w.discovery, watched[name].groups, watched[name].resources...) { // else it is asked for again
			wanted[watch{GroupVersionResource: resource}] = changed
		}
		if name == Cilium {
			wanted[watch{configMaps, w.ciliumConfig, cilium.ConfigMap}] = changed
		}
		if _, isCNI := watched[name]; isCNI && w.secretsIn != "" {
			wanted[watch{secrets, w.secretsIn, ""}] = w.passwords
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for x, stop := range w.running {
		if _, still := wanted[x]; !still && x.GroupVersionResource != crds {
			stop()
			delete(w.running, x)
		}
	}
	for x, changed := range wanted {
		if _, runs := w.running[x]; !runs {
			following, stop := context.WithCancel(ctx)
			w.running[x] = stop
			w.follow(following, x, func(was, is *metav1.PartialObjectMetadata) {
				if was == nil || is == nil || !sameSpec(was, is) {
					changed()
				}
			})
		}
	}
	kinds := watch{GroupVersionResource: crds}
	if w.running[kinds] == nil && (w.auto || slices.ContainsFunc(backends,
		func(name string) bool { _, isCNI := watched[name]; return isCNI })) {
		following, stop := context.WithCancel(ctx)
		w.running[kinds] = stop
		w.follow(following, kinds, func(was, is *metav1.PartialObjectMetadata) { w.kind(following, was, is) })
	}
}

// servedAfter are how long it may take until a kind is served whose CRD has come; nobody tells.
var servedAfter = []time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second}

// kind looks at the CNI whose CRD has come, changed or gone.
func (w *watches) kind(ctx context.Context, was, is *metav1.PartialObjectMetadata) {
	if is == nil {
		is = was
	}
	_, group, _ := strings.Cut(is.Name, ".")
	for name, x := range watched {
		if !slices.ContainsFunc(x.groups, func(g schema.GroupVersion) bool { return g.Group == group }) {
			continue
		}
		go func() {
			for _, after := range servedAfter {
				select {
				case <-ctx.Done():
					return
				case <-time.After(after):
					w.changed(name)
				}
			}
		}()
	}
}

// follow calls event for what happens to objects after it has begun: as one was, nil if it is new, and as it is, nil if it is gone.
func (w *watches) follow(ctx context.Context, x watch, event func(was, is *metav1.PartialObjectMetadata)) {
	one := func(o *metav1.ListOptions) {
		if x.name != "" {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", x.name).String()
		}
	}
	informer := metadatainformer.NewFilteredMetadataInformer(w.client, x.GroupVersionResource, x.namespace, 0, toolscache.Indexers{},
		one).Informer()
	fails := sync.OnceFunc(func() {
		w.log.Warn("what the CNI depends on cannot be watched; what others change is noticed late", "kind", x.String(), "after", lookAgain)
	})
	_ = informer.SetWatchErrorHandlerWithContext(func(context.Context, *toolscache.Reflector, error) { fails() })
	_ = informer.SetTransform(func(o any) (any, error) {
		if x, ok := o.(*metav1.PartialObjectMetadata); ok {
			x.ManagedFields = nil
		}
		return o, nil
	})
	known := func(o any) *metav1.PartialObjectMetadata {
		if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = last.Obj
		}
		out, _ := o.(*metav1.PartialObjectMetadata)
		return out
	}
	_, _ = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if is := known(o); !initial && is != nil {
				event(nil, is)
			}
		},
		UpdateFunc: func(was, is any) {
			if a, b := known(was), known(is); a != nil && b != nil && a.ResourceVersion != b.ResourceVersion {
				event(a, b)
			}
		},
		DeleteFunc: func(o any) {
			if was := known(o); was != nil {
				event(was, nil)
			}
		},
	})
	go informer.RunWithContext(ctx)
}

// sameSpec reports whether nothing but the status of an object differs. Not everything counts generations: ConfigMaps, Secrets, and some
// aggregated API servers do not.
func sameSpec(a, b *metav1.PartialObjectMetadata) bool {
	if b.Generation == 0 && a.ResourceVersion != b.ResourceVersion {
		return false
	}
	return a.UID == b.UID && a.Generation == b.Generation && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}
