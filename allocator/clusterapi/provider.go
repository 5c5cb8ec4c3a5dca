package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead/fairlead/allocator"
)

// Group is the API group of Cluster API's IPAM contract.
const Group = "ipam.cluster.x-k8s.io"

// Versions are those of the contract that are spoken, the preferred one first.
var Versions = []string{"v1beta2", "v1beta1"}

// What claims are marked with. Labels that mark them as ours come from Options.
const (
	LabelCluster          = "fairlead.io/cluster"
	LabelServiceNamespace = "fairlead.io/service-namespace"
	LabelServiceName      = "fairlead.io/service-name"
	AnnotationClusterUID  = "fairlead.io/cluster-uid"
	AnnotationFamily      = "fairlead.io/family"
	AnnotationPool        = "fairlead.io/allocator-pool"

	// annotationPaused has providers leave a claim alone (Cluster API's contract for all of its objects).
	annotationPaused = "cluster.x-k8s.io/paused"
)

// Options are what a Provider needs.
type Options struct {
	// Connect returns what leads to the API server that has the claims: the cluster's own, or a hub. It is called when Watch begins, and
	// again whenever File, if it is not empty, has changed: credentials expire.
	Connect func() (*rest.Config, error)
	File    string
	// Namespace has the claims.
	Namespace string
	// Cluster is the name by which a hub tells clusters apart; a DNS label, or empty. ClusterUID tells clusters of one name apart: it is
	// the UID of namespace kube-system.
	Cluster, ClusterUID string
	// Labels mark what is ours.
	Labels map[string]string
	Log    *slog.Logger
}

// Provider implements allocator.Provider.
type Provider struct {
	Options

	mu     sync.Mutex // protects all the following
	watch  *watch     // nil: none is under way
	synced chan struct{}
}

// New returns a Provider. It connects to nothing yet.
func New(o Options) *Provider { return &Provider{Options: o, synced: make(chan struct{})} }

// name returns the name of the claim with an ID.
func (p *Provider) name(id string) string {
	if p.Cluster == "" {
		return id
	}
	return p.Cluster + "-" + id
}

// idOf is the reverse of name.
func (p *Provider) idOf(name string) string {
	if p.Cluster == "" {
		return name
	}
	return strings.TrimPrefix(name, p.Cluster+"-")
}

// ours reports whether a claim was made by this installation.
func (p *Provider) ours(o metav1.Object) bool {
	for k, v := range p.marks() {
		if o.GetLabels()[k] != v {
			return false
		}
	}
	return o.GetAnnotations()[AnnotationClusterUID] == p.ClusterUID
}

func (p *Provider) marks() map[string]string {
	out := maps.Clone(p.Labels)
	if out == nil {
		out = map[string]string{}
	}
	out[LabelCluster] = p.Cluster
	return out
}

// Ask implements allocator.Provider.
func (p *Provider) Ask(ctx context.Context, c allocator.Claim) (allocator.Answer, error) {
	conn, err := p.connected()
	if err != nil {
		return allocator.Answer{}, err
	}
	claims, _, err := conn.resources(ctx)
	if err != nil {
		return allocator.Answer{}, err
	}
	pool, err := ParsePool(c.Pool)
	if err != nil {
		return allocator.Answer{Refusal: allocator.RefusedPool, Why: err.Error()}, nil
	}
	if pool.Namespace != "" && pool.Namespace != p.Namespace {
		return allocator.Answer{Refusal: allocator.RefusedPool, Why: p.wrongNamespace(pool)}, nil
	}
	in := conn.client.Resource(claims).Namespace(p.Namespace)
	claim := p.cached(p.name(c.ID))
	if claim == nil {
		fresh := p.newClaim(claims, c, pool)
		claim, err = in.Create(ctx, fresh, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			claim, err = in.Get(ctx, p.name(c.ID), metav1.GetOptions{})
		}
		if err != nil {
			return allocator.Answer{}, fmt.Errorf("create IPAddressClaim %s/%s: %w", p.Namespace, p.name(c.ID), accepted(err))
		}
	}
	if !p.ours(claim) {
		return allocator.Answer{Refusal: allocator.RefusedForeign, Why: fmt.Sprintf(
			"IPAddressClaim %s/%s exists, and another installation or somebody else has made it", p.Namespace, claim.GetName())}, nil
	}
	if claim.GetDeletionTimestamp() != nil {
		return allocator.Answer{Why: fmt.Sprintf("IPAddressClaim %s/%s is being deleted", p.Namespace, claim.GetName())}, nil
	}
	if _, paused := claim.GetAnnotations()[annotationPaused]; paused {
		return allocator.Answer{}, p.bind(ctx, conn, claim, c, pool)
	}
	return p.answer(ctx, claim, pool)
}

func (p *Provider) wrongNamespace(pool PoolRef) string {
	return fmt.Sprintf("%s is in namespace %q; a claim takes addresses only from pools of its own namespace, which is %q", pool, pool.Namespace, p.Namespace)
}

