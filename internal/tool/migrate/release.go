package migrate

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// maxRelease is how much a release may hold once it is unpacked. A Secret has at most 1 MiB.
const maxRelease = 64 << 20

// release is what we read of a Helm release.
type release struct {
	Name   string         `json:"name"`
	Config map[string]any `json:"config"`
	Chart  struct {
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"chart"`
}

// ReleaseValues returns the values that the newest revision of a Helm release was given, as YAML.
func ReleaseValues(ctx context.Context, c client.Client, namespace, name string) ([]byte, error) {
	all, err := releases(ctx, c, namespace, client.MatchingLabels{"name": name})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no Helm release %q in namespace %q; 'helm list -A' shows them", name, namespace)
	}
	return yaml.Marshal(all[0].Config)
}

// releases reads the newest revision of every Helm release in a namespace. Helm keeps each revision in a Secret: gzipped JSON in
// base64.
func releases(ctx context.Context, c client.Client, namespace string, selected client.MatchingLabels) ([]release, error) {
	secrets := &corev1.SecretList{}
	labels := client.MatchingLabels{"owner": "helm"}
	for k, v := range selected {
		labels[k] = v
	}
	if err := c.List(ctx, secrets, client.InNamespace(namespace), labels); err != nil {
		return nil, fmt.Errorf("look for Helm releases: %w", err)
	}
	newest := map[string]corev1.Secret{}
	for _, s := range secrets.Items {
		if had, ok := newest[s.Labels["name"]]; !ok || revision(had) < revision(s) {
			newest[s.Labels["name"]] = s
		}
	}
	var out []release
	for _, s := range newest {
		r, err := decodeRelease(s.Data["release"])
		if err != nil {
			return nil, fmt.Errorf("read Helm release in Secret %s/%s: %w", s.Namespace, s.Name, err)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b release) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func revision(s corev1.Secret) int {
	n, _ := strconv.Atoi(s.Labels["version"])
	return n
}

func decodeRelease(data []byte) (out release, err error) {
	packed, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		return out, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return out, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxRelease))
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(text, &out)
}
