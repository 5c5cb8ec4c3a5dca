// Package crds holds the CustomResourceDefinitions generated from the types in api.
package crds

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// FS holds one YAML file for each CustomResourceDefinition.
//
//go:embed *.yaml
var FS embed.FS

// All returns every CustomResourceDefinition, sorted by name. Each call returns fresh objects.
// A field that CustomResourceDefinition does not know is an error.
func All() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	entries, err := FS.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, entry := range entries {
		text, err := FS.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			return nil, fmt.Errorf("decode %s: %w", entry.Name(), err)
		}
		all = append(all, crd)
	}
	slices.SortFunc(all, func(a, b *apiextensionsv1.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