func (p *Provider) newClaim(claims schema.GroupVersionResource, c allocator.Claim, pool PoolRef) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"poolRef": poolRef(pool)}}}
	o.SetGroupVersionKind(claims.GroupVersion().WithKind("IPAddressClaim"))
	o.SetNamespace(p.Namespace)
	o.SetName(p.name(c.ID))
	labels := p.marks()
	labels[LabelServiceNamespace], labels[LabelServiceName] = c.Owner.Namespace, c.Owner.Name
	o.SetLabels(labels)
	annotations := map[string]string{AnnotationClusterUID: p.ClusterUID, AnnotationFamily: c.Family.String(), AnnotationPool: c.Pool}
	if c.Has.IsValid() && pool.adopts() {
		annotations[annotationPaused] = "true"
	}
	o.SetAnnotations(annotations)
	return o
}

func poolRef(p PoolRef) map[string]any {
	return map[string]any{"apiGroup": p.Group, "kind": p.Kind, "name": p.Name}
}

// bind gives a claim that is paused the address that its owner has already, unless somebody has it, and then lets the provider see it.
func (p *Provider) bind(ctx context.Context, conn *connection, claim *unstructured.Unstructured, c allocator.Claim, pool PoolRef) error {
	claims, addresses, err := conn.resources(ctx)
	if err != nil {
		return err
	}
	in := conn.client.Resource(addresses).Namespace(p.Namespace)
	if c.Has.IsValid() && !p.inUse(pool, c.Has) {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"address": c.Has.String(), "prefix": int64(c.Has.BitLen()),
			"claimRef": map[string]any{"name": claim.GetName()}, "poolRef": poolRef(pool),
		}}}
		o.SetGroupVersionKind(addresses.GroupVersion().WithKind("IPAddress"))
		o.SetNamespace(p.Namespace)
		o.SetName(claim.GetName())
		o.SetLabels(p.marks())
		// It goes with the claim, even if no provider has ever looked at it.
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: claim.GetAPIVersion(), Kind: claim.GetKind(), Name: claim.GetName(), UID: claim.GetUID(),
		}})
		if _, err := in.Create(ctx, o, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create IPAddress %s/%s: %w", p.Namespace, claim.GetName(), err)
		}
	}
	patch := []byte(`{"metadata":{"annotations":{"` + annotationPaused + `":null}}}`)
	_, err = conn.client.Resource(claims).Namespace(p.Namespace).Patch(ctx, claim.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("let the provider see IPAddressClaim %s/%s: %w", p.Namespace, claim.GetName(), err)
	}
	return nil
}

// inUse reports whether an IPAddress of a pool is this address.
func (p *Provider) inUse(pool PoolRef, addr netip.Addr) bool {
	w := p.watching()
	if w == nil {
		return true
	}
	list, _ := w.addresses.GetIndexer().ByIndex(byAddress, addr.String())
	for _, x := range list {
		kind, _, _ := unstructured.NestedString(x.(*unstructured.Unstructured).Object, "spec", "poolRef", "kind")
		name, _, _ := unstructured.NestedString(x.(*unstructured.Unstructured).Object, "spec", "poolRef", "name")
		if kind == pool.Kind && name == pool.Name {
			return true
		}
	}
	return false
}

// Release implements allocator.Provider.
func (p *Provider) Release(ctx context.Context, id string) error {
	conn, err := p.connected()
	if err != nil {
		return err
	}
	claims, _, err := conn.resources(ctx)
	if errors.Is(err, errNoCRDs) {
		return nil // and so are the claims
	} else if err != nil {
		return err
	}
	in := conn.client.Resource(claims).Namespace(p.Namespace)
	claim := p.cached(p.name(id))
	if claim == nil {
		claim, err = in.Get(ctx, p.name(id), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read IPAddressClaim %s/%s: %w", p.Namespace, p.name(id), err)
		}
	}
	if !p.ours(claim) {
		return nil
	}
	uid := claim.GetUID()
	err = in.Delete(ctx, claim.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete IPAddressClaim %s/%s: %w", p.Namespace, claim.GetName(), err)
	}
	return nil
}

// List implements allocator.Provider. It waits until Watch has seen all there is.
func (p *Provider) List(ctx context.Context) ([]allocator.Claimed, error) {
	p.mu.Lock()
	synced := p.synced
	p.mu.Unlock()
	select {
	case <-synced:
	case <-ctx.Done():
		return nil, fmt.Errorf("list the IPAddressClaims in namespace %q: %w", p.Namespace, context.Cause(ctx))
	}
	w := p.watching()
	if w == nil {
		return nil, fmt.Errorf("list the IPAddressClaims in namespace %q: nobody watches them", p.Namespace)
	}
	var out []allocator.Claimed
	for _, x := range w.claims.GetStore().List() {
		o := x.(*unstructured.Unstructured)
		if !p.ours(o) || o.GetDeletionTimestamp() != nil {
			continue
		}
		c := Read(o)
		c.ID = p.idOf(c.ID)
		pool, _ := ParsePool(c.Pool)
		answer, err := p.answer(ctx, o, pool)
		if err != nil {
			return nil, err
		}
		out = append(out, allocator.Claimed{Claim: c, Answer: answer})
	}
	return out, nil
}

