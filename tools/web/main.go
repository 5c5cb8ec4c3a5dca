// Command web builds the script and the style sheet of the dashboard, from their sources and from packages that a lock file pins. It needs
// neither node nor a network: the packages are in a folder beside it.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a built file is not what would be built")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: web [-check] FOLDER_OF_SOURCES FOLDER_OF_BUILT_FILES")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *check); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func run(from, to string, check bool) error {
	packages, err := locked("package-lock.json", "packages")
	if err != nil {
		return err
	}
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(from, "app.js"), filepath.Join(from, "app.css")},
		Outdir:      to, Bundle: true, Format: api.FormatIIFE, Target: api.ES2022, LegalComments: api.LegalCommentsNone,
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true, Charset: api.CharsetASCII,
		Plugins: []api.Plugin{{Name: "packages", Setup: packages.resolve}},
	})
	for _, m := range built.Errors {
		err = errors.Join(err, errors.New(m.Text))
	}
	if err != nil {
		return err
	}
	for _, f := range built.OutputFiles {
		if !check {
			if err := os.WriteFile(f.Path, f.Contents, 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(f.Path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, f.Contents) {
			return fmt.Errorf("%s is not what its sources make: run 'make web' and commit it", f.Path)
		}
	}
	return nil
}

// modules are the contents of the module that each package is imported for.
type modules map[string]string

// locked reads the packages that a lock file names, and checks that each is the one that was locked.
func locked(file, folder string) (modules, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := modules{}
	for path, p := range lock.Packages {
		name, ok := strings.CutPrefix(path, "node_modules/")
		if !ok {
			continue
		}
		archive := filepath.Join(folder, fmt.Sprintf("%s-%s.tgz", name, p.Version))
		content, err := os.ReadFile(archive)
		if err != nil {
			return nil, err
		}
		sum := sha512.Sum512(content)
		if is := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); is != p.Integrity {
			return nil, fmt.Errorf("%s is %s; %s has %s", archive, is, file, p.Integrity)
		}
		if out[name], err = module(content); err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
	}
	return out, nil
}

// module returns the module of a package: what its package.json names as module, or as main.
func module(archive []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if files[strings.TrimPrefix(h.Name, "package/")], err = io.ReadAll(t); err != nil {
			return "", err
		}
	}
	var manifest struct{ Module, Main string }
	if err := json.Unmarshal(files["package.json"], &manifest); err != nil {
		return "", err
	}
	for _, name := range []string{manifest.Module, manifest.Main} {
		if content, ok := files[strings.TrimPrefix(name, "./")]; ok {
			return string(content), nil
		}
	}
	return "", errors.New("it has no module")
}

// resolve has esbuild take packages from memory, and nothing else from elsewhere.
func (m modules) resolve(b api.PluginBuild) {
	b.OnResolve(api.OnResolveOptions{Filter: `^[^./]`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		if _, ok := m[a.Path]; !ok {
			return api.OnResolveResult{}, nil
		}
		return api.OnResolveResult{Path: a.Path, Namespace: "package"}, nil
	})
	b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "package"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		content := m[a.Path]
		return api.OnLoadResult{Contents: &content, Loader: api.LoaderJS}, nil
	})
}
