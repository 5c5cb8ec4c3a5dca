package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// TestSetUp: without the kinds, the message says how to get them, whichever way the API server is asked for them.
func TestSetUp(t *testing.T) {
	require.NoError(t, SetUp(nil))
	kind := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "metallb.io", Kind: "Community"}}
	group := apiutil.ErrResourceDiscoveryFailed{schema.GroupVersion{Group: "metallb.io", Version: "v1beta1"}: &meta.NoResourceMatchError{}}
	for _, missing := range []error{kind, fmt.Errorf("find out: %w", &group)} {
		err := SetUp(missing)
		require.ErrorIs(t, err, missing)
		assert.ErrorContains(t, err, "-f api/crds")
	}
	assert.EqualError(t, SetUp(errors.New("connection refused")), "set up: connection refused")
}
