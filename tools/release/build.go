package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const plugin = "kubectl-fairlead"

// commands returns the packages that are built for a platform.
func (p platform) commands() []string {
	if p.os == "linux" {
		return []string{"./cmd/controller", "./cmd/speaker", "./cmd/" + plugin}
	}
	return []string{"./cmd/" + plugin}
}

// exe returns the name of the file of a command.
func (p platform) exe(command string) string {
	if p.os == "windows" {
		return command + ".exe"
	}
	return command
}

// dist returns the folder with the binaries of a platform.
func (r *release) dist(p platform) string { return filepath.Join(r.work, p.os+"_"+p.arch) }

// goEnv is the environment of the go command: what the user has set there is not to change what is built.
func goEnv(p platform) []string {
	return append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=",
		"GOAMD64=v1", "GOARM64=v8.0", "MAKEFLAGS=", "MAKELEVEL=")
}

// build builds as 'make binaries' does.
func (r *release) build(ctx context.Context) error {
	for _, p := range r.platforms {
		fmt.Printf("      %s\n", p)
		if err := r.make(ctx, goEnv(p), "binaries", "VERSION="+r.version, "COMMIT="+r.commit, "PLATFORM="+p.String(), "DIST="+r.dist(p),
			"COMMANDS="+strings.Join(p.commands(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// make runs a target of the repository's Makefile.
func (r *release) make(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "make", append([]string{"--no-print-directory", "-s", "-C", r.source}, args...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// pack makes an archive of each binary, with the licence.
func (r *release) pack(context.Context) error {
	licence, err := os.ReadFile(filepath.Join(r.source, "LICENSE"))
	if err != nil {
		return err
	}
	for _, p := range r.platforms {
		for _, pkg := range p.commands() {
			command := filepath.Base(pkg)
			binary, err := os.ReadFile(filepath.Join(r.dist(p), p.exe(command)))
			if err != nil {
				return err
			}
			files := []entry{{"LICENSE", 0o644, licence}, {p.exe(command), 0o755, binary}}
			name, write := r.base(command, p)+".tar.gz", tarGz
			if p.os == "windows" {
				name, write = r.base(command, p)+".zip", zipped
			}
			if command == plugin {
				r.archives[p] = name
			}
			if err := toFile(r.file(name), write(r.time, files)); err != nil {
				return err
			}
		}
	}
	return nil
}

// base returns how the names of the files about a command begin.
func (r *release) base(command string, p platform) string {
	if command != plugin {
		command = "fairlead-" + command
	}
	return fmt.Sprintf("%s_%s_%s_%s", command, r.version, p.os, p.arch)
}

// entry is a file of an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// toFile has write write a file.
func toFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeTar writes files in their order, as of a time and nobody's.
func writeTar(w io.Writer, at time.Time, files []entry) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return t.Close()
}

// tarGz is writeTar, compressed.
func tarGz(at time.Time, files []entry) func(io.Writer) error {
	return func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
		if err != nil {
			return err
		}
		return errors.Join(writeTar(z, at, files), z.Close())
	}
}

func zipped(at time.Time, files []entry) func(io.Writer) error {
	return func(w io.Writer) error {
		z := zip.NewWriter(w)
		for _, f := range files {
			h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
			h.SetMode(os.FileMode(f.mode))
			e, err := z.CreateHeader(h)
			if err != nil {
				return err
			}
			if _, err := e.Write(f.content); err != nil {
				return err
			}
		}
		return z.Close()
	}
}
