package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// npm begins the paths of packages of npm.
const npm = "npm/"

// scripts returns the packages of npm that are built into the dashboard, from the folder with their archives.
func scripts(folder string) (out []dependency, err error) {
	archives, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil {
		return nil, err
	}
	if len(archives) == 0 {
		return nil, fmt.Errorf("%s: there is no archive of a package", folder)
	}
	var faults []error
	for _, a := range archives {
		d, err := readScript(a)
		if err == nil {
			err = d.classify()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", a, err))
		}
		out = append(out, d)
	}
	return out, errors.Join(faults...)
}

func readScript(archive string) (d dependency, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return d, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return d, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return d, err
		}
		if path.Dir(h.Name) != "package" {
			continue
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return d, err
		}
		name := path.Base(h.Name)
		if licenceFile.MatchString(name) || noticeFile.MatchString(name) {
			d.files = append(d.files, entry{name, 0o644, content})
		}
		if name == "package.json" {
			var p struct{ Name, Version string }
			if err := json.Unmarshal(content, &p); err != nil {
				return d, fmt.Errorf("%s: %w", h.Name, err)
			}
			d.path, d.version = npm+p.Name, p.Version
		}
	}
}
