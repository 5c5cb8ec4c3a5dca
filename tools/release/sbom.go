package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// writeSBOMs writes, for each binary and for each image, what it is made of.
func (r *release) writeSBOMs(context.Context) error {
	for _, p := range r.platforms {
		var image []*cdx.BOM
		for _, pkg := range p.commands() {
			command := filepath.Base(pkg)
			bom, err := r.binarySBOM(command, p)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", command, p, err)
			}
			if err := r.writeSBOM(r.base(command, p), bom); err != nil {
				return err
			}
			if command != plugin {
				image = append(image, bom)
			}
		}
		if len(image) > 0 {
			if err := r.writeSBOM(fmt.Sprintf("%s_%s_%s", r.imageBase(), p.os, p.arch), r.imageSBOM(p, image)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeSBOM writes one. Its serial number follows from its name: another run is to write the same.
func (r *release) writeSBOM(name string, bom *cdx.BOM) error {
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte(downloads+"/"+r.version+"/"+name+"@"+r.commit)).URN()
	bom.Metadata.Timestamp = r.time.Format(time.RFC3339)
	return toFile(r.file(name+".cdx.json"), func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	})
}

// binarySBOM returns what a binary says of itself, with the licences.
func (r *release) binarySBOM(command string, p platform) (*cdx.BOM, error) {
	g, err := bin.NewGenerator(filepath.Join(r.dist(p), p.exe(command)), bin.WithLogger(zerolog.Nop()), bin.WithIncludeStdlib(true),
		bin.WithVersionOverride(r.version), bin.WithShortPURLS(true)) // the long ones name the machine that makes them
	if err != nil {
		return nil, err
	}
	bom, err := g.Generate()
	if err != nil {
		return nil, err
	}
	nameMain(bom, command, p)
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		for _, d := range r.modules {
			if d.path == c.Name {
				c.Licenses = spdx(d.licences...)
			}
		}
		if c.Licenses == nil {
			return nil, fmt.Errorf("module %s is linked, and its licence was not looked for", c.Name)
		}
	}
	if command == plugin {
		r.addScripts(bom)
	}
	return bom, nil
}

// nameMain names the main component after its command and platform: the module is the same for all.
func nameMain(bom *cdx.BOM, command string, p platform) {
	main := bom.Metadata.Component
	old := main.BOMRef
	main.PackageURL += fmt.Sprintf("?goarch=%s&goos=%s&type=module#cmd/%s", p.arch, p.os, command)
	main.BOMRef, main.Licenses = main.PackageURL, spdx("Apache-2.0")
	for i := range *bom.Dependencies {
		if d := &(*bom.Dependencies)[i]; d.Ref == old {
			d.Ref = main.BOMRef
		}
	}
	for _, c := range *bom.Compositions {
		if c.Dependencies == nil {
			continue
		}
		for i := range *c.Dependencies {
			if d := &(*c.Dependencies)[i]; string(*d) == old {
				*d = cdx.BOMReference(main.BOMRef)
			}
		}
	}
}

func spdx(ids ...string) *cdx.Licenses {
	var out cdx.Licenses
	for _, id := range ids {
		out = append(out, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	return &out
}

// addScripts adds the packages that are built into the dashboard, of which the Go command knows nothing.
func (r *release) addScripts(bom *cdx.BOM) {
	for _, d := range r.modules {
		name, ok := strings.CutPrefix(d.path, npm)
		if !ok {
			continue
		}
		purl := "pkg:npm/" + name + "@" + d.version
		*bom.Components = append(*bom.Components, cdx.Component{
			BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeLibrary, Name: name, Version: d.version, Licenses: spdx(d.licences...),
		})
	}
}

// imageSBOM returns that of an image, from those of its binaries.
func (r *release) imageSBOM(p platform, binaries []*cdx.BOM) *cdx.BOM {
	bom := cdx.NewBOM()
	purl := fmt.Sprintf("pkg:oci/fairlead@%s?arch=%s&repository_url=%s&tag=%s", strings.Replace(r.digest, ":", "%3A", 1), p.arch, imageName, r.version)
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeContainer, Name: imageName, Version: r.version, Licenses: spdx("Apache-2.0"),
	}}
	var components []cdx.Component
	var contained []string
	dependencies := map[string][]string{}
	for _, b := range binaries {
		contained = append(contained, b.Metadata.Component.BOMRef)
		for _, c := range append([]cdx.Component{*b.Metadata.Component}, *b.Components...) {
			if !slices.ContainsFunc(components, func(have cdx.Component) bool { return have.BOMRef == c.BOMRef }) {
				components = append(components, c)
			}
		}
		for _, d := range *b.Dependencies {
			if d.Dependencies != nil {
				dependencies[d.Ref] = append(dependencies[d.Ref], *d.Dependencies...)
			}
		}
	}
	graph := []cdx.Dependency{{Ref: purl, Dependencies: &contained}}
	for _, c := range components {
		of := slices.Compact(slices.Sorted(slices.Values(dependencies[c.BOMRef])))
		graph = append(graph, cdx.Dependency{Ref: c.BOMRef, Dependencies: &of})
	}
	bom.Components, bom.Dependencies = &components, &graph
	return bom
}
