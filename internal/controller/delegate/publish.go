package delegate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// LabelBackend is on BGPSessions that tell of a session of the CNI, and names its backend. The controller keeps them; those of speakers do
// not have it.
const LabelBackend = "fairlead.io/backend"

// How far apart two writes of one BGPSession are at least. How many prefixes are sent changes with every Service, on every node.
const (
	stateEvery  = 5 * time.Second
	prefixEvery = 30 * time.Second
)

// published are the BGPSessions that the controller keeps. It is not safe for concurrent use.
type published struct {
	read         client.Reader // a cache
	write        client.Client
	namespace    string
	fieldManager string
	wrote        map[string]time.Time // when each was written, by name, as far as it matters yet
}

// publish keeps a BGPSession for each session that a CNI has told of. It returns after which time there is more to write, 0 for not before there
// is news.
func (t *Task) publish(ctx context.Context, s *config.Snapshot, nodes []backends.Node) (again time.Duration, err error) {
	want := map[string]*v1alpha1.BGPSession{}
	for _, backend := range []string{Calico, Cilium} {
		reports, _ := t.sessions.read(backend)
		for i := range nodes {
			for _, x := range reports[nodes[i].Name].Sessions {
				o := t.sessionObject(backend, s, &nodes[i], &x)
				want[o.Name] = o
			}
		}
	}
	return t.published.keep(ctx, want, time.Now())
}

// keep makes the objects be those that are wanted, by name; it takes want over.
func (p *published) keep(ctx context.Context, want map[string]*v1alpha1.BGPSession, now time.Time) (again time.Duration, err error) {
	maps.DeleteFunc(p.wrote, func(_ string, at time.Time) bool { return now.Sub(at) >= prefixEvery })
	var have v1alpha1.BGPSessionList
	if err := p.read.List(ctx, &have, client.InNamespace(p.namespace), client.HasLabels{LabelBackend}); err != nil {
		return 0, fmt.Errorf("list BGPSessions: %w", err)
	}
	var errs []error
	do := func(name string, every time.Duration, write func() error) {
		if at, lately := p.wrote[name]; lately && now.Sub(at) < every {
			again = sooner(again, at.Add(every).Sub(now))
			return
		}
		err := write()
		if err == nil {
			p.wrote[name] = now
		}
		errs = append(errs, err)
	}
	for i := range have.Items {
		o := &have.Items[i]
		next := want[o.Name]
		delete(want, o.Name)
		switch {
		case next == nil:
			do(o.Name, stateEvery, func() error { return client.IgnoreNotFound(p.write.Delete(ctx, o)) })
		case !sameSession(&o.Status, &next.Status):
			every := stateEvery
			if onlyPrefixes(&o.Status, &next.Status) {
				every = prefixEvery
			}
			o.Status = next.Status
			do(o.Name, every, func() error { return ignoreChanged(p.write.Status().Update(ctx, o, client.FieldOwner(p.fieldManager))) })
		}
	}
	for _, o := range want {
		do(o.Name, stateEvery, func() error { return p.create(ctx, o) })
	}
	return again, errors.Join(errs...)
}

func (p *published) create(ctx context.Context, o *v1alpha1.BGPSession) error {
	status := o.Status
	if err := p.write.Create(ctx, o, client.FieldOwner(p.fieldManager)); err != nil {
		return client.IgnoreAlreadyExists(err) // the cache is to see it yet, and its event tells
	}
	o.Status = status
	return ignoreChanged(p.write.Status().Update(ctx, o, client.FieldOwner(p.fieldManager)))
}

// ignoreChanged leaves out that an object has changed or gone, of which an event tells.
func ignoreChanged(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sessionObject returns the BGPSession of a session of a node.
func (t *Task) sessionObject(backend string, s *config.Snapshot, n *backends.Node, x *backends.Session) *v1alpha1.BGPSession {
	router := x.Peer
	if x.Router.IsValid() {
		router = x.Router.String()
	}
	o := &v1alpha1.BGPSession{ObjectMeta: metav1.ObjectMeta{
		Namespace: t.Namespace, Name: backend + "-" + backends.Hash(n.Name, router, x.Peer),
		Labels: map[string]string{LabelBackend: backend, backends.LabelManagedBy: backends.ManagedBy},
	}}
	o.Status = v1alpha1.BGPSessionStatus{Node: n.Name, Peer: x.Peer, Address: router, State: x.State, PrefixesSent: max(x.Prefixes, 0), LastError: x.Error}
	if name := peerAt(s, n, x.Router); name != "" && t.ManagePeers {
		o.Status.Peer = name
	}
	if since, err := time.Parse(time.RFC3339, x.Since); err == nil {
		o.Status.Since = &metav1.Time{Time: since}
	}
	return o
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

// sameSession reports whether there is nothing to write. The CNI works out anew each time when a session came up: seconds do not matter.
func sameSession(a, b *v1alpha1.BGPSessionStatus) bool {
	x, y := *a, *b
	if x.Since != nil && y.Since != nil && x.State == y.State && x.Since.Sub(y.Since.Time).Abs() < 10*time.Second {
		x.Since = y.Since
	}
	return x == y
}

// onlyPrefixes reports whether two differ by nothing but how many prefixes are sent.
func onlyPrefixes(a, b *v1alpha1.BGPSessionStatus) bool {
	x := *a
	x.PrefixesSent = b.PrefixesSent
	return sameSession(&x, b)
}

// ofCNI reports whether a BGPSession tells of a session of the CNI.
func ofCNI(o *v1alpha1.BGPSession) bool { return o.Labels[LabelBackend] != "" }
