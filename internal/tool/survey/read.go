package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
)

// DefaultNamespace is where an installation is looked for if nothing says where it is.
const DefaultNamespace = "metallb-system"

// LeaseName is the Lease of the controller.
const LeaseName = "fairlead-controller"

// HelmRelease and HelmNamespace are the annotations by which Helm knows its objects. What helm template has rendered has neither.
const (
	HelmRelease   = "meta.helm.sh/release-name"
	HelmNamespace = "meta.helm.sh/release-namespace"
)

// ControllerLabels and SpeakerLabels are what the chart gives its Deployment, its DaemonSet and their pods.
var (
	ControllerLabels = client.MatchingLabels{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "controller"}
	SpeakerLabels    = client.MatchingLabels{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "speaker"}
)

// Kinds of which there are as many objects as Services, or more; most commands do without.
const (
	EndpointSlices     = "EndpointSlices"
	ServiceL2Statuses  = "ServiceL2Statuses"
	ServiceBGPStatuses = "ServiceBGPStatuses"
)

// Read reads everything. What cannot be read is a Gap; the error is that the API server could not be reached. Of the kinds to spare it only
// finds out whether they can be read.
func Read(ctx context.Context, c client.Reader, namespace string, spare ...string) (*Survey, error) {
	return ReadAt(ctx, c, namespace, time.Now(), spare...)
}

// ReadAt is Read at a time.
func ReadAt(ctx context.Context, c client.Reader, namespace string, at time.Time, spare ...string) (*Survey, error) {
	s := &Survey{Namespace: namespace, At: at, Namespaces: map[string]labels.Set{}, spared: spare}
	in := []client.ListOption{client.InNamespace(namespace)}
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	var services corev1.ServiceList
	var nodes corev1.NodeList
	var endpoints discoveryv1.EndpointSliceList
	var backends v1alpha1.BackendList
	var states v1beta1.ConfigurationStateList
	var l2 v1beta1.ServiceL2StatusList
	var bgp v1beta1.ServiceBGPStatusList
	var sessions v1alpha1.BGPSessionList
	lists := []config.Listed{
		{What: "Services", List: &services}, {What: "Namespaces", List: namespaces}, {What: "Nodes", List: &nodes},
		{What: EndpointSlices, List: &endpoints}, {What: "Backends", List: &backends},
		{What: "ConfigurationStates", List: &states, Options: in}, {What: ServiceL2Statuses, List: &l2, Options: in},
		{What: ServiceBGPStatuses, List: &bgp, Options: in}, {What: "BGPSessions", List: &sessions, Options: in},
	}
	for i := range lists {
		if slices.Contains(spare, lists[i].What) {
			lists[i].Options = append(slices.Clip(lists[i].Options), client.Limit(1))
		}
	}
	var errs []error
	var all sync.WaitGroup
	all.Go(func() { errs = config.ListAll(ctx, c, lists...) })
	objects, failed := config.ListWhatCan(ctx, c, namespace)
	all.Wait()
	s.Config = objects
	for _, err := range failed {
		if err := s.gap(kindIn(err), err); err != nil {
			return nil, err
		}
	}
	for i, err := range errs {
		if err == nil && slices.Contains(spare, lists[i].What) {
			err = meta.SetList(lists[i].List, nil)
		}
		if err != nil {
			if err := s.gap(lists[i].What, err); err != nil {
				return nil, err
			}
		}
	}
	s.Services, s.Nodes, s.Slices, s.Backends = services.Items, nodes.Items, endpoints.Items, backends.Items
	s.States, s.L2, s.BGP, s.Sessions = states.Items, l2.Items, bgp.Items, sessions.Items
	for i := range namespaces.Items {
		s.Namespaces[namespaces.Items[i].Name] = namespaces.Items[i].Labels
	}
	if err := s.readController(ctx, c); err != nil {
		return s, err
	}
	if err := s.readClaims(ctx, c); err != nil {
		return s, err
	}
	return s, s.readSilent(ctx, c)
}

// kindIn returns the kind that an error of config.ListWhatCan is about.
func kindIn(err error) string {
	return strings.Fields(err.Error())[1]
}

// gap notes that a kind could not be read; it returns an error if it seems that nothing can be.
func (s *Survey) gap(what string, err error) error {
	if !apierrors.IsForbidden(err) && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read %s: %w", what, err)
	}
	s.Gaps = append(s.Gaps, GapOf(what, err))
	return nil
}

