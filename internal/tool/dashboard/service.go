package dashboard

import (
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Service is the path of a Service, from its request to its endpoints.
type Service struct {
	*explain.Service
	// Wide and Tall are pictures of the same.
	Wide *Picture `json:"-"`
	Tall *Picture `json:"-"`
}

// Considered are the pools that are asked; PassedOver are the others.
func (s *Service) Considered() []explain.Pool { return s.pools(false) }

// PassedOver are the pools that are not asked.
func (s *Service) PassedOver() []explain.Pool { return s.pools(true) }

func (s *Service) pools(passed bool) []explain.Pool {
	return slices.DeleteFunc(slices.Clone(s.Pools), func(p explain.Pool) bool { return (p.Verdict == explain.PoolPassed) != passed })
}

// Selecting are the advertisements that select the Service; NotSelecting are the others.
func (s *Service) Selecting() []explain.Advertisement { return s.advertisements(true) }

// NotSelecting are the advertisements that do not select the Service.
func (s *Service) NotSelecting() []explain.Advertisement { return s.advertisements(false) }

func (s *Service) advertisements(selecting bool) []explain.Advertisement {
	return slices.DeleteFunc(slices.Clone(s.Advertisements), func(a explain.Advertisement) bool { return a.Selects != selecting })
}

func (s *Server) service(v *view, r *http.Request) (string, any, error) {
	out := &Service{Service: explain.OfService(v.model, r.PathValue("namespace"), r.PathValue("name"))}
	path := stepsOf(out.Service)
	out.Wide, out.Tall = wide(path), tall(path)
	return "Service " + out.Namespace + "/" + out.Name, out, nil
}

// readService returns a view that knows the Service of a request. Who may not list all Services may be allowed to read this one.
func (s *Server) readService(v *view, r *http.Request) (*view, error) {
	m := v.model
	id := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	if m.Service(id.Namespace, id.Name) != nil {
		return v, nil
	}
	if !m.Lacks("Services") {
		return nil, fmt.Errorf("%w as a Service %q in namespace %q", errNotFound, id.Name, id.Namespace)
	}
	ctx, cancel := cli.Within(r.Context(), s.Patience)
	defer cancel()
	one := *m.Survey
	switch found, err := one.ReadService(ctx, s.Client, id.Namespace, id.Name); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", survey.ErrNotReadable, err)
	case !found:
		return nil, fmt.Errorf("%w as a Service %q in namespace %q", errNotFound, id.Name, id.Namespace)
	}
	m, err := one.Model()
	return &view{model: m}, err
}
