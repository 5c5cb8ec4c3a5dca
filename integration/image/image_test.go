// Package image tests what is in the image: that its binaries run where nothing else is, and that two builds of them are equal.
package image

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	version = "v1.2.3"
	commit  = "0123456789abcdef0123456789abcdef01234567"
)

var (
	platform = "linux/" + runtime.GOARCH
	commands = []string{"controller", "speaker", "kubectl-fairlead"}
	inImage  = commands[:2]
)

// checkout copies the files of the repository to a folder of its own.
func checkout(t testing.TB) string {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	require.NoError(t, err)
	from, to := strings.TrimSpace(string(root)), t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "Makefile", "Dockerfile", ".dockerignore", "cmd", "internal", "api", "allocator", "backends"} {
		err := filepath.WalkDir(filepath.Join(from, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			target := filepath.Join(to, strings.TrimPrefix(path, from))
			if d.IsDir() {
				return os.MkdirAll(target, 0o755)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, 0o644)
		})
		require.NoError(t, err)
	}
	return to
}

func makeIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	args = append([]string{"-C", dir, "VERSION=" + version, "COMMIT=" + commit, "PLATFORM=" + platform}, args...)
	out, err := exec.CommandContext(t.Context(), "make", args...).CombinedOutput()
	require.NoError(t, err, "make %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// TestImage builds twice. The first build's files make the root filesystem of the Dockerfile; if buildah is here, the second's are in
// a real image.
func TestImage(t *testing.T) {
	first, second := checkout(t), checkout(t)
	makeIn(t, first, "binaries")
	makeIn(t, second, "binaries")
	dist := filepath.Join("dist", strings.ReplaceAll(platform, "/", "_"))
	sums := map[string][sha256.Size]byte{}
	for _, name := range commands {
		a, err := os.ReadFile(filepath.Join(first, dist, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(second, dist, name))
		require.NoError(t, err)
		sums[name] = sha256.Sum256(a)
		assert.Equal(t, sums[name], sha256.Sum256(b), "two builds of %s differ", name)
		for _, dir := range []string{first, second} {
			assert.False(t, bytes.Contains(a, []byte(dir)), "%s tells where it was built", name)
		}
	}

	t.Run("rules", func(t *testing.T) {
		root, user, command := byDockerfile(t, first)
		require.Equal(t, "65532:65532", user)
		assert.JSONEq(t, `["/controller"]`, command)
		entries, err := os.ReadDir(root)
		require.NoError(t, err)
		require.Len(t, entries, len(inImage))
		for _, name := range inImage {
			alone(t, root, name)
		}
	})

	t.Run("buildah", func(t *testing.T) {
		if _, err := exec.LookPath("buildah"); err != nil {
			t.Skip("buildah is not installed: the same files were tested above, only the image itself was not built")
		}
		if os.Geteuid() != 0 {
			t.Skip("not root: buildah could not mount the image; the same files were tested above")
		}
		store := t.TempDir()
		options := []string{"--root", filepath.Join(store, "root"), "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}
		buildah := func(args ...string) string {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), "buildah", append(options, args...)...).Output()
			require.NoError(t, err, "buildah %v", args)
			return strings.TrimSpace(string(out))
		}
		makeIn(t, second, "image", "IMAGE=localhost/fairlead:test", "BUILDER=buildah "+strings.Join(options, " "))
		var info struct {
			OCIv1 struct {
				Config struct {
					User   string
					Cmd    []string
					Labels map[string]string
				} `json:"config"`
				Architecture string `json:"architecture"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(buildah("inspect", "--type", "image", "localhost/fairlead:test")), &info))
		c := info.OCIv1.Config
		assert.Equal(t, "65532:65532", c.User)
		assert.Equal(t, []string{"/controller"}, c.Cmd)
		assert.Equal(t, version, c.Labels["org.opencontainers.image.version"])
		assert.Equal(t, commit, c.Labels["org.opencontainers.image.revision"])
		assert.Equal(t, runtime.GOARCH, info.OCIv1.Architecture)
		container := buildah("from", "localhost/fairlead:test")
		root := buildah("mount", container)
		defer buildah("rm", container)
		for _, name := range inImage {
			text, err := os.ReadFile(filepath.Join(root, name))
			require.NoError(t, err)
			assert.Equal(t, sums[name], sha256.Sum256(text), name)
			alone(t, root, name)
		}
	})
}

// byDockerfile does what the Dockerfile says, and returns the root filesystem, the user and the command.
func byDockerfile(t *testing.T, dir string) (root, user, command string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	require.NoError(t, err)
	root = t.TempDir()
	require.NoError(t, os.Chmod(root, 0o755))
	arch := strings.NewReplacer("${TARGETOS}", "linux", "${TARGETARCH}", runtime.GOARCH)
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "FROM":
			require.Equal(t, "scratch", rest)
		case "USER":
			user = rest
		case "CMD":
			command = rest
		case "COPY":
			files := strings.Fields(arch.Replace(rest))
			require.Equal(t, "/", files[len(files)-1])
			for _, f := range files[:len(files)-1] {
				binary, err := os.ReadFile(filepath.Join(dir, f))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(root, filepath.Base(f)), binary, 0o755))
			}
		case "", "#", "ARG", "LABEL":
		default:
			t.Fatalf("the test does not know the instruction %s", word)
		}
	}
	return root, user, command
}

// alone runs a command of a root filesystem with nothing else in sight, as the image's user. Who is not root cannot change the root:
// then that it needs no other file is told by the binary.
func alone(t *testing.T, root, name string) {
	t.Helper()
	f, err := elf.Open(filepath.Join(root, name))
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		assert.NotEqual(t, elf.PT_INTERP, p.Type, "%s is not static", name)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, name), "--version")
	if os.Geteuid() == 0 {
		cmd = exec.CommandContext(t.Context(), "/"+name, "--version")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	cmd.Env = []string{"PATH=/"}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), version+" (commit "+commit+", "+runtime.Version()+")", name)
}
