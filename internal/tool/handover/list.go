package handover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Outcome is what becomes of a Service.
type Outcome string

// The outcomes.
const (
	Keeps   Outcome = "keeps"   // it keeps its addresses
	Changes Outcome = "changes" // it gets others: no pool has those it shows, or may give them to it
	Has     Outcome = "has"     // Fairlead has given it its addresses already; only the finalizer is removed
	Leaves  Outcome = "leaves"  // it is being deleted, and only the finalizer holds it
	Waits   Outcome = "waits"   // no pool would give it an address: it is left as it is
	Skipped Outcome = "skipped" // Fairlead does not serve its class: it is left as it is
)

// Service is one whose status the other load balancer has written.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Addresses are those that the status shows. Writers are the field managers that put them there.
	Addresses []string `json:"addresses"`
	Writers   []string `json:"writers"`
	Outcome   Outcome  `json:"outcome"`
	// After are the addresses that it will have; of those that change, it can become others if somebody else is faster.
	After []string `json:"after"`
	Pool  string   `json:"pool,omitempty"`
	// Why is one sentence, if it does not keep what it shows.
	Why string `json:"why,omitempty"`
	// Writes are what is changed of the Service.
	Writes []string `json:"writes"`

	edit *edit
	was  *corev1.Service
}

// edit is what is done to a Service.
type edit struct {
	pin     string // metallb.io/loadBalancerIPs; empty: as it is
	share   string // metallb.io/allow-shared-ip
	unask   bool   // spec.loadBalancerIP goes
	empty   bool   // the status is emptied
	release []string
}

const (
	pinKey   = "metallb.io/loadBalancerIPs"
	shareKey = "metallb.io/allow-shared-ip"
)

// metadata does to a Service what is done to everything but its status.
func (e *edit) metadata(svc *corev1.Service) {
	if e.pin != "" {
		metav1.SetMetaDataAnnotation(&svc.ObjectMeta, pinKey, e.pin)
	}
	if e.share != "" {
		metav1.SetMetaDataAnnotation(&svc.ObjectMeta, shareKey, e.share)
	}
	if e.unask {
		svc.Spec.LoadBalancerIP = ""
	}
	svc.Finalizers = slices.DeleteFunc(svc.Finalizers, func(f string) bool { return slices.Contains(e.release, f) })
}

func (e *edit) writes(svc *corev1.Service) []string {
	out := []string{}
	if e.pin != "" && svc.Annotations[pinKey] != e.pin {
		out = append(out, "annotation "+pinKey+": "+e.pin)
	}
	if e.share != "" {
		out = append(out, "annotation "+shareKey+": "+e.share)
	}
	if e.unask {
		out = append(out, "without spec.loadBalancerIP: "+svc.Spec.LoadBalancerIP)
	}
	if e.empty {
		out = append(out, "status emptied")
	}
	for _, f := range e.release {
		out = append(out, "without finalizer "+f)
	}
	return out
}

// list returns the Services that a source has written, and what would become of them.
func (o *Options) list(s *survey.Survey) ([]*Service, error) {
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	var out []*Service
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer && svc.DeletionTimestamp == nil || !o.Source.wrote(s, svc) {
			continue
		}
		x := &Service{
			Namespace: svc.Namespace, Name: svc.Name, Addresses: texts(service.ShownAddresses(svc)), Writers: writers(svc),
			After: []string{}, Writes: []string{}, was: svc,
		}
		x.edit = &edit{release: intersect(svc.Finalizers, o.Source.Finalizers)}
		if x.judge(m, o.Source) {
			out = append(out, x)
		}
	}
	share(o.Source, out)
	if err := foresee(s, out); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(x *Service) bool { return x.Outcome == Keeps && len(x.Writes) == 0 }), nil // done before
}

// judge says what is to be tried; false if there is nothing to do.
func (x *Service) judge(m *survey.Model, source *Source) bool {
	svc, shown := x.was, service.ShownAddresses(x.was)
	switch {
	case svc.DeletionTimestamp != nil:
		x.Outcome = Leaves
		return len(x.edit.release) > 0
	case !m.Rules.Serves(svc):
		x.Outcome, x.Why, x.edit = Skipped, notServed(m, svc), &edit{}
		return true
	}
	ours := isOurs(svc)
	if ours && len(x.Writers) == 0 {
		x.Outcome, x.After = Has, x.Addresses
		return len(x.edit.release) > 0
	}
	candidates := shown
	if len(candidates) == 0 {
		candidates = source.asked(svc)
	}
	var kept []netip.Addr
	for _, a := range candidates {
		pool, usable := m.Assigner.PoolOf(a)
		family := slices.ContainsFunc(kept, func(k netip.Addr) bool { return allocator.FamilyOf(k) == allocator.FamilyOf(a) })
		switch nodes := m.Assigner.NodesOf(a); {
		case pool == nil:
			x.because("no pool has %s", a)
		case len(nodes) > 0:
			x.because("%s is an address of node %s", a, nodes[0])
		case !usable:
			x.because("pool %q does not give %s out", pool.Name, a)
		case family:
			x.because("a Service has one address of each family here: %s goes", a)
		default:
			kept = append(kept, a)
		}
	}
	if ours && len(kept) < len(shown) { // Fairlead holds them all the same, and would write them again
		x.Outcome, x.After, x.Pool = Has, x.Addresses, strings.Join(service.PoolsOf(svc), ", ")
		return len(x.edit.release) > 0
	}
	x.Outcome = Changes
	switch asks := asksFor(svc); {
	case len(kept) > 0 && (asks == "" || asks == strings.Join(texts(kept), ",")):
		x.Outcome, x.edit.pin = Keeps, strings.Join(texts(kept), ",")
	case asks != "":
		x.because("it asks for %s", asks)
	}
	x.edit.empty = len(shown) > 0 && !ours
	x.edit.unask = svc.Spec.LoadBalancerIP != "" && unasks(source, svc, shown)
	return x.edit.pin != "" || x.edit.empty || x.edit.unask || len(x.edit.release) > 0 // else it waits for its address anyhow
}

