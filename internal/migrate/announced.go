package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// ErrSilent says that Services which somebody can reach by MetalLB are not announced by Fairlead.
var ErrSilent = errors.New("less is announced than by MetalLB")

// neither are the reasons of fairlead.io/Advertised for which MetalLB does not announce a Service, either.
var neither = []string{"NoAdvertisement", "ServiceNotSelected", "NoEndpoints", "NoLocalEndpoints", "SharedIPWithServiceSelector"}

// told returns the Services that MetalLB's speakers tell that they announce, sorted.
func (m *Migration) told(ctx context.Context) ([]string, error) {
	var l2 v1beta1.ServiceL2StatusList
	var bgp v1beta1.ServiceBGPStatusList
	for _, list := range []client.ObjectList{&l2, &bgp} {
		if err := m.client.List(ctx, list, client.InNamespace(m.Namespace)); err != nil && !meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("read what MetalLB's speakers announce: %w", err)
		}
	}
	var out []string
	add := func(labels map[string]string, namespace, name string) {
		if name == "" { // the status is written after the object is made
			namespace, name = labels["metallb.io/service-namespace"], labels["metallb.io/service-name"]
		}
		out = append(out, namespace+"/"+name)
	}
	for i := range l2.Items {
		add(l2.Items[i].Labels, l2.Items[i].Status.ServiceNamespace, l2.Items[i].Status.ServiceName)
	}
	for i := range bgp.Items {
		add(bgp.Items[i].Labels, bgp.Items[i].Status.ServiceNamespace, bgp.Items[i].Status.ServiceName)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// silent is a Service that Fairlead does not announce, and why.
type silent struct{ name, why string }

// announced returns which Services Fairlead announces, as far as it says, and which of those that MetalLB announced it does not. What a Service
// says is about now only while the controller lives.
func (m *Migration) announced(ctx context.Context) (yes []string, no []silent, err error) {
	yes = []string{}
	_, err = m.compare(ctx, func(name string, s *corev1.Service) error {
		if a := meta.FindStatusCondition(s.Status.Conditions, "fairlead.io/Allocated"); a != nil && a.Reason == "ForeignStatus" {
			return nil // neither MetalLB nor Fairlead gave it
		}
		c := meta.FindStatusCondition(s.Status.Conditions, "fairlead.io/Advertised")
		switch {
		case c != nil && c.Status == metav1.ConditionTrue:
			yes = append(yes, name)
		case c != nil && c.Status == metav1.ConditionFalse && slices.Contains(neither, c.Reason) && !slices.Contains(m.state.Told, name):
		default:
			no = append(no, silent{name, toldBy(c)})
		}
		return nil
	})
	return yes, no, err
}

// pulse is how long a controller that lives may take to renew its Lease.
const pulse = 30 * time.Second

// lives waits until Fairlead's controller renews its Lease.
func (m *Migration) lives(ctx context.Context) error {
	renewed := func(ctx context.Context) (*metav1.MicroTime, error) {
		var l coordinationv1.Lease
		err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: "fairlead-controller"}, &l)
		return l.Spec.RenewTime, client.IgnoreNotFound(err)
	}
	first, err := renewed(ctx)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, min(m.Timeout, pulse), true, func(context.Context) (bool, error) {
		now, err := renewed(ctx)
		return now != nil && (first == nil || !now.Equal(first)), err
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("the controller of Fairlead does not renew the Lease %s/fairlead-controller: it does not run, and what Services say may be old", m.Namespace)
	}
	return err
}

// awaitAnnounced waits until Fairlead announces what MetalLB did, and asks whether to wait on. among are the Services that matter; nil: all.
func (m *Migration) awaitAnnounced(ctx context.Context, among []string) (yes []string, err error) {
	if err := m.lives(ctx); err != nil {
		return nil, err
	}
	for {
		var no []silent
		said := time.Now()
		err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, m.Timeout, true, func(context.Context) (bool, error) { // a request that was begun may end
			var err error
			if yes, no, err = m.announced(ctx); err != nil {
				return false, err
			}
			no = slices.DeleteFunc(no, func(s silent) bool { return among != nil && !slices.Contains(among, s.name) })
			if len(no) > 0 && time.Since(said) > 5*time.Second {
				said = time.Now()
				m.say("  waiting until Fairlead announces %s, such as %s (%s)", services(len(no)), no[0].name, no[0].why)
			}
			return len(no) == 0, nil
		})
		switch {
		case err == nil:
			return yes, nil
		case !wait.Interrupted(err) || ctx.Err() != nil || len(no) == 0:
			return nil, err
		}
		m.say("%s", listed(no))
		silence := fmt.Errorf("after %v: %w: Fairlead lacks %s, such as %s (%s)", m.Timeout, ErrSilent, services(len(no)), no[0].name, no[0].why)
		if m.Yes || m.confirm(ctx, "Wait for another "+m.Timeout.String()+"?") != nil {
			return yes, silence
		}
	}
}

// mostListed is how many Services a message names.
const mostListed = 10

func listed(all []silent) string {
	lines := []string{fmt.Sprintf("Fairlead does not announce %s that MetalLB does:", services(len(all)))}
	for i, s := range all {
		if i == mostListed {
			lines = append(lines, fmt.Sprintf("  and %d more", len(all)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("  %s: %s", s.name, s.why))
	}
	return strings.Join(lines, "\n")
}

// forceHint says what to do about Services that are not announced.
const forceHint = "`kubectl fairlead explain service` says what each one needs. A router that takes one session from a node gives it to MetalLB's speaker " +
	"as long as that runs: then --force changes over all the same, and goes back by itself if something that Fairlead does announce is lost"