func (s *Survey) readController(ctx context.Context, c client.Reader) error {
	var deployments appsv1.DeploymentList
	if err := c.List(ctx, &deployments, client.InNamespace(s.Namespace), ControllerLabels); err != nil {
		if err := s.gap("Deployments", err); err != nil {
			return err
		}
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		s.Controller.Deployment, s.Controller.Settings, s.Controller.Release = d.Name, settingsOf(d), d.Annotations[HelmRelease]
		s.Controller.Replicas, s.Controller.Ready = 1, d.Status.ReadyReplicas
		if d.Spec.Replicas != nil {
			s.Controller.Replicas = *d.Spec.Replicas
		}
		for _, x := range d.Spec.Template.Spec.Containers {
			if x.Name == "controller" {
				s.Controller.Image = x.Image
			}
		}
		s.Controller.Version = VersionOf(s.Controller.Image, d.Labels)
	}
	var lease coordinationv1.Lease
	err := c.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: LeaseName}, &lease)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return s.gap("Leases", err)
	}
	s.Controller.LeaseFound = true
	if h := lease.Spec.HolderIdentity; h != nil {
		s.Controller.Leader = *h
	}
	if r := lease.Spec.RenewTime; r != nil {
		s.Controller.Renewed = r.Time
	}
	if d := lease.Spec.LeaseDurationSeconds; d != nil {
		s.Controller.LeaseFor = time.Duration(*d) * time.Second
	}
	return nil
}

// VersionOf returns the version of an image: its tag, or, where it is named by its digest alone, what the labels of its workload say.
func VersionOf(image string, labels map[string]string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[i+1:]
	}
	return labels["app.kubernetes.io/version"]
}

// ReadController reads only what is known of the controller, and whether the API server has our kinds.
func ReadController(ctx context.Context, c client.Reader, namespace string) (*Survey, error) {
	s := &Survey{Namespace: namespace, At: time.Now()}
	if _, err := withPools(ctx, c, client.InNamespace(namespace), client.Limit(1)); err != nil {
		if err := s.gap("IPAddressPools", err); err != nil {
			return nil, err
		}
	}
	return s, s.readController(ctx, c)
}

// FindNamespace returns the namespace of the installation: the only one with IPAddressPools; of several, the only one with the Lease
// of a controller; otherwise if there is none, or if they may not be listed. near is a namespace that a user has named for another
// reason, or empty: if it has IPAddressPools, it is taken.
func FindNamespace(ctx context.Context, c client.Reader, near, otherwise string) (string, error) {
	all, err := withPools(ctx, c)
	if apierrors.IsForbidden(err) && near != "" {
		all, err = withPools(ctx, c, client.InNamespace(near))
	}
	switch {
	case apierrors.IsForbidden(err), meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return otherwise, nil
	case err != nil:
		return "", fmt.Errorf("look for IPAddressPools: %w", err)
	case slices.Contains(all, near):
		return near, nil
	case len(all) == 0:
		return otherwise, nil
	case len(all) == 1:
		return all[0], nil
	}
	var led []string
	for _, ns := range all {
		if c.Get(ctx, types.NamespacedName{Namespace: ns, Name: LeaseName}, &coordinationv1.Lease{}) == nil {
			led = append(led, ns)
		}
	}
	if len(led) == 1 {
		return led[0], nil
	}
	return "", fmt.Errorf("%w: there are IPAddressPools in the namespaces %s; choose one by --system-namespace", ErrAmbiguous,
		strings.Join(all, ", "))
}

// withPools returns the namespaces that have IPAddressPools, sorted.
func withPools(ctx context.Context, c client.Reader, in ...client.ListOption) ([]string, error) {
	pools := &metav1.PartialObjectMetadataList{}
	pools.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("IPAddressPoolList"))
	if err := c.List(ctx, pools, in...); err != nil {
		return nil, err
	}
	var all []string
	for _, p := range pools.Items {
		all = append(all, p.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// ErrAmbiguous: several namespaces could be that of the installation.
var ErrAmbiguous = errors.New("which installation is meant is not clear")

// ReadService adds a Service and its EndpointSlices to a Survey whose reader may not list those of all namespaces. It returns false if
// there is no such Service; what may not be read is a Gap. Copies of the Survey do not see what is added.
func (s *Survey) ReadService(ctx context.Context, c client.Reader, namespace, name string) (found bool, err error) {
	if s.Service(namespace, name) != nil {
		return true, nil
	}
	var svc corev1.Service
	if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &svc); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("read Service %s/%s: %w", namespace, name, err)
	}
	s.Services = append(slices.Clip(s.Services), svc)
	if s.Lacks("EndpointSlices") {
		var list discoveryv1.EndpointSliceList
		if c.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{discoveryv1.LabelServiceName: name}) == nil {
			s.Slices = append(slices.Clip(s.Slices), list.Items...)
			s.Gaps = slices.DeleteFunc(slices.Clone(s.Gaps), func(g Gap) bool { return g.What == "EndpointSlices" })
		}
	}
	return true, nil
}
