package speaker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/process/keep"
	"github.com/fairlead/fairlead/internal/process/text"
)

const (
	// sessionPeriod is how often at most a BGPSession is written when its state changes, countersPeriod when only its counters do.
	sessionPeriod  = time.Second
	countersPeriod = time.Minute
	// maxError bounds what is shown of an error.
	maxError = 512
)

// bgpStatus keeps a ServiceBGPStatus for each Service that this node advertises, and a BGPSession for each session.
type bgpStatus struct {
	o        BGPOptions
	services *keep.Keeper[types.NamespacedName, v1beta1.ServiceBGPStatusStatus, *v1beta1.ServiceBGPStatus]
	sessions *keep.Keeper[string, v1alpha1.BGPSessionStatus, *v1alpha1.BGPSession] // by name

	handed atomic.Int64 // the version that services knows

	mu      sync.Mutex                                               // held while it is said what is to be kept; protects all the following
	version int64                                                    // of peers; 0: nothing has been said yet
	faults  map[string]string                                        // why a peer cannot be set up, by its name
	peers   map[types.NamespacedName][]string                        // which hear of Services
	news    map[types.NamespacedName]*v1beta1.ServiceBGPStatusStatus // what services may not know of peers; nil: nothing is to be said
	said    map[string]v1alpha1.BGPSessionStatus                     // of sessions
}

func newBGPStatus(o BGPOptions) *bgpStatus {
	return &bgpStatus{
		o: o, peers: map[types.NamespacedName][]string{},
		services: keep.New(keep.Options[types.NamespacedName, v1beta1.ServiceBGPStatusStatus, *v1beta1.ServiceBGPStatus]{
			Client: o.Client, Cache: o.Cache, Log: o.Log, Every: statusPeriod, Pace: o.Pace,
			Mine: func(x *v1beta1.ServiceBGPStatus) bool { return isMine(x, o.Node) },
			Key:  func(x *v1beta1.ServiceBGPStatus) types.NamespacedName { return serviceOf(x) },
			New: func(svc types.NamespacedName) *v1beta1.ServiceBGPStatus {
				return &v1beta1.ServiceBGPStatus{ObjectMeta: statusMeta("bgp-", o.Namespace, o.Node, o.Owner, svc)}
			},
			Status: func(x *v1beta1.ServiceBGPStatus) *v1beta1.ServiceBGPStatusStatus { return &x.Status },
			Created: func(ctx context.Context, svc types.NamespacedName) {
				event(ctx, o.Cache, o.Recorder, svc, corev1.EventTypeNormal, eventNodeAssigned, "announcing from node %q with protocol %q", o.Node,
					protocolBGP)
			},
		}),
		sessions: keep.New(keep.Options[string, v1alpha1.BGPSessionStatus, *v1alpha1.BGPSession]{
			Client: o.Client, Cache: o.Cache, Log: o.Log, Every: sessionPeriod,
			Mine: func(x *v1alpha1.BGPSession) bool { return isMine(x, o.Node) },
			Key:  func(x *v1alpha1.BGPSession) string { return x.Name },
			New: func(name string) *v1alpha1.BGPSession {
				return &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{
					Name: name, Namespace: o.Namespace, Labels: map[string]string{labelNode: backends.LabelValue(o.Node)},
					OwnerReferences: o.Owner.references(),
				}}
			},
			Status: func(x *v1alpha1.BGPSession) *v1alpha1.BGPSessionStatus { return &x.Status },
		}),
	}
}

// set has the objects tell from now on which peers hear Services. services are all on which something has been decided anew; faults say why
// a peer cannot be set up, by its name.
func (w *bgpStatus) set(faults map[string]string, services []types.NamespacedName, peers func(types.NamespacedName) []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = faults
	news := map[types.NamespacedName]*v1beta1.ServiceBGPStatusStatus{}
	for _, id := range services {
		was, said := w.peers[id]
		now := peers(id)
		switch says := len(now) > 0 && !w.o.NoServiceBGPStatus; {
		case says && (!said || !slices.Equal(was, now)):
			w.peers[id] = now
			news[id] = &v1beta1.ServiceBGPStatusStatus{Node: w.o.Node, ServiceName: id.Name, ServiceNamespace: id.Namespace, Peers: now}
		case said && !says:
			delete(w.peers, id)
			news[id] = nil
		}
	}
	if w.version == 0 || len(news) > 0 {
		w.noteLocked(news)
	}
	w.tellLocked(false)
}

