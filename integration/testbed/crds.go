package testbed

import (
	"context"
	"errors"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// crdStays is how long a CRD may be deleted without being gone before it is touched.
const crdStays = 5 * time.Second

// AwaitCRDGone waits until a CRD that has been deleted is gone. It touches one that stays: if a write of the API server's finalizer meets that
// of somebody else, it waits for an event, and the event that comes is about its own condition Terminating, which it passes over
// (updateCustomResourceDefinition in pkg/controller/finalizer/crd_finalizer.go of k8s.io/apiextensions-apiserver).
func AwaitCRDGone(t testing.TB, c client.Client, name string) {
	t.Helper()
	touched := time.Now()
	Eventually(t, "CRD "+name+" to go", func(ctx context.Context) error {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := c.Get(ctx, client.ObjectKey{Name: name}, &crd); err != nil {
			return client.IgnoreNotFound(err)
		}
		if time.Since(touched) > crdStays {
			touched = time.Now()
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"touched":"`+touched.Format(time.RFC3339Nano)+`"}}}`))
			if err := c.Patch(ctx, &crd, patch); err != nil {
				return client.IgnoreNotFound(err)
			}
			t.Logf("CRD %s stayed for %s: touched", name, crdStays)
		}
		return errors.New("still there")
	})
}
