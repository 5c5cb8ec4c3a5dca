package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// chartVersion returns the version of the chart, which has no v.
func (r *release) chartVersion() string { return strings.TrimPrefix(r.version, "v") }

func (r *release) chartFile() string { return r.file("fairlead-" + r.chartVersion() + ".tgz") }

// packChart packs the chart with its version and the digest of the image. 'helm package' would write the time of day into it.
func (r *release) packChart(context.Context) error {
	files, err := readFolder(filepath.Join(r.source, "charts", "fairlead"), "fairlead/")
	if err != nil {
		return err
	}
	for i := range files {
		if files[i].name == "fairlead/Chart.yaml" {
			if files[i].content, err = r.released(files[i].content); err != nil {
				return err
			}
		}
	}
	return toFile(r.chartFile(), tarGz(r.time, files))
}

// released returns Chart.yaml as it is in the release.
func (r *release) released(chart []byte) ([]byte, error) {
	for _, f := range []struct{ key, value string }{
		{"version", r.chartVersion()}, {"appVersion", `"` + r.chartVersion() + `"`}, {"  fairlead.io/image-digest", r.digest},
	} {
		line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(f.key) + `:.*$`)
		if n := len(line.FindAll(chart, -1)); n != 1 {
			return nil, fmt.Errorf("charts/fairlead/Chart.yaml: %d lines %q: want one", n, strings.TrimSpace(f.key))
		}
		chart = line.ReplaceAllLiteral(chart, []byte(f.key+": "+f.value))
	}
	return chart, nil
}

// renderManifests writes, for each backend, what the packed chart makes, as 'make manifests' does.
func (r *release) renderManifests(ctx context.Context) error {
	folder := filepath.Join(r.work, "manifests")
	if err := r.make(ctx, os.Environ(), "manifests", "CHART="+r.chartFile(), "MANIFESTS="+folder, "HELM="+r.helm); err != nil {
		return err
	}
	files, err := readFolder(folder, "install-")
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.name == "install-kustomization.yaml" { // for an image of one's own
			continue
		}
		if err := os.WriteFile(r.file(f.name), f.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
