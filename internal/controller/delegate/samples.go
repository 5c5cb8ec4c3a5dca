package delegate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
)

// followCalico asks some nodes in each round, those first that have not been asked for longest.
func (s *sessions) followCalico(ctx context.Context, resource schema.GroupVersionResource) {
	s.clear(ctx, resource) // of an earlier process
	answers := make(chan backends.SessionReport)
	s.follow(ctx, resource, ownSelector(s.installation), func(_ string, o *unstructured.Unstructured) {
		if o == nil {
			return // the question is answered; the answer counts until there is another
		}
		if r, says := calico.ReportOf(o); says {
			select {
			case answers <- r:
			case <-ctx.Done():
			}
		}
	})
	asked := map[string]time.Time{}
	round := time.NewTicker(askEvery)
	defer round.Stop()
	for ctx.Err() == nil {
		s.forgetGone(asked)
		if err := s.round(ctx, resource, s.next(asked), answers); err != nil && ctx.Err() == nil {
			s.log.Warn("calico's nodes could not be asked for their sessions", "err", err)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-round.C:
				waiting = false
			case <-answers: // it came late, or twice
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.clear(ctx, resource)
}

// forgetGone forgets what nodes said that are gone.
func (s *sessions) forgetGone(asked map[string]time.Time) {
	there := s.nodes()
	for node := range asked {
		if !slices.Contains(there, node) {
			delete(asked, node)
			s.take(Calico, backends.SessionReport{Node: node}, false)
		}
	}
}

// next returns whom to ask, and notes that.
func (s *sessions) next(asked map[string]time.Time) []string {
	all := s.nodes()
	slices.SortStableFunc(all, func(a, b string) int { return asked[a].Compare(asked[b]) })
	all = all[:min(len(all), s.samples)]
	for _, node := range all {
		asked[node] = time.Now()
	}
	return all
}

// round asks nodes, waits for their answers and removes the questions. A node that does not answer is one that says nothing any more.
func (s *sessions) round(ctx context.Context, resource schema.GroupVersionResource, nodes []string,
	answers <-chan backends.SessionReport) error {
	r := s.client.Resource(resource)
	open := map[string]string{} // node -> name of the question
	var errs []error
	for _, node := range nodes {
		q, err := calico.Question(resource.GroupVersion(), node, s.installation)
		if err != nil {
			return err
		}
		_, err = r.Create(ctx, q, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // it could not be removed the last time; what it says may be of then
			if err = s.withdraw(ctx, resource, q.GetName()); err == nil {
				_, err = r.Create(ctx, q, metav1.CreateOptions{})
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ask node %q: %w", node, err))
			continue
		}
		open[node] = q.GetName()
	}
	patience := time.NewTimer(askPatience)
	defer patience.Stop()
	left := len(open)
	for waiting := true; waiting && left > 0; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-patience.C:
			waiting = false
		case x := <-answers:
			name, asked := open[x.Node]
			s.take(Calico, x, true)
			if asked && name != "" {
				errs = append(errs, s.withdraw(ctx, resource, name))
				open[x.Node] = ""
				left--
			}
		}
	}
	for node, name := range open {
		if name == "" {
			continue
		}
		if ctx.Err() != nil {
			break // all are removed at the end
		}
		errs = append(errs, s.withdraw(ctx, resource, name))
		s.take(Calico, backends.SessionReport{Node: node}, false)
	}
	return errors.Join(errs...)
}

func (s *sessions) withdraw(ctx context.Context, resource schema.GroupVersionResource, name string) error {
	err := s.client.Resource(resource).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// clear removes all questions.
func (s *sessions) clear(ctx context.Context, resource schema.GroupVersionResource) {
	if err := s.removeAll(ctx, resource); err != nil && ctx.Err() == nil {
		s.log.Warn("questions to calico's nodes are left; the next controller removes them", "err", err)
	}
}

func (s *sessions) removeAll(ctx context.Context, resource schema.GroupVersionResource) error {
	list, err := s.client.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: ownSelector(s.installation)})
	if err != nil {
		return err
	}
	var errs []error
	for i := range list.Items {
		errs = append(errs, s.withdraw(ctx, resource, list.Items[i].GetName()))
	}
	return errors.Join(errs...)
}

// RemoveQuestions removes the CalicoNodeStatus objects of an installation that a controller has left, if there are any.
func RemoveQuestions(ctx context.Context, d discovery.DiscoveryInterface, c dynamic.Interface, installation string) error {
	s := &sessions{discovery: d, client: c, installation: installation, samples: 1}
	resource, why := s.resource(Calico)
	if why != "" {
		return nil
	}
	// Who may not read them has made none.
	if err := s.removeAll(ctx, resource); err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("remove %s: %w", resource.GroupResource(), err)
	}
	return nil
}