// asksFor returns the addresses that a Service asks for by annotation.
func asksFor(svc *corev1.Service) string {
	return cmp.Or(svc.Annotations[pinKey], svc.Annotations["metallb.universe.tf/loadBalancerIPs"])
}

func (x *Service) because(format string, args ...any) {
	if x.Why != "" {
		x.Why += "; "
	}
	x.Why += fmt.Sprintf(format, args...)
}

// unasks reports whether spec.loadBalancerIP is the other load balancer's: what it shows, or what stands for DHCP. Beside the annotation,
// it would be a second request.
func unasks(source *Source, svc *corev1.Service, shown []netip.Addr) bool {
	a, err := netip.ParseAddr(svc.Spec.LoadBalancerIP)
	return err == nil && (a.IsUnspecified() || slices.Contains(shown, a.Unmap()) || slices.Contains(source.asked(svc), a.Unmap()))
}

// isOurs reports whether Fairlead has given a Service what its status shows, or has taken it over.
func isOurs(svc *corev1.Service) bool {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	return c != nil && c.Status == metav1.ConditionTrue && len(service.ShownAddresses(svc)) > 0
}

func notServed(m *survey.Model, svc *corev1.Service) string {
	class := "it has no spec.loadBalancerClass"
	if c := service.Class(svc); c != "" {
		class = fmt.Sprintf("its spec.loadBalancerClass is %q", c)
	}
	served := []string{}
	for _, c := range m.Rules.Classes {
		if c == "" {
			served = append(served, "Services without a class")
		} else {
			served = append(served, fmt.Sprintf("class %q", c))
		}
	}
	return fmt.Sprintf("%s; Fairlead serves %s", class, strings.Join(served, " and "))
}

// share has Services that show the same address share it, as they did: here, that has to be asked for.
func share(source *Source, all []*Service) {
	for _, x := range all {
		if x.edit.pin == "" || x.was.Annotations[shareKey] != "" || x.was.Annotations["metallb.universe.tf/allow-shared-ip"] != "" {
			continue
		}
		if slices.ContainsFunc(all, func(y *Service) bool {
			return y != x && slices.ContainsFunc(strings.Split(x.edit.pin, ","),
				func(a string) bool { return slices.Contains(strings.Split(y.edit.pin, ","), a) })
		}) {
			x.edit.share = source.Name
		}
	}
}

// foresee has a copy of the controller decide on the Services as they will be. One that would not get what it shows tries again without
// asking for it; one that would get nothing at all is left as it is.
func foresee(s *survey.Survey, all []*Service) error {
	if len(all) == 0 {
		return nil
	}
	for range 3 {
		after, err := settled(s, all)
		if err != nil {
			return err
		}
		again := false
		for _, x := range all {
			is := after[x.Namespace+"/"+x.Name]
			if is == nil || x.Outcome != Keeps && x.Outcome != Changes {
				continue
			}
			x.After, x.Pool = texts(service.ShownAddresses(is)), strings.Join(service.PoolsOf(is), ", ")
			c := meta.FindStatusCondition(is.Status.Conditions, service.ConditionAllocated)
			given := c != nil && c.Status == metav1.ConditionTrue && len(x.After) > 0
			switch {
			case x.Outcome == Keeps && !(given && covers(x.After, strings.Split(x.edit.pin, ","))):
				x.Outcome, x.edit.pin, x.edit.share, again = Changes, "", "", true
				if c != nil {
					x.because("%s: %s", c.Reason, c.Message)
				}
				x.edit.empty = len(x.Addresses) > 0 && !isOurs(x.was)
			case x.Outcome == Changes && !given:
				x.Outcome, x.After, x.Pool, x.edit, again = Waits, []string{}, "", &edit{release: x.edit.release}, true
				if c != nil {
					x.because("%s: %s", c.Reason, c.Message)
				}
			}
		}
		if !again {
			break
		}
	}
	for _, x := range all {
		x.Writes = x.edit.writes(x.was)
	}
	return nil
}

// settled returns the Services as they will be, by namespace/name.
func settled(s *survey.Survey, all []*Service) (map[string]*corev1.Service, error) {
	then := *s
	then.Services = make([]corev1.Service, len(s.Services))
	edits := map[string]*edit{}
	for _, x := range all {
		edits[x.Namespace+"/"+x.Name] = x.edit
	}
	for i := range s.Services {
		svc := s.Services[i].DeepCopy()
		if e := edits[svc.Namespace+"/"+svc.Name]; e != nil {
			e.metadata(svc)
			if e.empty {
				svc.Status.LoadBalancer.Ingress = nil
			}
		}
		then.Services[i] = *svc
	}
	after, err := plan.Settled(&then)
	if err != nil {
		return nil, err
	}
	out := map[string]*corev1.Service{}
	for i := range after {
		out[after[i].Namespace+"/"+after[i].Name] = &after[i]
	}
	return out, nil
}

func texts(addrs []netip.Addr) []string {
	out := []string{}
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func intersect(a, b []string) (out []string) {
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

func covers(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}
