package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/controller/admission"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// controllerCheck looks at the Deployment and the Lease.
func controllerCheck(f *Facts, c *check) {
	k := f.Controller
	pods := fmt.Sprintf("kubectl -n %s get pods -l app.kubernetes.io/name=fairlead,app.kubernetes.io/component=controller", f.Namespace)
	unwell := false
	if d := f.deployment(); d != nil {
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		unwell = d.Status.ReadyReplicas == 0
		switch {
		case want == 0:
			c.add(Error, Finding{What: fmt.Sprintf("Deployment %s has 0 replicas", d.Name), Why: "nobody assigns addresses",
				Command: fmt.Sprintf("kubectl -n %s scale deployment/%s --replicas=2", f.Namespace, d.Name)})
		case unwell:
			c.add(Error, Finding{What: fmt.Sprintf("none of the %d replicas of Deployment %s is ready", want, d.Name),
				Why: "nobody assigns addresses", Command: pods})
		case d.Status.ReadyReplicas < want:
			c.add(Warning, Finding{What: fmt.Sprintf("%d of %d replicas of Deployment %s are ready", d.Status.ReadyReplicas, want, d.Name),
				Why: "there may be nobody to take over", Command: pods})
		}
	}
	switch {
	case !f.idle():
		if !k.Works(f.At) && !f.Lacks("Leases") && f.Lacks("Deployments") {
			c.unknown("whether a controller runs: there is no Lease %s in namespace %q, and what runs without one is not to be seen",
				survey.LeaseName, f.Namespace)
		}
	case !k.LeaseFound && unwell: // it has not run yet, which has been told
	case !k.LeaseFound:
		command := pods
		if f.absent() {
			command = f.command(install)
		}
		c.add(Error, Finding{What: fmt.Sprintf("there is no Lease %s in namespace %q: no controller has run there", survey.LeaseName,
			f.Namespace), Why: "nobody assigns addresses", Command: command})
	case k.Leader == "":
		c.add(Error, Finding{What: "no controller holds the Lease " + survey.LeaseName, Why: "nobody assigns addresses", Command: pods})
	default:
		c.add(Error, Finding{
			What: fmt.Sprintf("the controller %q has not renewed the Lease %s for %s", k.Leader, survey.LeaseName,
				f.At.Sub(k.Renewed).Round(time.Second)),
			Why: "nobody assigns addresses", Command: pods,
		})
	}
}

// metallbImages are parts of the images of MetalLB's processes.
var metallbImages = []string{"metallb/controller", "metallb/speaker", "metallb-controller", "metallb-speaker"}

func isMetalLB(labels map[string]string, spec *corev1.PodSpec) bool {
	if labels["app.kubernetes.io/name"] == "metallb" || labels["app"] == "metallb" {
		return true
	}
	for _, c := range spec.Containers {
		for _, image := range metallbImages {
			if strings.Contains(c.Image, image) {
				return true
			}
		}
	}
	return false
}

// metallb returns the Deployments of MetalLB's controller that run in a namespace.
func (f *Facts) metallb(namespace string) []string {
	var out []string
	for i := range f.Deployments {
		d := &f.Deployments[i]
		if d.Namespace == namespace && isMetalLB(d.Labels, &d.Spec.Template.Spec) && (d.Spec.Replicas == nil || *d.Spec.Replicas > 0) {
			out = append(out, d.Name)
		}
	}
	return out
}

// metallbCheck looks for a MetalLB that runs beside us, and for a change-over from it that is not finished. Its commands can be taken
// back: who announces addresses is not to be deleted because of a finding.
func metallbCheck(f *Facts, c *check) {
	if p := f.Migration; p != nil && p.Done < p.Steps {
		c.add(Error, Finding{
			What:    fmt.Sprintf("the change-over from MetalLB is not finished: %d of %d steps are done", p.Done, p.Steps),
			Why:     "the command goes on with it, or with --back goes back; leave MetalLB's objects alone until then",
			Command: f.changeOver(f.Namespace),
		})
		return
	}
	severity, twoWrite, twoAnnounce := Error, "two controllers write to the same Services",
		"two processes announce the same addresses, or hold sessions with the same routers"
	switch {
	case f.Controller.Works(f.At):
	case !f.idle():
		severity, twoWrite, twoAnnounce = Warning, "if a controller of Fairlead runs, too, two write to the same Services",
			"if speakers of Fairlead run, too, two announce the same addresses"
	default:
		severity, twoWrite, twoAnnounce = Warning,
			"two controllers would write to the same Services; the command changes over without an address changing",
			"two processes would announce the same addresses"
	}
	namespaces := map[string]bool{}
	for i := range f.Deployments {
		namespaces[f.Deployments[i].Namespace] = true
	}
	for _, ns := range slices.Sorted(maps.Keys(namespaces)) {
		for _, name := range f.metallb(ns) {
			command := f.changeOver(ns)
			if ns != f.Namespace && !f.absent() { // the change-over is for an installation in MetalLB's namespace
				command = fmt.Sprintf("kubectl -n %s scale deployment/%s --replicas=0", ns, name)
			}
			c.add(severity, Finding{What: fmt.Sprintf("MetalLB's controller is still there: Deployment %s/%s", ns, name), Why: twoWrite,
				Command: command})
		}
	}
	for i := range f.DaemonSets {
		d := &f.DaemonSets[i]
		_, parked := d.Spec.Template.Spec.NodeSelector[migrate.Parked]
		if parked || !isMetalLB(d.Labels, &d.Spec.Template.Spec) || d.Status.DesiredNumberScheduled == 0 && d.Status.ObservedGeneration > 0 {
			continue
		}
		command := f.changeOver(d.Namespace)
		if len(f.metallb(d.Namespace)) == 0 || d.Namespace != f.Namespace && !f.absent() {
			command = fmt.Sprintf(`kubectl -n %s patch daemonset %s --type merge -p '{"spec":{"template":{"spec":{"nodeSelector":{"%s":"true"}}}}}'   # no node has this label`, d.Namespace, d.Name, migrate.Parked)
		}
		c.add(severity, Finding{What: fmt.Sprintf("MetalLB's speakers are still there: DaemonSet %s/%s", d.Namespace, d.Name), Why: twoAnnounce,
			Command: command})
	}
}

