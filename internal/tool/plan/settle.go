package plan

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// rounds is how often all Services are looked at, at most, until nothing changes. One lets go of an address that another one waits for,
// whose own may be what a third one waits for; chains are short.
const rounds = 50

// world is a controller that works on a copy of the cluster.
type world struct {
	*survey.Model
	places  map[types.NamespacedName]int // of Services in the list
	results map[string]announce.Result   // of the backends that rehearse, by name
	now     time.Time
	again   bool // a Service is to be decided on anew when time has passed
}

// Service returns a Service, nil if there is none.
func (w *world) Service(namespace, name string) *corev1.Service {
	if i, ok := w.places[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
		return &w.Services[i]
	}
	return nil
}

// newWorld has a controller take over a cluster and do what there is to do.
func newWorld(s *survey.Survey) (*world, error) {
	copied := *s
	copied.Services = slices.Clone(s.Services)
	for i := range copied.Services {
		service.TrimWriters(&copied.Services[i]) // there is less to copy, again and again
	}
	m, err := copied.Model()
	if err != nil {
		return nil, err
	}
	w := &world{Model: m, places: map[types.NamespacedName]int{}, results: map[string]announce.Result{}}
	for i := range w.Services {
		w.places[types.NamespacedName{Namespace: w.Services[i].Namespace, Name: w.Services[i].Name}] = i
	}
	return w, w.settle()
}

// become puts what the cluster would be in front of the controller: first the configuration, then the Services. Then it lets the time pass
// for which Services keep what has left its pool.
func (w *world) become(then *survey.Survey) error {
	w.Config, w.Namespaces = then.Config, then.Namespaces
	w.Snapshot = config.Build(then.Config, w.Snapshot)
	w.Assigner.LetLeave(func() time.Time { return w.now })
	if err := w.Assigner.SetSnapshot(w.Snapshot, w.NamespaceLabels); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	for i := range then.Services {
		trimmed := then.Services[i]
		service.TrimWriters(&trimmed)
		next := trimmed.DeepCopy()
		have := w.Service(next.Namespace, next.Name)
		if have == nil {
			w.places[types.NamespacedName{Namespace: next.Namespace, Name: next.Name}] = len(w.Services)
			w.Services = append(w.Services, *next)
			continue
		}
		// What the controller wrote here stays; everything else is as it would be.
		marks := have.DeepCopy()
		next.Status = marks.Status
		copyMark(next.Labels, marks.Labels, service.LabelPool, &next.Labels)
		copyMark(next.Annotations, marks.Annotations, service.AnnotationFromPool, &next.Annotations)
		*have = *next
	}
	w.Choice, w.ChoiceKnown = w.Survey.Choice()
	if err := w.settle(); err != nil || !w.again {
		return err
	}
	w.now = w.now.Add(assign.LeaveGrace)
	return w.settle()
}

// copyMark has a map show a mark as another one does.
func copyMark(to, from map[string]string, key string, set *map[string]string) {
	value, has := from[key]
	if !has {
		delete(to, key)
		return
	}
	if to == nil {
		to = map[string]string{}
		*set = to
	}
	to[key] = value
}

// settle has the controller decide on every Service, and write, until nothing is left to write.
func (w *world) settle() error {
	order := make([]*corev1.Service, len(w.Services))
	for i := range w.Services {
		order[i] = &w.Services[i]
	}
	slices.SortFunc(order, assign.ByAge)
	for range rounds {
		changed := false
		w.again = false
		for _, svc := range order {
			seen := *svc // the Assigner keeps it, and changes nothing in it
			v := w.Assigner.Decide(&seen, w.NamespaceLabels(svc.Namespace))
			w.again = w.again || v.Again > 0
			if change := assign.Plan(svc, v); change != nil {
				*svc, changed = *change.Makes, true
			}
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("the Services do not come to rest within %d rounds", rounds)
}
