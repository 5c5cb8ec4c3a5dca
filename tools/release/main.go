// Command release writes everything that the page of a release needs into a folder: archives of the binaries, the image, the chart,
// manifests, krew's manifest, SBOMs, licences, notes and checksums. Two runs for one commit, by one version of Go, write equal files.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.version, "version", "", "the version, such as v1.2.3")
	flag.StringVar(&o.source, "source", "../..", "the repository")
	flag.StringVar(&o.out, "out", "../../dist/release", "the folder to write; the release that is in it, if one is, is replaced")
	flag.StringVar(&o.platforms, "platforms", strings.Join(allPlatforms, ","), "the platforms; controller, speaker and image are made for those of Linux")
	flag.StringVar(&o.helm, "helm", "../../bin/helm", "the helm to render the manifests with")
	flag.BoolVar(&o.dirty, "dirty", false, "release a tree with changes that are not committed; its commit is marked as dirty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one run.
type release struct {
	version   string // such as v1.2.3
	commit    string
	time      time.Time // of the commit
	source    string
	out       string // where files are written until all of them are
	work      string // a folder for what is not part of the release
	helm      string
	platforms []platform
	notes     string
	modules   []dependency // what the binaries are linked from
	goVersion string
	digest    string // of the image
	archives  map[platform]string
}

// step is one of those that a release consists of.
type step struct {
	title string
	do    func(context.Context) error
}

func run(ctx context.Context, o options) error {
	r, err := o.release(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	final := r.out
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	if r.out, err = os.MkdirTemp(filepath.Dir(final), filepath.Base(final)+".part-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.out)
	if err := os.Chmod(r.out, 0o755); err != nil {
		return err
	}
	fmt.Printf("release %s of commit %s\n", r.version, r.commit)
	steps := []step{
		{"look for the licences of what is linked", r.readLicences},
		{"build the binaries", r.build},
		{"pack the binaries", r.pack},
		{"write the image", r.writeImage},
		{"pack the chart", r.packChart},
		{"render the manifests", r.renderManifests},
		{"write krew's manifest", r.writeKrew},
		{"write the SBOMs", r.writeSBOMs},
		{"write the notes", r.writeNotes},
		{"write the checksums", r.writeChecksums},
	}
	for i, s := range steps {
		start := time.Now()
		fmt.Printf("[%d/%d] %s\n", i+1, len(steps), s.title)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		fmt.Printf("      done in %.1f s\n", time.Since(start).Seconds())
	}
	if err := errors.Join(os.RemoveAll(final), os.Rename(r.out, final)); err != nil {
		return err
	}
	fmt.Printf("image %s@%s\neverything is in %s\n", imageName, r.digest, final)
	return nil
}

// file returns the path of a file of the release.
func (r *release) file(name string) string { return filepath.Join(r.out, name) }
