package delegate

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/keep"
)

// LabelBackend is on BGPSessions that tell of a session of the CNI, and names its backend. The controller keeps them; those of speakers do
// not have it.
const LabelBackend = "fairlead.io/backend"

// How far apart two writes of one BGPSession are at least. How many prefixes are sent changes with every Service, on every node.
const (
	stateEvery  = 5 * time.Second
	prefixEvery = 30 * time.Second
)

// cniSession is a BGPSession that the controller keeps.
type cniSession struct{ backend, name string }

// published are the BGPSessions that the controller keeps.
type published = keep.Keeper[cniSession, v1alpha1.BGPSessionStatus, *v1alpha1.BGPSession]

func newPublished(c client.Client, from cache.Cache, namespace, fieldManager string, log *slog.Logger) *published {
	return keep.New(keep.Options[cniSession, v1alpha1.BGPSessionStatus, *v1alpha1.BGPSession]{
		Client: client.WithFieldOwner(c, fieldManager), Cache: from, Log: log, Every: stateEvery,
		Counters: onlyPrefixes, CountersEvery: prefixEvery,
		Mine: func(o *v1alpha1.BGPSession) bool { return o.Namespace == namespace && ofCNI(o) },
		Key:  func(o *v1alpha1.BGPSession) cniSession { return cniSession{o.Labels[LabelBackend], o.Name} },
		New: func(x cniSession) *v1alpha1.BGPSession {
			return &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: x.name,
				Labels: map[string]string{LabelBackend: x.backend, backends.LabelManagedBy: backends.ManagedBy},
			}}
		},
		Status: func(o *v1alpha1.BGPSession) *v1alpha1.BGPSessionStatus { return &o.Status },
		Fit:    sameSince,
	})
}

// publish has the BGPSessions tell of each session that a CNI has told of. What the controller before this one said of a node stands until
// the node has been asked.
func (t *Task) publish(ctx context.Context, s *config.Snapshot, nodes []backends.Node, speak map[string]bool) error {
	want, err := t.saidBefore(ctx, nodes, speak)
	if err != nil {
		return err
	}
	for _, backend := range []string{Calico, Cilium} {
		reports, _ := t.sessions.read(backend)
		for i := range nodes {
			for _, x := range reports[nodes[i].Name].Sessions {
				name, status := t.sessionStatus(backend, s, &nodes[i], &x)
				want[name] = status
			}
		}
	}
	t.published.Set(want, nil)
	return nil
}

// saidBefore returns what BGPSessions say of nodes that have not been asked yet.
func (t *Task) saidBefore(
	ctx context.Context, nodes []backends.Node, speak map[string]bool,
) (map[cniSession]v1alpha1.BGPSessionStatus, error) {
	out := map[cniSession]v1alpha1.BGPSessionStatus{}
	there := map[string]bool{}
	for i := range nodes {
		there[nodes[i].Name] = true
	}
	var list v1alpha1.BGPSessionList
	err := t.Manager.GetCache().List(ctx, &list, client.InNamespace(t.Namespace), client.HasLabels{LabelBackend}, client.UnsafeDisableDeepCopy)
	if meta.IsNoMatchError(err) {
		return out, nil // the kind is not served: nothing has been said
	}
	if err != nil {
		return nil, fmt.Errorf("list BGPSessions: %w", err)
	}
	for i := range list.Items {
		o := &list.Items[i]
		backend := o.Labels[LabelBackend]
		if speak[backend] && there[o.Status.Node] && t.sessions.unknown(backend, o.Status.Node) {
			out[cniSession{backend, o.Name}] = o.Status
		}
	}
	return out, nil
}

// sessionStatus returns what is said of a session of a node.
func (t *Task) sessionStatus(
	backend string, s *config.Snapshot, n *backends.Node, x *backends.Session,
) (cniSession, v1alpha1.BGPSessionStatus) {
	router := x.Peer
	if x.Router.IsValid() {
		router = x.Router.String()
	}
	o := v1alpha1.BGPSessionStatus{
		Node: n.Name, Peer: x.Peer, Address: router, State: x.State, PrefixesSent: max(x.Prefixes, 0), LastError: x.Error,
	}
	if name := peerAt(s, n, x.Router); name != "" && t.ManagePeers {
		o.Peer = name
	}
	if since, err := time.Parse(time.RFC3339, x.Since); err == nil {
		o.Since = &metav1.Time{Time: since}
	}
	return cniSession{backend, backend + "-" + backends.Hash(n.Name, router, x.Peer)}, o
}

// peerAt returns the name of the BGPPeer by which a node holds its session with a router; empty if there is none.
func peerAt(s *config.Snapshot, n *backends.Node, router netip.Addr) string {
	for _, p := range s.BGPPeers() {
		if p.Address.IsValid() && p.Address.Unmap() == router.Unmap() && p.SelectsNode(n.Labels) {
			return p.Ref.Name
		}
	}
	return ""
}

// sameSince returns want, with the time of is if they are of one session: the CNI works out anew each time when it came up, and seconds do
// not matter.
func sameSince(is, want v1alpha1.BGPSessionStatus) v1alpha1.BGPSessionStatus {
	if is.Since != nil && want.Since != nil && is.State == want.State && is.Since.Sub(want.Since.Time).Abs() < 10*time.Second {
		want.Since = is.Since
	}
	return want
}

// onlyPrefixes reports whether two differ by nothing but how many prefixes are sent.
func onlyPrefixes(is, want *v1alpha1.BGPSessionStatus) bool {
	x := *is
	x.PrefixesSent = want.PrefixesSent
	return equality.Semantic.DeepEqual(x, *want)
}

// ofCNI reports whether a BGPSession tells of a session of the CNI.
func ofCNI(o *v1alpha1.BGPSession) bool { return o.Labels[LabelBackend] != "" }
