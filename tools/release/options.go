package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// options are what the command line says.
type options struct {
	version, source, out, platforms, helm string
	dirty                                 bool
}

// platform is what a binary runs on.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

var allPlatforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}

// release checks the options. The error names all that is wrong.
func (o options) release(ctx context.Context) (*release, error) {
	r := &release{version: o.version, archives: map[platform]string{}}
	var faults []error
	if err := checkVersion(o.version); err != nil {
		faults = append(faults, err)
	}
	for name := range strings.SplitSeq(o.platforms, ",") {
		if !slices.Contains(allPlatforms, name) {
			faults = append(faults, fmt.Errorf("--platforms: %q: want some of %s", name, strings.Join(allPlatforms, ",")))
			continue
		}
		os, arch, _ := strings.Cut(name, "/")
		r.platforms = append(r.platforms, platform{os, arch})
	}
	if len(r.linux()) == 0 {
		faults = append(faults, fmt.Errorf("--platforms: %q: want one of Linux at least, for the image", o.platforms))
	}
	var err error
	for _, p := range []struct {
		to   *string
		from string
	}{{&r.source, o.source}, {&r.out, o.out}, {&r.helm, o.helm}} {
		if *p.to, err = filepath.Abs(p.from); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(r.helm); err != nil {
		faults = append(faults, fmt.Errorf("--helm: %w; 'make tools' builds it", err))
	}
	if err := replaceable(r.out); err != nil {
		faults = append(faults, err)
	}
	if err := r.readCommit(ctx, o.dirty); err != nil {
		faults = append(faults, err)
	}
	if r.notes, err = r.readNotes(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	r.work, err = os.MkdirTemp("", "release-")
	return r, err
}

// checkVersion returns what is wrong with a version, as semver.org and the go command have it.
func checkVersion(v string) error {
	switch {
	case v == "":
		return errors.New("VERSION is missing: want such as v1.2.3")
	case !semver.IsValid(v) || semver.Canonical(v) != v:
		return fmt.Errorf("VERSION %q: want v, three numbers, and what marks a version before it, if any: v1.2.3 or v1.2.3-rc.1", v)
	}
	return nil
}

// replaceable returns an error if a folder holds anything but a release: files that its checksums name, and these.
func replaceable(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	sums, err := os.ReadFile(filepath.Join(folder, checksums))
	if err != nil {
		return fmt.Errorf("--out: %s holds files and is no release: want one that is empty, not there, or has a %s", folder, checksums)
	}
	named := []string{checksums}
	for line := range strings.Lines(string(sums)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			named = append(named, name)
		}
	}
	for _, e := range entries {
		if e.IsDir() || !slices.Contains(named, e.Name()) {
			return fmt.Errorf("--out: %s holds %s, of which its %s says nothing: want a folder that is empty, not there, or has a release and nothing else",
				folder, e.Name(), checksums)
		}
	}
	return nil
}

// readCommit finds out what is released, and that all of it is committed.
func (r *release) readCommit(ctx context.Context, dirty bool) error {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", r.source}, args...)...).Output()
		if e := (&exec.ExitError{}); errors.As(err, &e) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(e.Stderr))
		}
		if err != nil {
			return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" && !dirty {
		return fmt.Errorf("these files are not as committed; commit them, or try it with RELEASE_ARGS=--dirty:\n%s", changed)
	}
	if r.commit, err = git("rev-parse", "HEAD"); err != nil {
		return err
	}
	seconds, err := git("show", "--no-patch", "--format=%ct", "HEAD")
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the time of commit %s: %w", r.commit, err)
	}
	r.time = time.Unix(n, 0).UTC()
	if changed != "" {
		r.commit += "-dirty"
	}
	return nil
}

func (r *release) linux() (out []platform) {
	for _, p := range r.platforms {
		if p.os == "linux" {
			out = append(out, p)
		}
	}
	return out
}
