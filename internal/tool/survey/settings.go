package survey

import (
	"cmp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/service"
)

// Settings are the flags of a controller, as its Deployment has them.
type Settings map[string]string

// settingsOf reads the flags of a container called controller, and those that are given by environment.
func settingsOf(d *appsv1.Deployment) Settings {
	out := Settings{}
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name != "controller" {
			continue
		}
		for _, e := range c.Env {
			if name, ok := strings.CutPrefix(e.Name, cli.EnvName("")); ok && e.Value != "" {
				out[strings.ToLower(strings.ReplaceAll(name, "_", "-"))] = e.Value
			}
		}
		args := slices.Concat(c.Command, c.Args)
		for i, arg := range args {
			name, ok := strings.CutPrefix(arg, "--")
			if !ok {
				continue
			}
			name, value, has := strings.Cut(name, "=")
			if !has {
				value = "true"
				if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
					value = args[i+1]
				}
			}
			out[name] = value
		}
	}
	return out
}

// Rules returns which Services are served; known is false if that is concluded from the conditions of Services, because the flags of
// the controller are not to be seen.
func (s *Survey) Rules() (rules assign.Rules, known bool) {
	set := s.Controller.Settings
	rules.IsolateSharing = set["cross-namespace-sharing"] == "false"
	if set != nil {
		rules.Allocators = []string{}
		for name := range strings.SplitSeq(set["allocators"], ",") {
			if name != "" {
				rules.Allocators = append(rules.Allocators, name)
			}
		}
		rules.Classes = []string{""}
		if v, ok := set["lb-class"]; ok {
			rules.Classes = strings.Split(v, ",")
		}
		return rules, true
	}
	served := map[string]bool{}
	for i := range s.Services {
		svc := &s.Services[i]
		if meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated) != nil && s.ours(svc) {
			served[service.Class(svc)] = true
		}
	}
	if len(served) == 0 {
		served[""] = true
	}
	for class := range served {
		rules.Classes = append(rules.Classes, class)
	}
	slices.Sort(rules.Classes)
	return rules, false
}

// ours reports whether a Service that has a condition of this product has it from this installation: its pools are here, or it has
// none.
func (s *Survey) ours(svc *corev1.Service) bool {
	pools := service.PoolsOf(svc)
	if len(pools) == 0 {
		return true
	}
	for i := range s.Config.Pools {
		if slices.Contains(pools, s.Config.Pools[i].Name) {
			return true
		}
	}
	return s.Lacks("IPAddressPools")
}

// Asked returns which backends the flags of the controller ask for; auto where they are not to be seen.
func (s *Survey) Asked() delegate.Asked {
	set := s.Controller.Settings
	return delegate.Asked{
		BGP: cmp.Or(set["bgp-backend"], set["backend"], delegate.Auto), Layer2: cmp.Or(set["l2-backend"], set["backend"], delegate.Auto),
	}
}

// Choice returns who serves advertisements that do not name a backend. known is false if nobody has said so yet: there are neither
// flags that name a backend nor Backend objects.
func (s *Survey) Choice() (c announce.Choice, known bool) {
	if s.Chosen != nil {
		return *s.Chosen, true
	}
	asked := s.Asked()
	bgp, knownBGP := s.choice(announce.BGP, asked.BGP)
	layer2, knownL2 := s.choice(announce.Layer2, asked.Layer2)
	return announce.Choice{BGP: bgp, Layer2: layer2}, knownBGP && knownL2
}

func (s *Survey) choice(kind, asked string) (string, bool) {
	switch asked {
	case delegate.None:
		return "", true
	case delegate.Calico:
		if kind == announce.Layer2 {
			return "", true // Calico has no layer 2
		}
		return asked, true
	case delegate.Cilium, delegate.Speaker:
		return asked, true
	}
	var serve []string
	for _, name := range []string{delegate.Calico, delegate.Cilium, delegate.Speaker} {
		if b := s.Backend(name); b != nil && slices.Contains(b.Status.Serves, kind) {
			serve = append(serve, name)
		}
	}
	if len(serve) > 1 {
		// A backend also serves a kind because an advertisement names it.
		serve = slices.DeleteFunc(serve, func(name string) bool { return s.named(kind)[name] })
	}
	switch {
	case len(serve) == 1 && (!s.named(kind)[serve[0]] || s.Backend(delegate.None) == nil):
		return serve[0], true
	case s.Backend(delegate.None) != nil:
		return "", true
	}
	return "", s.Backend(delegate.Calico) != nil || s.Backend(delegate.Cilium) != nil || s.Backend(delegate.Speaker) != nil
}

// named are the backends that advertisements of a kind name.
func (s *Survey) named(kind string) map[string]bool {
	out := map[string]bool{}
	snapshot := s.Snapshot()
	if kind == announce.BGP {
		for _, a := range snapshot.BGPAdvertisements() {
			out[a.Backend] = true
		}
		return out
	}
	for _, a := range snapshot.L2Advertisements() {
		out[a.Backend] = true
	}
	return out
}
