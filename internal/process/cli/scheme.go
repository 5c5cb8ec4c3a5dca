package cli

import (
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// NewScheme knows Kubernetes' own kinds, ours, and those that more adds.
func NewScheme(more ...func(*runtime.Scheme) error) *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range append([]func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1alpha1.AddToScheme, v1beta1.AddToScheme, v1beta2.AddToScheme,
	}, more...) {
		utilruntime.Must(add(s))
	}
	return s
}
