package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/krew/pkg/index"
	"sigs.k8s.io/yaml"
)

const version = "v1.2.3"

// repository is the root of the working tree.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	return root
}

// command runs a program in a folder and returns what it prints.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=test",
		"GIT_COMMITTER_EMAIL=test@example.org", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// checkout makes a repository of the files of this one, with one commit, in a folder of its own.
func checkout(t *testing.T) string {
	t.Helper()
	from, to := repository(t), t.TempDir()
	for name := range strings.SplitSeq(command(t, from, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"), "\x00") {
		content, err := os.ReadFile(filepath.Join(from, name))
		if name == "" || os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(to, name), content, 0o644))
	}
	command(t, to, "git", "init", "--quiet")
	command(t, to, "git", "add", ".")
	command(t, to, "git", "commit", "--quiet", "--message", "all")
	return to
}

// TestRelease releases twice, from two folders, and looks at everything that is written. It leaves out the platforms that krew alone needs.
func TestRelease(t *testing.T) {
	helm := filepath.Join(repository(t), "bin", "helm")
	require.FileExists(t, helm, "run 'make tools' first")
	first, second := checkout(t), checkout(t)
	const platforms = "linux/amd64,linux/arm64"
	out := filepath.Join(t.TempDir(), "release")
	require.NoError(t, run(t.Context(), options{version: version, source: first, out: out, helm: helm, platforms: platforms}))
	files := read(t, out)
	// The other time, what GitHub would run.
	bin := filepath.Join(second, "bin")
	require.NoError(t, os.Symlink(filepath.Dir(helm), bin))
	require.NoError(t, os.Chtimes(filepath.Join(second, "tools", "helm", "go.mod"), time.Time{}, time.Unix(0, 0))) // it is built already
	command(t, second, "env", "VERSION="+version, "RELEASE_ARGS=-platforms "+platforms, "bash", "-euc", script(t, "write the files of the release"))
	command(t, second, "env", "VERSION="+version, "bash", "-euc", script(t, "check the checksums"))
	again := read(t, filepath.Join(second, "dist", "release"))
	require.Equal(t, slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(again)))
	for name, content := range files {
		assert.True(t, bytes.Equal(content, again[name]), "two releases of a commit differ in %s", name)
	}
	digest := strings.TrimSpace(string(files["fairlead_v1.2.3_image.digest"]))
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, digest)

	t.Run("files", func(t *testing.T) {
		want := []string{"checksums.txt", "fairlead-1.2.3.tgz", "fairlead.yaml", "fairlead_v1.2.3_image.digest", "fairlead_v1.2.3_image.tar",
			"fairlead_v1.2.3_image_linux_amd64.cdx.json", "fairlead_v1.2.3_image_linux_arm64.cdx.json", "fairlead_v1.2.3_third-party-licenses.tar.gz",
			"install-auto.yaml", "install-calico.yaml", "install-cilium.yaml", "install-none.yaml", "install-speaker.yaml", "release-notes.md"}
		for _, command := range []string{"fairlead-controller", "fairlead-speaker", "kubectl-fairlead"} {
			for _, arch := range []string{"amd64", "arm64"} {
				want = append(want, command+"_v1.2.3_linux_"+arch+".tar.gz", command+"_v1.2.3_linux_"+arch+".cdx.json")
			}
		}
		assert.ElementsMatch(t, want, slices.Collect(maps.Keys(files)))
	})

	t.Run("nothing of the machine", func(t *testing.T) {
		var places []string
		for _, name := range []string{"GOROOT", "GOMODCACHE", "GOCACHE"} {
			places = append(places, strings.TrimSpace(command(t, ".", "go", "env", name)))
		}
		places = append(places, first, second, out, os.TempDir()+"/release-", repository(t)+"/")
		for name, content := range files {
			for file, content := range unpacked(t, name, content) {
				for _, place := range places {
					assert.False(t, bytes.Contains(content, []byte(place)), "%s: %s tells of %s", name, file, place)
				}
			}
		}
	})

	t.Run("archives", func(t *testing.T) {
		for _, command := range []string{"fairlead-controller", "fairlead-speaker", "kubectl-fairlead"} {
			name := command + "_v1.2.3_linux_arm64.tar.gz"
			in := unpacked(t, name, files[name])
			assert.ElementsMatch(t, []string{"LICENSE", strings.TrimPrefix(command, "fairlead-")}, slices.Collect(maps.Keys(in)))
			assert.Contains(t, string(in["LICENSE"]), "Apache License")
			assert.True(t, bytes.Contains(in[strings.TrimPrefix(command, "fairlead-")], []byte(version)), "the version is linked into %s", command)
		}
	})

	t.Run("checksums", func(t *testing.T) {
		got := command(t, out, "sha256sum", "--check", "checksums.txt")
		assert.Equal(t, len(files)-1, strings.Count(got, ": OK\n"), "every file but the list itself is in it: %s", got)
	})

	folder := t.TempDir()
	command(t, folder, "tar", "-xf", filepath.Join(out, "fairlead_v1.2.3_image.tar"))
	t.Run("image", func(t *testing.T) { checkImage(t, folder, digest, files) })

	t.Run("image of buildah", func(t *testing.T) { compareImage(t, folder, second) })

	t.Run("push", func(t *testing.T) {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		host := strings.TrimPrefix(server.URL, "http://") + "/fairlead"
		plain := strings.Replace(script(t, "push image and chart"), "helm push", "helm push --plain-http", 1)
		command(t, second, "env", "VERSION="+version, "REGISTRY="+host, "bash", "-euc", plain)
		assert.Equal(t, digest+"\n", command(t, ".", "go", "tool", "crane", "digest", host+"/fairlead:"+version), "the registry has the digest that the chart names")
		assert.Contains(t, command(t, ".", helm, "show", "chart", "--plain-http", "oci://"+host+"/charts/fairlead", "--version", "1.2.3"), digest)
	})

	t.Run("chart", func(t *testing.T) {
		var chart struct {
			Version, AppVersion string
			Annotations         map[string]string
		}
		require.NoError(t, yaml.Unmarshal([]byte(command(t, out, helm, "show", "chart", "fairlead-1.2.3.tgz")), &chart))
		assert.Equal(t, "1.2.3", chart.Version)
		assert.Equal(t, "1.2.3", chart.AppVersion)
		assert.Equal(t, digest, chart.Annotations["fairlead.io/image-digest"])
	})

	t.Run("manifests", func(t *testing.T) {
		for _, backend := range []string{"auto", "calico", "cilium", "none", "speaker"} {
			text := string(files["install-"+backend+".yaml"])
			images := regexp.MustCompile(`(?m)^ *image: .*$`).FindAllString(text, -1)
			assert.NotEmpty(t, images, backend)
			for _, image := range images {
				assert.Equal(t, "image: ghcr.io/fairlead/fairlead@"+digest, strings.TrimSpace(image), backend)
			}
			assert.True(t, strings.Contains(text, "app.kubernetes.io/version: 1.2.3\n"), "the manifest for %s has another version", backend)
		}
	})

	t.Run("krew", func(t *testing.T) {
		validate(t, filepath.Join(out, "fairlead.yaml"))
		var p index.Plugin
		require.NoError(t, yaml.UnmarshalStrict(files["fairlead.yaml"], &p))
		assert.Equal(t, version, p.Spec.Version)
		require.Len(t, p.Spec.Platforms, 2)
		for _, platform := range p.Spec.Platforms {
			name := filepath.Base(platform.URI)
			in := unpacked(t, name, files[name])
			assert.NotNil(t, in[platform.Bin], "%s has no %s", name, platform.Bin)
			sum, err := digestOf(filepath.Join(out, name))
			require.NoError(t, err)
			assert.Equal(t, sum, platform.Sha256)
			for _, f := range platform.Files {
				assert.NotNil(t, in[f.From], "%s has no %s", name, f.From)
			}
		}
	})

	t.Run("SBOMs", func(t *testing.T) {
		for name, component := range map[string]string{
			"fairlead-speaker_v1.2.3_linux_arm64.cdx.json":    "github.com/osrg/gobgp/v3",
			"fairlead-controller_v1.2.3_linux_amd64.cdx.json": "github.com/projectcalico/api",
			"kubectl-fairlead_v1.2.3_linux_amd64.cdx.json":    "htmx.org",
			"fairlead_v1.2.3_image_linux_arm64.cdx.json":      "github.com/hashicorp/memberlist",
		} {
			var bom cdx.BOM
			require.NoError(t, cdx.NewBOMDecoder(bytes.NewReader(files[name]), cdx.BOMFileFormatJSON).Decode(&bom), name)
			assert.Equal(t, version, bom.Metadata.Component.Version, name)
			assert.Equal(t, "2026-01-02T03:04:05Z", bom.Metadata.Timestamp, name)
			refs := map[string]bool{bom.Metadata.Component.BOMRef: true}
			names := map[string]bool{}
			for _, c := range *bom.Components {
				assert.False(t, refs[c.BOMRef], "%s has %s twice", name, c.BOMRef)
				refs[c.BOMRef], names[c.Name] = true, true
				require.NotNil(t, c.Licenses, "%s says nothing of the licence of %s", name, c.Name)
				assert.NotEmpty(t, *c.Licenses)
			}
			assert.True(t, names[component], "%s lacks %s", name, component)
			assert.True(t, names["std"], "%s lacks the standard library", name)
			for _, d := range *bom.Dependencies {
				assert.True(t, refs[d.Ref], "%s: nothing is called %s", name, d.Ref)
			}
		}
	})

	t.Run("licences", func(t *testing.T) {
		in := unpacked(t, "third-party-licenses.tar.gz", files["fairlead_v1.2.3_third-party-licenses.tar.gz"])
		assert.Regexp(t, `(?m)^github.com/hashicorp/memberlist,v[0-9.]+,MPL-2.0$`, string(in["THIRD_PARTY_LICENSES/index.csv"]))
		assert.Contains(t, string(in["THIRD_PARTY_LICENSES/npm/htmx.org@2.0.11/LICENSE"]), "Permission to use, copy, modify")
	})

	t.Run("notes", func(t *testing.T) {
		assert.Contains(t, string(files["release-notes.md"]), "# Fairlead v1.2.3\n")
		assert.Contains(t, string(files["release-notes.md"]), digest)
	})
}

