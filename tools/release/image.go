package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageName is where the image is published; the default of the chart's controller.image.repository.
const imageName = "ghcr.io/fairlead/fairlead"

// writeImage writes an image for each platform of Linux, and their index, as an archive in the layout of OCI.
func (r *release) writeImage(context.Context) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.linux() {
		image, err := r.image(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: p.os, Architecture: p.arch},
		}})
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	r.digest = digest.String()
	folder := filepath.Join(r.work, "image")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		// By these, tools find it in the archive, and know what to call it.
		"org.opencontainers.image.ref.name": r.version,
		"io.containerd.image.name":          imageName + ":" + r.version,
	})); err != nil {
		return err
	}
	files, err := readFolder(folder, "")
	if err != nil {
		return err
	}
	fmt.Printf("      %s\n", r.digest)
	return errors.Join(
		toFile(r.file(r.imageBase()+".tar"), func(w io.Writer) error { return writeTar(w, r.time, files) }),
		os.WriteFile(r.file(r.imageBase()+".digest"), []byte(r.digest+"\n"), 0o644),
	)
}

func (r *release) imageBase() string { return "fairlead_" + r.version + "_image" }

// image returns the one for a platform, as the Dockerfile has it.
func (r *release) image(p platform) (v1.Image, error) {
	recipe, err := readDockerfile(filepath.Join(r.source, "Dockerfile"), map[string]string{
		"TARGETOS": p.os, "TARGETARCH": p.arch, "VERSION": r.version, "COMMIT": r.commit,
	})
	if err != nil {
		return nil, err
	}
	var files []entry
	for _, name := range recipe.files {
		content, err := os.ReadFile(filepath.Join(r.dist(p), filepath.Base(name)))
		if err != nil {
			return nil, err
		}
		files = append(files, entry{filepath.Base(name), 0o755, content})
	}
	var packed bytes.Buffer
	if err := writeTar(&packed, r.time, files); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.time}
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "COPY"}}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created, config.Config = p.os, p.arch, created, recipe.config
	return mutate.ConfigFile(image, config)
}

// readFolder returns the files in a folder, in the order of their names, which begin with prefix.
func readFolder(folder, prefix string) (files []entry, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		files = append(files, entry{prefix + filepath.ToSlash(name), 0o644, content})
		return err
	})
	return files, err
}
