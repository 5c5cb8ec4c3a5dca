package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/krew/pkg/constants"
	"sigs.k8s.io/krew/pkg/index"
	"sigs.k8s.io/yaml"
)

const (
	homepage  = "https://github.com/fairlead/fairlead"
	downloads = homepage + "/releases/download"
	krewName  = "fairlead"
)

// writeKrew writes the manifest by which krew installs the plugin.
func (r *release) writeKrew(context.Context) error {
	p := index.Plugin{
		TypeMeta:   metav1.TypeMeta{APIVersion: constants.CurrentAPIVersion, Kind: constants.PluginKind},
		ObjectMeta: metav1.ObjectMeta{Name: krewName},
		Spec: index.PluginSpec{
			Version: r.version, Homepage: homepage,
			ShortDescription: "Explain addresses of LoadBalancer Services",
			Description: "Tells why a Service of type LoadBalancer has its address or none, what is wrong with an\n" +
				"installation of Fairlead, and what a change would do before it is made; leads from MetalLB.\n",
			Caveats: "What it reads is in the ClusterRole fairlead:kubectl, which the chart makes and binds to nobody.\n",
		},
	}
	for _, platform := range r.platforms {
		sum, err := digestOf(r.file(r.archives[platform]))
		if err != nil {
			return err
		}
		exe := platform.exe(plugin)
		p.Spec.Platforms = append(p.Spec.Platforms, index.Platform{
			URI: fmt.Sprintf("%s/%s/%s", downloads, r.version, r.archives[platform]), Sha256: sum, Bin: exe,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"os": platform.os, "arch": platform.arch}},
			Files:    []index.FileOperation{{From: exe, To: "."}, {From: "LICENSE", To: "."}},
		})
	}
	text, err := yaml.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(r.file(krewName+".yaml"), []byte(strings.Replace(string(text), "  creationTimestamp: null\n", "", 1)), 0o644)
}

// digestOf returns the SHA-256 of a file, in hexadecimal.
func digestOf(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