// checkImage looks at an image in a folder with the layout of OCI.
func checkImage(t *testing.T, folder, digest string, files map[string][]byte) {
	t.Helper()
	top, err := layout.ImageIndexFromPath(folder)
	require.NoError(t, err)
	manifest, err := top.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 1)
	assert.Equal(t, digest, manifest.Manifests[0].Digest.String())
	assert.Equal(t, map[string]string{"org.opencontainers.image.ref.name": version, "io.containerd.image.name": "ghcr.io/fairlead/fairlead:" + version},
		manifest.Manifests[0].Annotations)
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	platforms, err := index.IndexManifest()
	require.NoError(t, err)
	var seen []string
	for _, m := range platforms.Manifests {
		seen = append(seen, m.Platform.String())
		image, err := index.Image(m.Digest)
		require.NoError(t, err)
		config, err := image.ConfigFile()
		require.NoError(t, err)
		assert.Equal(t, *m.Platform, v1.Platform{OS: config.OS, Architecture: config.Architecture})
		assert.Equal(t, "65532:65532", config.Config.User)
		assert.Equal(t, []string{"/controller"}, config.Config.Cmd)
		assert.Empty(t, config.Config.Entrypoint)
		assert.Equal(t, "2026-01-02T03:04:05Z", config.Created.Format("2006-01-02T15:04:05Z07:00"))
		assert.Equal(t, version, config.Config.Labels["org.opencontainers.image.version"])
		assert.Regexp(t, "^[0-9a-f]{40}$", config.Config.Labels["org.opencontainers.image.revision"])
		assert.Equal(t, homepage, config.Config.Labels["org.opencontainers.image.source"])
		layers, err := image.Layers()
		require.NoError(t, err)
		require.Len(t, layers, 1)
		content, err := layers[0].Uncompressed()
		require.NoError(t, err)
		in := untar(t, content)
		require.ElementsMatch(t, []string{"controller", "speaker"}, slices.Collect(maps.Keys(in)))
		for name, binary := range in {
			archive := "fairlead-" + name + "_v1.2.3_linux_" + m.Platform.Architecture + ".tar.gz"
			assert.True(t, bytes.Equal(unpacked(t, archive, files[archive])[name], binary), "the image for %s has another %s than the archive", m.Platform, name)
		}
	}
	assert.Equal(t, []string{"linux/amd64", "linux/arm64"}, seen)
}

