package demo

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// failoverSteps show, in the demo of a CNI that does not announce on the local network, speakers that do, and how soon one takes over; where
// the demo has the rights for that, else it is said what is missing.
func (d *demo) failoverSteps() []step {
	s := newSpeakers(d, clientName)
	missing := lacksNamespaces()
	if _, err := os.Stat(d.Speaker); err != nil {
		missing = append(missing, fmt.Sprintf("the program %s", d.Speaker))
	}
	if len(missing) > 0 {
		d.notShown("how speakers take over from one another", missing)
		return nil
	}
	d.l2Backend = Speaker
	return []step{
		{"make three nodes and a client on a network of their own",
			"Calico does not announce on the local network. Speakers of Fairlead do, if you turn them on.", s.makeNetwork},
		{"apply a pool of that network, and start a speaker on each node", "", func(ctx context.Context) error {
			return errors.Join(s.create(ctx, "failover.yaml"), s.startSpeakers(ctx))
		}},
		{"create Services, and ask from the client who has their addresses", "", func(ctx context.Context) error {
			if err := s.createServices("failover-services.yaml")(ctx); err != nil {
				return err
			}
			return s.showNeighbours(ctx)
		}},
		{"kill the speaker of a node", "The others notice, and one takes over.", s.kill},
		{"stop the speakers, and remove what was made for them", "", s.clear},
	}
}

// clear leaves nothing of speakers and their network.
func (s *speakers) clear(ctx context.Context) error {
	var failed error
	for _, name := range nodeNames {
		if p := s.running[name]; !p.leaving {
			failed = errors.Join(failed, p.end())
		}
		failed = errors.Join(failed, client.IgnoreNotFound(s.client.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})))
	}
	in := metav1.ObjectMeta{Namespace: configNamespace, Name: "link"}
	for _, o := range []client.Object{&v1beta1.L2Advertisement{ObjectMeta: in}, &v1beta1.IPAddressPool{ObjectMeta: in}} {
		failed = errors.Join(failed, s.client.Delete(ctx, o))
	}
	for name := range s.unique() {
		failed = errors.Join(failed, s.client.Delete(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: serviceNamespace, Name: name}}))
		failed = errors.Join(failed, s.client.DeleteAllOf(ctx, &discoveryv1.EndpointSlice{}, client.InNamespace(serviceNamespace),
			client.MatchingLabels{discoveryv1.LabelServiceName: name}))
	}
	failed = errors.Join(failed, s.network.remove())
	s.network = nil
	return failed
}

// unique returns the Services with an address on the link.
func (s *speakers) unique() map[string]bool {
	out := map[string]bool{}
	for _, a := range s.link {
		out[s.service[a]] = true
	}
	return out
}
