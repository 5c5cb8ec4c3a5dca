package plan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Manifest is one object of a file.
type Manifest struct {
	// Source is the file and the number of the document in it: "pools.yaml#2".
	Source string
	*unstructured.Unstructured
}

// extensions are those of files in folders, as with kubectl.
var extensions = []string{".yaml", ".yml", ".json"}

// Load reads the objects of files and folders; "-" is in. Folders in folders are read only if recursive is set.
func Load(paths []string, recursive bool, in io.Reader) ([]Manifest, error) {
	var out []Manifest
	add := func(source string, r io.Reader) error {
		all, err := parse(source, r)
		out = append(out, all...)
		return err
	}
	for _, path := range paths {
		if path == "-" {
			if err := add("stdin", in); err != nil {
				return nil, err
			}
			continue
		}
		files, err := filesOf(path, recursive)
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if err := add(name, bytes.NewReader(b)); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there are no objects in %s", strings.Join(paths, ", "))
	}
	return out, nil
}

// Read reads the objects of a text; source is what it is called.
func Read(source string, r io.Reader) ([]Manifest, error) {
	out, err := parse(source, r)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("there are no objects in %s", source)
	}
	return out, err
}

func filesOf(path string, recursive bool) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != path && !recursive:
			return fs.SkipDir
		case !d.IsDir() && slices.Contains(extensions, filepath.Ext(name)):
			out = append(out, name)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("folder %s has no files that end in %s; -R reads folders in it, too", path, strings.Join(extensions, ", "))
	}
	return out, err
}

// indentedByTab matches what editors like to write, and YAML's own message does not name.
var indentedByTab = regexp.MustCompile(`(?m)^ *\t`)

// parse reads the documents of a file.
func parse(source string, r io.Reader) ([]Manifest, error) {
	var out []Manifest
	docs := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		at := fmt.Sprintf("%s#%d", source, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
			if indentedByTab.Match(doc) {
				err = fmt.Errorf("%w; there is a tab in the indentation, where YAML takes only spaces", err)
			}
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if len(u.Object) == 0 {
			continue // nothing but comments
		}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			for i := range list.Items {
				m, err := manifest(fmt.Sprintf("%s.items[%d]", at, i), &list.Items[i])
				if err != nil {
					return nil, err
				}
				out = append(out, m)
			}
			continue
		}
		m, err := manifest(at, u)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
}

func manifest(at string, u *unstructured.Unstructured) (Manifest, error) {
	for _, x := range []struct{ field, value string }{{"apiVersion", u.GetAPIVersion()}, {"kind", u.GetKind()},
		{"metadata.name", u.GetName()}} {
		if x.value == "" {
			return Manifest{}, fmt.Errorf("%s: %s is missing", at, x.field)
		}
	}
	return Manifest{at, u}, nil
}
