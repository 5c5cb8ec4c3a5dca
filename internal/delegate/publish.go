package delegate

import (
	"context"
	"errors"
	"fmt"
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

// publish keeps a BGPSession for each session that a CNI has told of.
func (t *Task) publish(ctx context.Context, s *config.Snapshot, nodes []backends.Node) error {
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
	var have v1alpha1.BGPSessionList
	if err := t.Manager.GetCache().List(ctx, &have, client.InNamespace(t.Namespace), client.HasLabels{LabelBackend}); err != nil {
		return fmt.Errorf("list BGPSessions: %w", err)
	}
	var errs []error
	c := t.Manager.GetClient()
	for i := range have.Items {
		o := &have.Items[i]
		next := want[o.Name]
		delete(want, o.Name)
		switch {
		case next == nil:
			errs = append(errs, client.IgnoreNotFound(c.Delete(ctx, o)))
		case !sameSession(&o.Status, &next.Status):
			o.Status = next.Status
			errs = append(errs, ignoreChanged(c.Status().Update(ctx, o, client.FieldOwner(t.FieldManager))))
		}
	}
	for _, o := range want {
		status := o.Status
		err := c.Create(ctx, o, client.FieldOwner(t.FieldManager))
		if err != nil {
			if !apierrors.IsAlreadyExists(err) { // the cache is to see it yet, and its event tells
				errs = append(errs, err)
			}
			continue
		}
		o.Status = status
		errs = append(errs, ignoreChanged(c.Status().Update(ctx, o, client.FieldOwner(t.FieldManager))))
	}
	return errors.Join(errs...)
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

// ofCNI reports whether a BGPSession tells of a session of the CNI.
func ofCNI(o *v1alpha1.BGPSession) bool { return o.Labels[LabelBackend] != "" }
