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

// errSilent says that Services which somebody can reach by MetalLB are not announced by Fairlead.
var errSilent = errors.New("less is announced than by MetalLB")

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
type silent struct {
	name, why string
	// unknown is set if Fairlead has done what it can, and the CNI does not say whether a router hears it.
	unknown bool
}

// sessionsUnknown is the reason of fairlead.io/Advertised that says so, and knownHelp what would have the CNI say it.
const (
	sessionsUnknown = "SessionsUnknown"
	knownHelp       = "To know: with Calico, --calico-session-samples of Fairlead's controller (calico.sessionSamples of the chart) above 0; " +
		"with Cilium, enable-bgp-control-plane-status-report not switched off; and the CNI's agents have to run"
)

// announced returns which Services Fairlead announces, as far as it says, and which of those that MetalLB announced it does not. What a
// Service says is about now only while the controller lives.
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
			no = append(no, silent{name, toldBy(c), c != nil && c.Status == metav1.ConditionUnknown && c.Reason == sessionsUnknown})
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

// awaitAnnounced waits until Fairlead announces what MetalLB did, and asks whether to wait on. among are the Services that matter; nil:
// all.
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
				m.say("  %s", waits(no))
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
		silence := fmt.Errorf("after %v: %w", m.Timeout, lacking(no))
		if m.Yes || m.confirm(ctx, "Wait for another "+m.Timeout.String()+"?") != nil {
			return yes, silence
		}
	}
}

// mostListed is how many Services a message names.
const mostListed = 10

// apart returns those that Fairlead does not announce, and those of which nobody says whether it does.
func apart(all []silent) (no, unknown []silent) {
	for _, s := range all {
		if s.unknown {
			unknown = append(unknown, s)
		} else {
			no = append(no, s)
		}
	}
	return no, unknown
}

// waits says, in one line, what is waited for.
func waits(all []silent) string {
	no, unknown := apart(all)
	var parts []string
	if len(no) > 0 {
		parts = append(parts, fmt.Sprintf("waiting until Fairlead announces %s, such as %s (%s)", services(len(no)), no[0].name, no[0].why))
	}
	if len(unknown) > 0 {
		parts = append(parts, fmt.Sprintf("it is not known whether a router hears %s, such as %s (%s). %s", services(len(unknown)),
			unknown[0].name, unknown[0].why, knownHelp))
	}
	return strings.Join(parts, "; ")
}

// lacking is the error that names what Fairlead is not known to announce.
func lacking(all []silent) error {
	no, unknown := apart(all)
	var parts []string
	if len(no) > 0 {
		parts = append(parts, fmt.Sprintf("Fairlead lacks %s, such as %s (%s)", services(len(no)), no[0].name, no[0].why))
	}
	if len(unknown) > 0 {
		parts = append(parts, fmt.Sprintf("nobody says whether a router hears %s: %s. %s", services(len(unknown)), named(unknown), knownHelp))
	}
	return fmt.Errorf("%w: %s", errSilent, strings.Join(parts, "; "))
}

// named names some Services, and why the first one is among them.
func named(all []silent) string {
	out := fmt.Sprintf("%s (%s)", all[0].name, all[0].why)
	for i, s := range all[1:] {
		if i+1 == mostListed {
			return fmt.Sprintf("%s and %d more", out, len(all)-mostListed)
		}
		out += ", " + s.name
	}
	return out
}

func listed(all []silent) string {
	no, unknown := apart(all)
	var lines []string
	add := func(heading string, all []silent) {
		if len(all) == 0 {
			return
		}
		lines = append(lines, fmt.Sprintf(heading, services(len(all))))
		for i, s := range all {
			if i == mostListed {
				lines = append(lines, fmt.Sprintf("  and %d more", len(all)-i))
				break
			}
			lines = append(lines, fmt.Sprintf("  %s: %s", s.name, s.why))
		}
	}
	add("Fairlead does not announce %s that MetalLB does:", no)
	add("It is not known whether a router hears %s that MetalLB announces:", unknown)
	if len(unknown) > 0 {
		lines = append(lines, "  "+knownHelp)
	}
	return strings.Join(lines, "\n")
}

// forceHint says what to do about Services that are not announced.
const forceHint = "`kubectl fairlead explain service` says what each one needs. A router that takes one session from a node gives it to MetalLB's speaker " +
	"as long as that runs: then --force changes over all the same, and goes back by itself if something that Fairlead does announce is lost"
