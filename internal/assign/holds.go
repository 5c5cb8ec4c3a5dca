package assign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// holdKeeper keeps an AddressReservation for each Service with a hold, so that the addresses stay the Service's for a while after it
// is gone, over a restart of the controller, too.
type holdKeeper struct {
	Client    client.Client
	Assigner  *Assigner
	Namespace string
	Log       *slog.Logger
	Now       func() time.Time

	adopted adopted
	owners  sync.Map // name of a hold -> allocator.Owner; an object that is gone cannot tell any more
}

// holdName returns the name of the AddressReservation that holds the addresses of a Service: readable at the front, unique by
// the first 16 digits of the SHA-256 of "namespace/name".
func holdName(owner allocator.Owner) string {
	sum := sha256.Sum256([]byte(owner.String()))
	return "hold-" + owner.Name[:min(len(owner.Name), 40)] + "-" + hex.EncodeToString(sum[:8])
}

// ensure makes the AddressReservation of svc say what v says, before the Service itself does.
func (h *holdKeeper) ensure(ctx context.Context, svc *corev1.Service, v Verdict) error {
	owner := ownerOf(svc)
	key := types.NamespacedName{Namespace: h.Namespace, Name: holdName(owner)}
	var o v1alpha1.AddressReservation
	err := h.Client.Get(ctx, key, &o)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("read the hold of service %s: %w", owner, err)
	case len(v.Foreign) > 0:
		return nil // what it holds stays its own, and so does the hold
	case (v.Hold == 0 || v.Held.IsZero()) && err == nil && config.Hold(&o):
		return client.IgnoreNotFound(h.Client.Delete(ctx, &o, client.Preconditions{UID: &o.UID}))
	case v.Hold == 0 || v.Held.IsZero():
		return nil
	}
	spec := v1alpha1.AddressReservationSpec{
		Service:         &v1alpha1.ServiceReference{Namespace: owner.Namespace, Name: owner.Name},
		HoldAfterDelete: &metav1.Duration{Duration: v.Hold},
	}
	for _, a := range v.Held.Addrs() {
		spec.Addresses = append(spec.Addresses, netip.PrefixFrom(a, a.BitLen()).String())
	}
	h.owners.Store(key.Name, owner)
	if err != nil {
		o = v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{backends.LabelManagedBy: backends.ManagedBy},
		}, Spec: spec}
		if err := h.Client.Create(ctx, &o, client.FieldOwner(service.FieldManager)); err != nil {
			return fmt.Errorf("create the hold of service %s: %w", owner, err)
		}
		h.Assigner.HoldRecorded(owner)
		return nil
	}
	h.Assigner.HoldRecorded(owner)
	if slices.Equal(o.Spec.Addresses, spec.Addresses) && config.Hold(&o) && o.Spec.HoldAfterDelete.Duration == v.Hold {
		return nil
	}
	return h.patch(ctx, &o, h.Client.Patch, map[string]any{"spec": spec})
}

type patcher func(context.Context, client.Object, client.Patch, ...client.PatchOption) error

func (h *holdKeeper) patch(ctx context.Context, o *v1alpha1.AddressReservation, do patcher, change map[string]any) error {
	change["metadata"] = map[string]any{"resourceVersion": o.ResourceVersion}
	b, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode hold %q: %w", o.Name, err)
	}
	err = do(ctx, o, client.RawPatch(types.MergePatchType, b), client.FieldOwner(service.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write hold %q: %w", o.Name, err)
	}
	return nil
}

// Reconcile starts the time of a hold whose Service is gone, stops it if the Service is back, and ends the hold when it is over.
func (h *holdKeeper) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var o v1alpha1.AddressReservation
	if err := h.Client.Get(ctx, req.NamespacedName, &o); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		gone, err := h.adopted.gone(ctx, req.NamespacedName, &v1alpha1.AddressReservation{})
		if owner, ok := h.owners.Load(req.Name); gone && ok {
			h.owners.Delete(req.Name)
			h.Assigner.EndHold(owner.(allocator.Owner))
		}
		return reconcile.Result{}, err
	}
	h.adopted.seen(req.NamespacedName)
	if !config.Hold(&o) || o.Spec.Service == nil {
		return reconcile.Result{}, nil
	}
	owner := allocator.Owner{Namespace: o.Spec.Service.Namespace, Name: o.Spec.Service.Name}
	h.owners.Store(o.Name, owner)
	var svc corev1.Service
	err := h.Client.Get(ctx, types.NamespacedName(owner), &svc)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	gone := err != nil || !h.Assigner.serves(&svc)
	setExpiry := func(at any) error {
		return h.patch(ctx, &o, func(ctx context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
			return h.Client.Status().Patch(ctx, o, p, client.FieldOwner(service.FieldManager))
		}, map[string]any{"status": map[string]any{"expiresAt": at}})
	}
	switch {
	case !gone && o.Status.ExpiresAt != nil:
		return reconcile.Result{}, setExpiry(nil)
	case !gone:
		return reconcile.Result{}, nil
	case o.Status.ExpiresAt == nil:
		hold := o.Spec.HoldAfterDelete.Duration
		// Times in objects have no fractions of a second: round up, so that a hold never ends early.
		end := metav1.NewTime(h.Now().Add(hold + time.Second).Truncate(time.Second))
		return reconcile.Result{RequeueAfter: end.Sub(h.Now())}, setExpiry(end)
	}
	if left := o.Status.ExpiresAt.Sub(h.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	h.Log.Info("hold is over", "service", owner.String(), "addrs", o.Spec.Addresses)
	if err := h.Client.Delete(ctx, &o,
		client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion}); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete hold %q: %w", o.Name, err)
	}
	return reconcile.Result{}, nil // its end releases the addresses
}

// adopt notes holds that existed before their events were listened to.
func (h *holdKeeper) adopt(holds []v1alpha1.AddressReservation) {
	for i := range holds {
		if o := &holds[i]; config.Hold(o) && o.Spec.Service != nil {
			h.owners.Store(o.Name, allocator.Owner{Namespace: o.Spec.Service.Namespace, Name: o.Spec.Service.Name})
			h.adopted.add(client.ObjectKeyFromObject(o))
		}
	}
}

// reservedBy returns the addresses that holds keep.
func reservedBy(holds []v1alpha1.AddressReservation) []Reserved {
	var out []Reserved
	for i := range holds {
		o := &holds[i]
		if !config.Hold(o) || o.Spec.Service == nil {
			continue
		}
		r := Reserved{Owner: allocator.Owner{Namespace: o.Spec.Service.Namespace, Name: o.Spec.Service.Name}}
		for _, s := range o.Spec.Addresses {
			if p, err := netip.ParsePrefix(s); err == nil && p.IsSingleIP() {
				r.Addrs = append(r.Addrs, p.Addr())
			}
		}
		out = append(out, r)
	}
	return out
}
