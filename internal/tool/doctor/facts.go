package doctor

import (
	"context"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/crds"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config/password"
	"github.com/fairlead/fairlead/internal/controller/admission"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Facts are what the checks look at.
type Facts struct {
	*survey.Model
	// CRDs are those of the cluster, by name; nil: they could not be read.
	CRDs map[string]*apiextensionsv1.CustomResourceDefinition
	// Wanted are those of this version.
	Wanted []*apiextensionsv1.CustomResourceDefinition
	// Deployments and DaemonSets are those of all namespaces.
	Deployments []appsv1.Deployment
	DaemonSets  []appsv1.DaemonSet
	// Proxy is kube-proxy's configuration; nil: there is none, or it could not be read.
	Proxy *Proxy
	// Webhook is the configuration of the admission webhook; nil: there is none.
	Webhook *admissionregistrationv1.ValidatingWebhookConfiguration
	// WebhookService is set if the Service that the webhook names exists; WebhookReady, if an endpoint of it serves.
	WebhookService, WebhookReady bool
	// Memberlist is set if the speakers' Secret exists; MemberlistKnown, if that could be found out.
	Memberlist, MemberlistKnown bool
	// Migration is how far a change-over from MetalLB in the namespace of the installation is; nil: none was begun.
	Migration *migrate.Progress
	// ControllerPods are those of the controller.
	ControllerPods []corev1.Pod
	// Pods are those of the speakers. SpeakerPods are the nodes with one that runs; nil: no pod was found, or none may be read.
	Pods        []corev1.Pod
	SpeakerPods map[string]bool
	// Refused is why Kubernetes makes no pods of the speakers' DaemonSet, as its events say; empty: nothing is known of that.
	Refused string
	// Rehearsed are what the backends that write a CNI's objects would find, where no controller tells: by name, with what keeps them
	// from finding out.
	Rehearsed map[string]Rehearsed
	// Seen says why a controller that looks for a backend itself would find none; Detected is what it would see. They are known only
	// where no controller tells.
	Seen     string
	Detected []backends.Fact
}

// Rehearsed is what a backend would find.
type Rehearsed struct {
	Outcome *backends.Outcome // nil: the CNI was not reached
	Err     error
}

// Proxy is what matters of kube-proxy's configuration.
type Proxy struct {
	Mode string `json:"mode"`
	IPVS struct {
		StrictARP bool `json:"strictARP"`
	} `json:"ipvs"`
}

func (f *Facts) crdsKnown() bool { return f.CRDs != nil }

// memberlistSecret is the name of the speakers' Secret unless a flag says otherwise.
const memberlistSecret = "memberlist"

// Read reads the facts. What may not be read is a Gap of the Survey.
func Read(ctx context.Context, c client.Client, m *survey.Model, o rehearse.Options) (*Facts, error) {
	f := &Facts{Model: m, Rehearsed: map[string]Rehearsed{}}
	var err error
	if f.Wanted, err = crds.All(); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, client.Client) error{f.readCRDs, f.readWorkloads, f.readProxy, f.readWebhook,
		f.readMemberlist, f.readPods, f.readEvents, f.readMigration} {
		if err := read(ctx, c); err != nil {
			return nil, err
		}
	}
	if f.idle() {
		f.rehearse(ctx, c, o)
	}
	return f, nil
}

// note keeps an error as a Gap if it is of a kind that leaves the rest readable.
func (f *Facts) note(what string, err error) error {
	if err == nil || apierrors.IsForbidden(err) || meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		if err != nil && !apierrors.IsNotFound(err) && !f.Lacks(what) {
			f.Gaps = append(f.Gaps, survey.GapOf(what, err))
		}
		return nil
	}
	return fmt.Errorf("read %s: %w", what, err)
}

func (f *Facts) readCRDs(ctx context.Context, c client.Client) error {
	var list apiextensionsv1.CustomResourceDefinitionList
	if err := c.List(ctx, &list); err != nil {
		return f.note("CustomResourceDefinitions", err)
	}
	f.CRDs = map[string]*apiextensionsv1.CustomResourceDefinition{}
	for i := range list.Items {
		f.CRDs[list.Items[i].Name] = &list.Items[i]
	}
	return nil
}

func (f *Facts) readWorkloads(ctx context.Context, c client.Client) error {
	var deployments appsv1.DeploymentList
	var daemonSets appsv1.DaemonSetList
	// Whose permissions end at the installation's namespace sees what is there.
	for _, l := range []struct {
		what string
		list client.ObjectList
	}{{"Deployments", &deployments}, {"DaemonSets", &daemonSets}} {
		err := c.List(ctx, l.list)
		if apierrors.IsForbidden(err) {
			if err := f.note(l.what+" of other namespaces", err); err != nil {
				return err
			}
			err = c.List(ctx, l.list, client.InNamespace(f.Namespace))
		}
		if err := f.note(l.what, err); err != nil {
			return err
		}
	}
	f.Deployments, f.DaemonSets = deployments.Items, daemonSets.Items
	return nil
}

func (f *Facts) readProxy(ctx context.Context, c client.Client) error {
	var cm corev1.ConfigMap
	if err := c.Get(ctx, types.NamespacedName{Namespace: metav1.NamespaceSystem, Name: "kube-proxy"}, &cm); err != nil {
		return f.note("ConfigMap kube-system/kube-proxy", err)
	}
	p := &Proxy{}
	if yaml.Unmarshal([]byte(cm.Data["config.conf"]), p) == nil {
		f.Proxy = p
	}
	return nil
}