// Read returns what a claim says of itself. Its ID is its name.
func Read(o *unstructured.Unstructured) allocator.Claim {
	c := allocator.Claim{
		ID: o.GetName(), Pool: o.GetAnnotations()[AnnotationPool], Family: allocator.IPv4,
		Owner: allocator.Owner{Namespace: o.GetLabels()[LabelServiceNamespace], Name: o.GetLabels()[LabelServiceName]},
	}
	if o.GetAnnotations()[AnnotationFamily] == allocator.IPv6.String() {
		c.Family = allocator.IPv6
	}
	return c
}

// answer returns what a provider says to a claim of ours.
func (p *Provider) answer(ctx context.Context, claim *unstructured.Unstructured, pool PoolRef) (allocator.Answer, error) {
	w := p.watching()
	var addresses []*unstructured.Unstructured
	if w != nil {
		list, _ := w.addresses.GetIndexer().ByIndex(byClaim, claim.GetName())
		for _, x := range list {
			addresses = append(addresses, x.(*unstructured.Unstructured))
		}
	}
	if ref := addressRef(claim); ref != "" && len(addresses) == 0 { // the claim may have been seen before its address
		conn, err := p.connected()
		if err != nil {
			return allocator.Answer{}, err
		}
		_, resource, err := conn.resources(ctx)
		if err != nil {
			return allocator.Answer{}, err
		}
		o, err := conn.client.Resource(resource).Namespace(p.Namespace).Get(ctx, ref, metav1.GetOptions{})
		switch {
		case err == nil:
			addresses = append(addresses, o)
		case !apierrors.IsNotFound(err):
			return allocator.Answer{}, fmt.Errorf("read IPAddress %s/%s: %w", p.Namespace, ref, err)
		}
	}
	answer := answerOf(claim, oldestFirst(addresses))
	if answer == (allocator.Answer{}) && w != nil {
		answer.Why = w.shortage(pool, p.Namespace)
	}
	return answer, nil
}

func (p *Provider) watching() *watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watch
}

// cached returns a claim as it was seen last; nil: it has not been seen.
func (p *Provider) cached(name string) *unstructured.Unstructured {
	w := p.watching()
	if w == nil {
		return nil
	}
	o, exists, err := w.claims.GetStore().GetByKey(p.Namespace + "/" + name)
	if err != nil || !exists {
		return nil
	}
	return o.(*unstructured.Unstructured)
}

// Pool implements allocator.Provider.
func (p *Provider) Pool(ctx context.Context, name string) (allocator.PoolState, error) {
	ref, err := ParsePool(name)
	if err != nil {
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: err.Error()}, nil
	}
	if ref.Namespace != "" && ref.Namespace != p.Namespace {
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: p.wrongNamespace(ref)}, nil
	}
	conn, err := p.connected()
	if err != nil {
		return allocator.PoolState{}, err
	}
	m, err := conn.mapping(ref.GroupKind)
	if meta.IsNoMatchError(err) {
		if _, _, err := conn.resources(ctx); err != nil {
			return allocator.PoolState{}, err // it is not certain either
		}
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: fmt.Sprintf(
			"%s: the API server has no kind %q in group %q; install its provider, or name another kind", ref, ref.Kind, ref.Group)}, nil
	} else if err != nil {
		return allocator.PoolState{}, err
	}
	var in dynamic.ResourceInterface = conn.client.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		in = conn.client.Resource(m.Resource).Namespace(p.Namespace)
	}
	o, err := in.Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return allocator.PoolState{Refusal: allocator.RefusedPool, Why: fmt.Sprintf("%s does not exist", ref)}, nil
	case apierrors.IsForbidden(err):
		return allocator.PoolState{}, nil // its kind exists; more may not be seen
	case err != nil:
		return allocator.PoolState{}, fmt.Errorf("read %s: %w", ref, err)
	}
	if w := p.watching(); w != nil {
		w.follow(p, m)
	}
	return counts(o), nil
}

// counts reads what the pools of cluster-api-ipam-provider-in-cluster say of themselves (api/v1alpha2, status.ipAddresses).
func counts(o *unstructured.Unstructured) allocator.PoolState {
	free, ok, _ := unstructured.NestedInt64(o.Object, "status", "ipAddresses", "free")
	total, _, _ := unstructured.NestedInt64(o.Object, "status", "ipAddresses", "total")
	return allocator.PoolState{Counted: ok, Free: free, Total: total}
}

// Watch implements allocator.Provider.
func (p *Provider) Watch(ctx context.Context, changed func(id string)) error {
	conn, err := p.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, err := newWatch(ctx, p, conn, changed, cancel)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.watch = w // its events ask for it
	p.mu.Unlock()
	w.run()
	defer func() {
		cancel(nil)
		w.wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.watch, p.synced = nil, make(chan struct{})
	}()
	if p.File != "" {
		w.group.Go(func() { cancel(fileChange(ctx, p.File)) })
	}
	if cache.WaitForCacheSync(ctx.Done(), w.claims.HasSynced, w.addresses.HasSynced) {
		p.mu.Lock()
		close(p.synced)
		p.mu.Unlock()
		<-ctx.Done()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

var _ allocator.Provider = &Provider{}
