package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// dependency is a module, or a package of the dashboard, that a binary is linked from.
type dependency struct {
	path, version string
	licences      []string // by their names in SPDX
	files         []entry  // licences and notices, by their names in it
}

// permitted are the licences of what may be shipped. All but MPL-2.0 ask only that they be shipped, too; that asks for the source of its
// files, which is where the module is.
var permitted = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense", "Zlib"}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]es?|copying|unlicense)([-._].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notices?|patents|copyright)([-._].*)?$`)
)

// readLicences finds the licences of all that the binaries are linked from. It fails if one is unknown, or not permitted.
func (r *release) readLicences(ctx context.Context) error {
	found := map[string]*module{}
	for _, p := range r.platforms {
		if err := r.linked(ctx, p, found); err != nil {
			return err
		}
	}
	var faults []error
	for _, path := range slices.Sorted(maps.Keys(found)) {
		d, err := found[path].dependency()
		faults = append(faults, err)
		r.modules = append(r.modules, d)
	}
	packages, err := scripts(filepath.Join(r.source, "tools", "web", "packages"))
	faults = append(faults, err)
	r.modules = append(r.modules, packages...)
	if err := errors.Join(faults...); err != nil {
		return err
	}
	var files []entry
	index := "path,version,licences\n"
	for _, d := range r.modules {
		index += fmt.Sprintf("%s,%s,%s\n", d.path, d.version, strings.Join(d.licences, " "))
		for _, f := range d.files {
			files = append(files, entry{"THIRD_PARTY_LICENSES/" + d.path + "@" + d.version + "/" + f.name, 0o644, f.content})
		}
	}
	files = append([]entry{{"THIRD_PARTY_LICENSES/index.csv", 0o644, []byte(index)}}, files...)
	fmt.Printf("      %d dependencies\n", len(r.modules))
	return toFile(r.file("fairlead_"+r.version+"_third-party-licenses.tar.gz"), tarGz(r.time, files))
}

// module is one as 'go list' tells of it, with the folders of its packages that are linked.
type module struct {
	Path, Version, Dir string
	Main               bool
	packages           map[string]bool
}

// standard is what the standard library is called here; its licence is that of Go.
const standard = "std"

// linked adds the modules that the commands for a platform are linked from.
func (r *release) linked(ctx context.Context, p platform, found map[string]*module) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=Dir,Standard,Module"}, p.commands()...)...)
	cmd.Dir, cmd.Env = r.source, goEnv(p)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list for %s: %w: %s", p, err, complaints.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir      string
			Standard bool
			Module   *module
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("go list for %s: %w", p, err)
		}
		if m := pkg.Module; m != nil && !m.Main {
			if found[m.Path] == nil {
				m.packages = map[string]bool{}
				found[m.Path] = m
			}
			found[m.Path].packages[pkg.Dir] = true
		}
	}
	if found[standard] != nil {
		return nil
	}
	env := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION")
	env.Dir = r.source
	if out, err = env.Output(); err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	found[standard] = &module{Path: standard, Version: version, Dir: root}
	r.goVersion = version
	return nil
}

// dependency reads the licences of a module: those in its folder, and in the folders from there to the packages that are linked.
func (m *module) dependency() (dependency, error) {
	d := dependency{path: m.Path, version: m.Version}
	folders := map[string]bool{m.Dir: true}
	for dir := range m.packages {
		for ; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return d, err
		}
		for _, e := range entries {
			if e.IsDir() || filepath.Ext(e.Name()) == ".go" {
				continue
			}
			if !licenceFile.MatchString(e.Name()) && !noticeFile.MatchString(e.Name()) {
				continue
			}
			content, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return d, err
			}
			name, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return d, err
			}
			d.files = append(d.files, entry{filepath.ToSlash(name), 0o644, content})
		}
	}
	return d, d.classify()
}

// classify fills in which licences the files are. The error names each that is unknown, or not permitted.
func (d *dependency) classify() error {
	var faults []error
	for _, f := range d.files {
		if !licenceFile.MatchString(filepath.Base(f.name)) {
			continue
		}
		coverage := licensecheck.Scan(f.content)
		if coverage.Percent < 75 {
			faults = append(faults, fmt.Errorf("%s@%s: %s is no known licence", d.path, d.version, f.name))
			continue
		}
		for _, match := range coverage.Match {
			if !slices.Contains(permitted, match.ID) {
				faults = append(faults, fmt.Errorf("%s@%s: %s is %s: want one of %s", d.path, d.version, f.name, match.ID,
					strings.Join(permitted, ", ")))
			}
			d.licences = append(d.licences, match.ID)
		}
	}
	slices.Sort(d.licences)
	if d.licences = slices.Compact(d.licences); len(d.licences) == 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("%s@%s has no file with its licence", d.path, d.version))
	}
	return errors.Join(faults...)
}