// noteLocked adds to what is to be handed over. What was before is left as it is: it may be about to be.
func (w *bgpStatus) noteLocked(news map[types.NamespacedName]*v1beta1.ServiceBGPStatusStatus) {
	if w.handed.Load() != w.version {
		all := maps.Clone(w.news)
		maps.Copy(all, news)
		news = all
	}
	w.news = news
	w.version++
}

// retract has the objects tell that this node advertises nothing any more.
func (w *bgpStatus) retract() {
	w.mu.Lock()
	services := slices.Collect(maps.Keys(w.peers))
	w.mu.Unlock()
	w.set(nil, services, func(types.NamespacedName) []string { return nil })
}

// sessionsChanged has the objects tell how the sessions are now.
func (w *bgpStatus) sessionsChanged(counters bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version > 0 {
		w.tellLocked(counters)
	}
}

// tellLocked hands over what is to be said. Sessions come first: who reads that a Service is advertised can tell whether it really is.
// What there is to say of Services is handed over again only until it has arrived: another call may come before its turn.
func (w *bgpStatus) tellLocked(counters bool) {
	w.said = w.sessionsOf(w.faults, w.said, counters)
	var services func()
	if version, news, handed := w.version, w.news, w.handed.Load(); handed != version {
		services = func() {
			if handed == 0 {
				w.services.Set(whole(news), nil) // what a process before this one has left beside that goes
			} else {
				w.services.Change(news, nil)
			}
			w.handed.Store(version)
		}
	} else {
		w.news = nil
	}
	w.sessions.Set(w.said, services)
}

// whole returns what is said where nothing was said before.
func whole(news map[types.NamespacedName]*v1beta1.ServiceBGPStatusStatus) map[types.NamespacedName]v1beta1.ServiceBGPStatusStatus {
	out := make(map[types.NamespacedName]v1beta1.ServiceBGPStatusStatus, len(news))
	for id, x := range news {
		if x != nil {
			out[id] = *x
		}
	}
	return out
}

// prepare takes over the objects of a process before this one.
func (w *bgpStatus) prepare(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return w.services.Follow(ctx) })
	all.Go(func() error { return w.sessions.Follow(ctx) })
	return all.Wait()
}

// run writes until ctx ends; then it removes what tells that this node advertises. BGPSessions stay, and say that the session is down.
func (w *bgpStatus) run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return w.services.Run(ctx) })
	all.Go(func() error { return w.sessions.Run(ctx) })
	all.Go(func() error {
		counters := time.NewTicker(countersPeriod)
		defer counters.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-counters.C:
				w.sessionsChanged(true)
			}
		}
	})
	if err := all.Wait(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := errors.Join(w.services.Finish(ctx, nil), w.sessions.Finish(ctx, w.sessionsOf(nil, nil, true))); err != nil {
		w.o.Log.Debug("state not retracted", "err", err)
	}
	return nil
}

// sessionsOf returns what there is to say of the sessions, by the names of the objects. Where nothing but the counters differs from what
// was said before, they stay as they are, unless it is asked for counters.
func (w *bgpStatus) sessionsOf(faults map[string]string, said map[string]v1alpha1.BGPSessionStatus,
	counters bool) map[string]v1alpha1.BGPSessionStatus {
	out := map[string]v1alpha1.BGPSessionStatus{}
	watched := w.o.BFD.states()
	for _, s := range w.o.Router.Sessions() {
		since := metav1.NewTime(s.Since.UTC().Truncate(time.Second)) // an API object has no more
		x := v1alpha1.BGPSessionStatus{
			Node: w.o.Node, Peer: s.Peer, Address: s.Interface, State: string(s.State), Since: &since, PrefixesSent: int64(s.Prefixes),
			LastError: s.LastError,
		}
		if s.Address.IsValid() {
			x.Address = s.Address.String()
		}
		if b, is := watched[s.Peer]; is {
			x.BFD = b.State.String()
		}
		out[sessionName(w.o.Node, s.Peer)] = x
	}
	for peer, fault := range faults {
		name := sessionName(w.o.Node, peer)
		x, exists := out[name]
		if !exists {
			x = v1alpha1.BGPSessionStatus{Node: w.o.Node, Peer: peer, State: string(bgp.Idle)}
		}
		x.LastError = fault
		out[name] = x
	}
	for name, x := range out {
		x.LastError = text.Cut(x.LastError, maxError)
		if was, is := said[name]; is && !counters && sameButCounters(was, x) {
			x.PrefixesSent = was.PrefixesSent
		}
		out[name] = x
	}
	return out
}

func sameButCounters(a, b v1alpha1.BGPSessionStatus) bool {
	since := a.Since.Equal(b.Since)
	a.Since, b.Since, a.PrefixesSent, b.PrefixesSent = nil, nil, 0, 0
	return since && a == b
}
