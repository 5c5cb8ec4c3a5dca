package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// StateName is the ConfigMap that keeps the state, in the namespace of the installation.
const (
	StateName = "fairlead-migration"
	stateKey  = "state.json"
)

// Progress is how far a change-over is.
type Progress struct{ Done, Steps int }

// ReadProgress returns how far the change-over in a namespace is; nil if none was begun. Of a state that cannot be read no step is done.
func ReadProgress(ctx context.Context, c client.Reader, namespace string) (*Progress, error) {
	o := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: StateName}, o); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	var s struct{ Done int }
	if json.Unmarshal([]byte(o.Data[stateKey]), &s) != nil {
		s.Done = 0
	}
	return &Progress{Done: s.Done, Steps: len(steps)}, nil
}

// state is what is kept of a change-over.
type state struct {
	Began time.Time `json:"began"`
	// Done is how many steps are done. The next one may have been begun.
	Done int `json:"done"`
	// Addresses are those of every Service, as namespace/name.
	Addresses map[string][]string `json:"addresses"`
	// Told are the Services that MetalLB's speakers told they announce.
	Told []string `json:"told,omitempty"`
	// Controller is MetalLB's Deployment, and how many replicas it had.
	Controller string `json:"controller"`
	Replicas   int32  `json:"replicas"`
	// Speakers are the DaemonSets that announce.
	Speakers []string `json:"speakers,omitempty"`
	// Release is MetalLB's Helm release, if it is one.
	Release string `json:"release,omitempty"`
	// Class is the loadBalancerClass that MetalLB serves.
	Class string `json:"class,omitempty"`
	// CRDs are what was there before of those that are handed over.
	CRDs map[string]ownership `json:"crds"`
	// Webhook is MetalLB's, as it was.
	Webhook *admissionregistrationv1.ValidatingWebhookConfiguration `json:"webhook,omitempty"`

	object *corev1.ConfigMap
}

// ownership is what a CRD says of the release that it belongs to, and of how its versions are converted.
type ownership struct {
	Labels      map[string]string                         `json:"labels,omitempty"`
	Annotations map[string]string                         `json:"annotations,omitempty"`
	Conversion  *apiextensionsv1.CustomResourceConversion `json:"conversion,omitempty"`
}

// load reads the state; nil if there is none.
func (m *Migration) load(ctx context.Context) (*state, error) {
	o := &corev1.ConfigMap{}
	err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: StateName}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a change-over that has begun: %w", err)
	}
	s := &state{object: o}
	if err := json.Unmarshal([]byte(o.Data[stateKey]), s); err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s data[%s]: %w; it was changed by hand", m.Namespace, StateName, stateKey, err)
	}
	return s, nil
}

// begin keeps what was found.
func (m *Migration) begin(ctx context.Context, f *found) error {
	m.state = &state{
		Began: time.Now().UTC().Truncate(time.Second), Addresses: f.addresses, Told: f.told, Controller: f.controller.Name, Replicas: 1,
		Release: f.release, Class: f.class, CRDs: map[string]ownership{}, Webhook: f.webhook,
	}
	if r := f.controller.Spec.Replicas; r != nil {
		m.state.Replicas = *r
	}
	for _, d := range f.speakers {
		m.state.Speakers = append(m.state.Speakers, d.Name)
	}
	for _, crd := range f.crds {
		m.state.CRDs[crd.Name] = ownership{Labels: crd.Labels, Annotations: crd.Annotations, Conversion: crd.Spec.Conversion}
	}
	m.state.object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: StateName, Labels: map[string]string{"app.kubernetes.io/managed-by": "kubectl-fairlead"},
	}}
	return m.save(ctx)
}

// save keeps the state. It fails if somebody else has changed it in the meantime.
func (m *Migration) save(ctx context.Context) error {
	text, err := json.Marshal(m.state)
	if err != nil {
		return err
	}
	o := m.state.object
	o.Data = map[string]string{stateKey: string(text)}
	write := m.client.Update
	if o.ResourceVersion == "" {
		write = func(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
			return m.client.Create(ctx, o)
		}
	}
	if err := write(ctx, o); err != nil {
		return fmt.Errorf("keep the state in ConfigMap %s/%s: %w; is somebody else at it?", m.Namespace, StateName, err)
	}
	return nil
}

// forget removes the state.
func (m *Migration) forget(ctx context.Context) error {
	return client.IgnoreNotFound(m.client.Delete(ctx, m.state.object))
}
