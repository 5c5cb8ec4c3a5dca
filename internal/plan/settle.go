package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/survey"
)

// rounds is how often all Services are looked at, at most, until nothing changes. One lets go of an address that another one waits for,
// whose own may be what a third one waits for; chains are short.
const rounds = 50

// world is a controller that works on a copy of the cluster.
type world struct {
	*survey.Model
	results map[string]announce.Result // of the backends that rehearse, by name
}

// newWorld has a controller take over a cluster and do what there is to do.
func newWorld(s *survey.Survey) (*world, error) {
	copied := *s
	copied.Services = slices.Clone(s.Services)
	m, err := copied.Model()
	if err != nil {
		return nil, err
	}
	w := &world{Model: m, results: map[string]announce.Result{}}
	return w, w.settle()
}

// become puts what the cluster would be in front of the controller: first the configuration, then the Services.
func (w *world) become(then *survey.Survey) error {
	w.Config, w.Namespaces = then.Config, then.Namespaces
	w.Snapshot = config.Build(then.Config, w.Snapshot)
	if err := w.Assigner.SetSnapshot(w.Snapshot, w.NamespaceLabels); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	for i := range then.Services {
		next := then.Services[i].DeepCopy()
		have := w.Service(next.Namespace, next.Name)
		if have == nil {
			w.Services = append(w.Services, *next)
			continue
		}
		// What the controller wrote here stays; everything else is as it would be.
		marks := have.DeepCopy()
		next.Status = marks.Status
		copyMark(next.Labels, marks.Labels, assign.LabelPool, &next.Labels)
		copyMark(next.Annotations, marks.Annotations, assign.AnnotationFromPool, &next.Annotations)
		*have = *next
	}
	w.Choice, w.ChoiceKnown = w.Survey.Choice()
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
	slices.SortFunc(order, byAge)
	for range rounds {
		changed := false
		for _, svc := range order {
			v := w.Assigner.Decide(svc.DeepCopy(), w.NamespaceLabels(svc.Namespace))
			change := assign.Plan(svc, v)
			if change == nil {
				continue
			}
			if err := patch(svc, change.Patch); err != nil {
				return err
			}
			changed = true
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("the Services do not come to rest within %d rounds", rounds)
}

// patch applies a merge patch to a Service.
func patch(svc *corev1.Service, p []byte) error {
	b, err := json.Marshal(svc)
	if err != nil {
		return err
	}
	if b, err = jsonpatch.MergePatch(b, p); err != nil {
		return err
	}
	next := corev1.Service{}
	if err := json.Unmarshal(b, &next); err != nil {
		return err
	}
	*svc = next
	return nil
}
