package survey

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/internal/process/cli"
)

// NewScheme knows all kinds that are read.
func NewScheme() *runtime.Scheme { return cli.NewScheme(apiextensionsv1.AddToScheme) }