func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := map[string][]byte{}
	for _, e := range entries {
		out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
	}
	return out
}

// unpacked returns the files of an archive, by their names, and of any other file itself.
func unpacked(t *testing.T, name string, content []byte) map[string][]byte {
	t.Helper()
	switch {
	case strings.HasSuffix(name, "gz"):
		z, err := gzip.NewReader(bytes.NewReader(content))
		require.NoError(t, err)
		assert.True(t, z.ModTime.IsZero())
		assert.Empty(t, z.Name)
		return untar(t, z)
	case strings.HasSuffix(name, ".tar"):
		return untar(t, bytes.NewReader(content))
	}
	return map[string][]byte{name: content}
}

// untar returns the files of a tar archive, which are nobody's.
func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return out
		}
		require.NoError(t, err)
		assert.Zero(t, h.Uid+h.Gid, h.Name)
		assert.Empty(t, h.Uname+h.Gname, h.Name)
		out[h.Name], err = io.ReadAll(archive)
		require.NoError(t, err)
	}
}

// TestZip: what Windows gets can be read, too.
func TestZip(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, zipped((&release{}).time, []entry{{"LICENSE", 0o644, []byte("text")}, {"x.exe", 0o755, []byte("binary")}})(&b))
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	require.Len(t, r.File, 2)
	assert.Equal(t, "x.exe", r.File[1].Name)
	assert.Equal(t, os.FileMode(0o755), r.File[1].Mode())
	f, err := r.Open("x.exe")
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Equal(t, "binary", string(content))
}
