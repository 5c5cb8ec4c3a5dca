package delegate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
)

// sessions follow what the CNIs say of their BGP sessions: Cilium's agents in the status of CiliumBGPNodeConfigs, which is watched;
// calico-node in CalicoNodeStatus objects, which are made for a few nodes at a time, in turn, and removed again.
type sessions struct {
	discovery    discovery.DiscoveryInterface
	client       dynamic.Interface
	installation string
	samples      int             // how many nodes of Calico are asked in each round; 0: none
	nodes        func() []string // the nodes of the cluster, sorted
	changed      func(backend string)
	log          *slog.Logger

	mu      sync.Mutex // protects all the following
	running map[string]context.CancelFunc
	reports map[string]map[string]backends.SessionReport // by backend and node
	mute    map[string]string                            // by backend: why no node is asked
	asked   map[string]map[string]bool                   // by backend: the nodes of which it is known what they say, if anything
	listed  map[string]bool                              // the backends of which that is known of every node
}

// MostSamples is how many nodes of Calico may be asked at once: Calico's documentation warns of more than about ten CalicoNodeStatus
// objects.
const MostSamples = 10

// Of Calico: how often some nodes are asked, and how long they may take to answer.
const (
	askEvery    = time.Minute
	askPatience = 25 * time.Second
)

// set has the sessions of these backends followed until ctx ends, and no others. Where there was nothing to follow, it is looked again only
// if the CNI may be another one.
func (s *sessions) set(ctx context.Context, used []string, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, stop := range s.running {
		if !slices.Contains(used, name) {
			stop()
			delete(s.running, name)
			delete(s.reports, name)
			delete(s.asked, name)
			delete(s.listed, name)
		}
	}
	maps.DeleteFunc(s.mute, func(name, _ string) bool { return !slices.Contains(used, name) })
	for _, name := range used {
		follow := map[string]func(context.Context, schema.GroupVersionResource){Cilium: s.followCilium, Calico: s.followCalico}[name]
		if follow == nil || s.running[name] != nil || s.mute[name] != "" && !again {
			continue
		}
		resource, why := s.resource(name)
		if s.mute[name] = why; why != "" {
			continue // it is asked for again when something of the CNI changes
		}
		following, stop := context.WithCancel(ctx)
		s.running[name], s.reports[name], s.asked[name] = stop, map[string]backends.SessionReport{}, map[string]bool{}
		go follow(following, resource)
	}
}

// resource returns where a CNI tells of its sessions; why is set if nowhere.
func (s *sessions) resource(name string) (found schema.GroupVersionResource, why string) {
	groups, resource := cilium.Groups, cilium.SessionsResource
	if name == Calico {
		groups, resource = calico.Groups, calico.SessionsResource
		if s.samples <= 0 {
			return found, "Calico's nodes are not asked (--calico-session-samples=0)"
		}
	}
	if there := served(s.discovery, groups, resource); len(there) > 0 {
		return there[0], ""
	}
	return found, "the API server does not serve " + resource + "." + groups[0].Group
}

// read returns what a CNI says, by node, and why its nodes are not asked.
func (s *sessions) read(backend string) (reports map[string]backends.SessionReport, mute string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.reports[backend]), s.mute[backend]
}

// unknown reports whether a node has not been asked yet since this process began: what was said of its sessions before may still be so.
func (s *sessions) unknown(backend, node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute[backend] == "" && !s.listed[backend] && !s.asked[backend][node]
}

// whyMute returns why no node of a CNI is asked; empty if nodes are.
func (s *sessions) whyMute(backend string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute[backend]
}

// take notes what a node says; says is false if it says nothing any more.
func (s *sessions) take(backend string, r backends.SessionReport, says bool) {
	s.mu.Lock()
	all := s.reports[backend]
	if all == nil {
		s.mu.Unlock()
		return // nobody asks any more
	}
	was, known := all[r.Node]
	first := !s.asked[backend][r.Node]
	s.asked[backend][r.Node] = true
	switch {
	case !says && !known && !first:
		s.mu.Unlock()
		return
	case says && known && slices.Equal(was.Sessions, r.Sessions):
		all[r.Node] = r // it is as it was, later
		s.mu.Unlock()
		return
	case says:
		all[r.Node] = r
	default:
		delete(all, r.Node)
	}
	s.mu.Unlock()
	s.changed(backend)
}

// follow calls see with each object of a resource, and with nil for one that is gone, until ctx ends. It returns when the first ones have
// been seen.
func (s *sessions) follow(ctx context.Context, resource schema.GroupVersionResource, selector string,
	see func(name string, o *unstructured.Unstructured)) {
	informer := dynamicinformer.NewFilteredDynamicInformer(s.client, resource, metav1.NamespaceAll, 0, toolscache.Indexers{},
		func(o *metav1.ListOptions) {
			o.LabelSelector = selector
		}).Informer()
	fails := sync.OnceFunc(func() {
		s.log.Warn("the CNI's sessions cannot be followed; whether they are up is not known", "kind", resource.String())
	})
	_ = informer.SetWatchErrorHandlerWithContext(func(context.Context, *toolscache.Reflector, error) { fails() })
	take := func(o any) {
		if u, ok := o.(*unstructured.Unstructured); ok {
			see(u.GetName(), u)
		}
	}
	handled, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: take, UpdateFunc: func(_, o any) { take(o) },
		DeleteFunc: func(o any) {
			if name, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
				see(name, nil)
			}
		},
	})
	if err != nil {
		return // the informer has been stopped, which only ctx does
	}
	go informer.RunWithContext(ctx)
	toolscache.WaitForCacheSync(ctx.Done(), handled.HasSynced)
}

func (s *sessions) followCilium(ctx context.Context, resource schema.GroupVersionResource) {
	s.follow(ctx, resource, "", func(name string, o *unstructured.Unstructured) {
		if o == nil {
			s.take(Cilium, backends.SessionReport{Node: name}, false)
			return
		}
		r, says := cilium.ReportOf(o)
		s.take(Cilium, r, says)
	})
	s.mu.Lock()
	s.listed[Cilium] = s.reports[Cilium] != nil && ctx.Err() == nil
	s.mu.Unlock()
	s.changed(Cilium)
}

// ownSelector selects the objects of an installation.
func ownSelector(installation string) string {
	return labels.SelectorFromSet(backends.OwnLabels(installation)).String()
}
