package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Options are how an archive is made.
type Options struct {
	Discovery discovery.DiscoveryInterface
	Dynamic   dynamic.Interface
	Core      corev1client.CoreV1Interface
	// Namespace is that of the installation.
	Namespace string
	// Reports are what commands of the tool tell.
	Reports []Report
	// LogLines is how many of the last lines of each log are taken.
	LogLines int64
	// Patience is how long one request may take.
	Patience time.Duration
	Now      time.Time
	// Progress is told what is being read.
	Progress func(what string)
}

// Report is what a command of the tool tells.
type Report struct {
	Name string
	Kind document.Kind
	Make func(context.Context) (any, error)
}

// Manifest says what is in an archive.
type Manifest struct {
	// Namespace is that of the installation.
	Namespace string    `json:"namespace"`
	Created   time.Time `json:"created"`
	Files     []File    `json:"files"`
	// Missing are what could not be read.
	Missing []Missing `json:"missing"`
	// Masked is in how many places something was masked.
	Masked int `json:"masked"`
}

// File is a file of an archive.
type File struct {
	Path  string `json:"path"`
	Bytes int    `json:"bytes"`
	// Objects is how many objects are in it; absent: it has none.
	Objects int `json:"objects,omitempty"`
}

// Missing is something that could not be read.
type Missing struct {
	What string `json:"what"`
	// Why is one sentence: "you may not list nodes".
	Why string `json:"why"`
}

// bundle is an archive that is being made.
type bundle struct {
	Options
	masker
	Manifest
	folder string
	out    *tar.Writer
}

// Write writes the archive, a compressed tar with one folder. What cannot be read is told in the Manifest; the error is that nothing could be
// written, or that ctx has ended.
func Write(ctx context.Context, w io.Writer, o Options) (*Manifest, error) {
	zip := gzip.NewWriter(w)
	b := &bundle{
		Options: o, folder: "fairlead-support-" + o.Now.UTC().Format("20060102T150405Z"), out: tar.NewWriter(zip),
		Manifest: Manifest{Namespace: o.Namespace, Created: o.Now.UTC(), Files: []File{}, Missing: []Missing{}},
	}
	// All objects are read before anything is written: the passwords in them are masked in everything else.
	lists := b.lists(ctx)
	for _, part := range []func(context.Context) error{
		func(context.Context) error { return b.addLists(lists) }, b.addReports,
		func(ctx context.Context) error { return b.addPods(ctx, lists) },
	} {
		if err := part(ctx); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the archive is not complete: %w", ctx.Err())
		}
	}
	b.Manifest.Masked = b.count
	text, err := document.JSON(document.SupportBundle, &b.Manifest)
	if err != nil {
		return nil, err
	}
	if err := b.write("manifest.json", text); err != nil {
		return nil, err
	}
	if err := b.out.Close(); err != nil {
		return nil, err
	}
	return &b.Manifest, zip.Close()
}

// add adds a file, and notes it.
func (b *bundle) add(name string, objects int, text []byte) error {
	name = safe(name)
	b.Files = append(b.Files, File{Path: name, Bytes: len(text), Objects: objects})
	return b.write(name, text)
}

func (b *bundle) write(name string, text []byte) error {
	err := b.out.WriteHeader(&tar.Header{Name: path.Join(b.folder, name), Mode: 0o600, Size: int64(len(text)), ModTime: b.Created})
	if err == nil {
		_, err = b.out.Write(text)
	}
	if err != nil {
		return fmt.Errorf("write %s of the archive: %w", name, err)
	}
	return nil
}

// safe returns a path without anything that could lead out of the folder: names come from the API server.
func safe(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r) {
			return r
		}
		return '_'
	}, name)
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// miss notes what could not be read.
func (b *bundle) miss(what string, err error) {
	b.Missing = append(b.Missing, Missing{What: what, Why: b.text(survey.GapOf(what, err).Why)})
}

// addReports adds what the commands tell.
func (b *bundle) addReports(ctx context.Context) error {
	for _, r := range b.Reports {
		b.Progress("report " + r.Name)
		v, err := r.Make(ctx)
		if err != nil {
			b.miss("the report "+r.Name, err)
		}
		if v == nil {
			continue
		}
		masked, err := b.report(v)
		if err != nil {
			return err
		}
		text, err := document.JSON(r.Kind, masked)
		if err != nil {
			return err
		}
		if err := b.add("reports/"+r.Name+".json", 0, text); err != nil {
			return err
		}
	}
	return nil
}

// report returns a report without what nobody else is to read.
func (b *bundle) report(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var fields any
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	return b.strings(fields), nil
}