// proxyCheck looks at kube-proxy, where a speaker answers ARP for addresses that IPVS binds to every node.
func proxyCheck(f *Facts, c *check) {
	l2 := slices.ContainsFunc(f.Snapshot.L2Advertisements(),
		func(a l2Advertisement) bool { return f.Choice.L2Backend(a) == announce.SpeakerBackend })
	if f.Proxy == nil || f.Proxy.Mode != "ipvs" || f.Proxy.IPVS.StrictARP || !l2 {
		return
	}
	c.add(Error, Finding{
		What: "kube-proxy is in IPVS mode without strictARP", Why: "every node answers ARP for every address, whoever is to announce it",
		Command: `kubectl -n kube-system get configmap kube-proxy -o yaml | sed 's/strictARP: false/strictARP: true/' | kubectl apply -f - && kubectl -n kube-system rollout restart daemonset kube-proxy`,
	})
}

// sessionsCheck looks at the BGP sessions of the speakers.
func sessionsCheck(f *Facts, c *check) {
	up, down := map[string]int{}, map[string][]string{}
	said := map[string]string{}
	for i := range f.Sessions {
		s := &f.Sessions[i].Status
		if s.State == backends.Established {
			up[s.Peer]++
			continue
		}
		down[s.Peer] = append(down[s.Peer], s.Node)
		if s.LastError != "" {
			said[s.Peer] = "; " + s.LastError
		}
	}
	for _, peer := range slices.Sorted(maps.Keys(down)) {
		severity, why := Warning, "these nodes advertise nothing to the peer"
		if up[peer] == 0 {
			severity, why = Error, "nobody advertises anything to the peer"
		}
		slices.Sort(down[peer])
		c.add(severity, Finding{What: fmt.Sprintf("no session with BGPPeer %q on %s%s", peer, explain.Some(down[peer]), said[peer]), Why: why,
			Command: f.tool("peers")})
	}
}

// webhookCheck looks at the admission webhook.
func webhookCheck(f *Facts, c *check) {
	if f.Webhook == nil {
		if f.Controller.Settings["webhook"] == "enabled" && !f.Lacks("ValidatingWebhookConfigurations") {
			c.add(Warning, Finding{What: "the controller serves the admission webhook, and nothing leads to it: there is no ValidatingWebhookConfiguration " + admission.ConfigurationName, Why: "faulty objects are not refused", Command: "kubectl apply -f docs/webhook.yaml"})
		}
		return
	}
	fails, empty, served := false, false, false
	for _, w := range f.Webhook.Webhooks {
		fails = fails || w.FailurePolicy == nil || *w.FailurePolicy == admissionregistrationv1.Fail
		empty = empty || len(w.ClientConfig.CABundle) == 0
		served = served || w.ClientConfig.Service != nil
	}
	severity, why := Warning, "faulty objects are not refused"
	if fails {
		severity, why = Error, "the API server refuses every change of metallb.io objects (failurePolicy: Fail)"
	}
	remove := "kubectl delete validatingwebhookconfiguration " + admission.ConfigurationName
	enable := f.command(enableWebhook)
	switch {
	case served && !f.Lacks("Services") && !f.WebhookService:
		c.add(severity, Finding{What: "the Service of the admission webhook does not exist", Why: why, Command: remove})
	case served && !f.Lacks("EndpointSlices") && !f.WebhookReady:
		command := enable
		if f.Controller.Settings["webhook"] == "disabled" {
			command = remove
		}
		c.add(severity, Finding{What: "no endpoint of the Service of the admission webhook serves", Why: why, Command: command})
	case empty:
		c.add(severity, Finding{What: fmt.Sprintf("caBundle of ValidatingWebhookConfiguration %s is empty", admission.ConfigurationName),
			Why: why, Command: enable})
	}
}