func (f *Facts) readWebhook(ctx context.Context, c client.Client) error {
	var o admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.Get(ctx, types.NamespacedName{Name: admission.ConfigurationName}, &o); err != nil {
		return f.note("ValidatingWebhookConfigurations", err)
	}
	f.Webhook = &o
	for _, w := range o.Webhooks {
		s := w.ClientConfig.Service
		if s == nil {
			continue
		}
		f.WebhookService = f.Service(s.Namespace, s.Name) != nil
		f.WebhookReady = f.Endpoints(s.Namespace, s.Name).Any
	}
	return nil
}

func (f *Facts) readMemberlist(ctx context.Context, c client.Client) error {
	name := memberlistSecret
	if set, ok := f.Controller.Settings["memberlist-secret"]; ok && set != "" {
		name = set
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.Get(ctx, types.NamespacedName{Namespace: f.Namespace, Name: name}, o)
	f.Memberlist, f.MemberlistKnown = err == nil, err == nil || apierrors.IsNotFound(err)
	if apierrors.IsForbidden(err) && !f.usesSpeakers() {
		return nil // it does not matter
	}
	return f.note("Secret "+name, err)
}

func (f *Facts) readPods(ctx context.Context, c client.Client) error {
	for _, of := range []struct {
		labels client.MatchingLabels
		to     *[]corev1.Pod
	}{{survey.ControllerLabels, &f.ControllerPods}, {survey.SpeakerLabels, &f.Pods}} {
		var list corev1.PodList
		if err := c.List(ctx, &list, client.InNamespace(f.Namespace), of.labels); err != nil {
			return f.note("Pods", err)
		}
		*of.to = list.Items
	}
	for _, p := range f.Pods {
		if p.Status.Phase != corev1.PodRunning {
			continue
		}
		if f.SpeakerPods == nil {
			f.SpeakerPods = map[string]bool{}
		}
		f.SpeakerPods[p.Spec.NodeName] = true
	}
	return nil
}

// readEvents finds out why the speakers have no pods. That events may not be read is no gap: they only say more of what is known.
func (f *Facts) readEvents(ctx context.Context, c client.Client) error {
	set := f.speakerSet()
	if set == nil || len(f.Pods) > 0 {
		return nil
	}
	var list corev1.EventList
	if c.List(ctx, &list, client.InNamespace(f.Namespace), client.MatchingFields{"involvedObject.kind": "DaemonSet",
		"involvedObject.name": set.Name}) != nil {
		return nil
	}
	var last time.Time
	for _, e := range list.Items {
		if e.Reason == failedCreate && !e.LastTimestamp.Time.Before(last) {
			f.Refused, last = e.Message, e.LastTimestamp.Time
		}
	}
	return nil
}

// failedCreate is the reason of the events of a DaemonSet whose pods are refused.
const failedCreate = "FailedCreate"

// usesSpeakers reports whether speakers serve any advertisement.
func (f *Facts) usesSpeakers() bool {
	for _, a := range f.Snapshot.BGPAdvertisements() {
		if f.Choice.Backend(a) == announce.SpeakerBackend {
			return true
		}
	}
	for _, a := range f.Snapshot.L2Advertisements() {
		if f.Choice.L2Backend(a) == announce.SpeakerBackend {
			return true
		}
	}
	return false
}

// rehearse finds out what the backends would find.
func (f *Facts) rehearse(ctx context.Context, c client.Client, o rehearse.Options) {
	if !f.ChoiceKnown {
		choice, seen, facts, err := delegate.Look(ctx, o.Discovery, o.Dynamic, o.CiliumNamespace, f.Asked())
		if err != nil {
			f.Gaps = append(f.Gaps, survey.Gap{What: "the CNI", Why: err.Error()})
			return
		}
		f.Choice, f.Seen, f.Detected = choice, seen, facts
	}
	shares := announce.Delegated(f.Input(password.Of(ctx, c, f.Namespace)))
	for _, name := range rehearse.Backends {
		stage, err := rehearse.New(name, o)
		if err != nil {
			f.Rehearsed[name] = Rehearsed{Err: err}
			continue
		}
		want := shares[name].Desired
		r, err := stage.Apply(ctx, want)
		f.Rehearsed[name] = Rehearsed{Outcome: r.Outcome, Err: err}
	}
}

func (f *Facts) readMigration(ctx context.Context, c client.Client) error {
	p, err := migrate.ReadProgress(ctx, c, f.Namespace)
	if err != nil {
		return f.note("ConfigMap "+migrate.StateName, err)
	}
	f.Migration = p
	return nil
}

// deployment returns the controller's Deployment, nil if it is not to be seen.
func (f *Facts) deployment() *appsv1.Deployment {
	for i := range f.Deployments {
		if d := &f.Deployments[i]; d.Namespace == f.Namespace && d.Name == f.Controller.Deployment {
			return d
		}
	}
	return nil
}

// idle reports whether it is certain that no controller works. What may not be read proves nothing.
func (f *Facts) idle() bool {
	k := f.Controller
	switch {
	case k.Works(f.At), f.Lacks("Leases"):
		return false
	case k.LeaseFound:
		return true
	}
	// One that runs with --leader-elect=false has no Lease; what says so are the flags of its Deployment.
	if d := f.deployment(); d != nil {
		return k.Settings["leader-elect"] != "false" || d.Status.ReadyReplicas == 0
	}
	return !f.Lacks("Deployments")
}

// absent reports whether it is certain that there is no installation.
func (f *Facts) absent() bool {
	return f.deployment() == nil && !f.Lacks("Deployments") && f.idle()
}
