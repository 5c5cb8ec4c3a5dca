// Package docs does what the pages of docs/tasks and docs/tutorials tell a reader to do: it applies each manifest, runs each command, and compares
// what comes of it. What needs a real cluster is in blocks of the kind sh, which only tutorials have, and what is for a router in blocks of text.
package docs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

var (
	bed    *testbed.Bed
	plugin string
	update = flag.Bool("update", false, "write what commands print into the pages")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) (err error) {
		plugin, err = b.Build("kubectl-fairlead")
		return err
	}))
}

// installation is the namespace that the pages name.
const installation = "metallb-system"

func TestPages(t *testing.T) {
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: installation}})))
	bed.Start(t, installation)
	testbed.Eventually(t, "the controller to be at work", func(ctx context.Context) error {
		return bed.Client.Get(ctx, client.ObjectKey{Namespace: installation, Name: "controller"}, &v1beta1.ConfigurationState{})
	})
	for _, f := range []struct {
		name  string
		kinds []string // of blocks
	}{{"tasks", []string{"yaml", "console"}}, {"tutorials", []string{"yaml", "console", "sh", "text"}}} {
		pages, err := filepath.Glob(testbed.Folder("docs", f.name, "*.md"))
		require.NoError(t, err)
		require.NotEmpty(t, pages, f.name)
		for _, path := range pages {
			t.Run(f.name+"/"+strings.TrimSuffix(filepath.Base(path), ".md"), func(t *testing.T) { follow(t, path, f.kinds) })
		}
	}
}

// follow does what a page tells, which has blocks of some kinds.
func follow(t *testing.T, path string, kinds []string) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	r := newReader(t)
	var out strings.Builder
	for _, p := range partsOf(t, string(b), kinds) {
		switch kind, file, _ := strings.Cut(p.kind, " "); {
		case kind == "yaml" && file != "": // to be saved, and used later
			require.NoError(t, os.WriteFile(filepath.Join(r.dir, file), []byte(p.text), 0o600))
		case kind == "yaml":
			r.apply(p.text)
		case kind == "console":
			p.text = r.typed(p.text)
		}
		out.WriteString(p.String())
	}
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
	}
}

// part is a part of a page: a block of a kind, or the text between two, which has none.
type part struct{ kind, text string }

func (p part) String() string {
	if p.kind == "" {
		return p.text
	}
	return "```" + p.kind + "\n" + p.text + "```\n"
}

// partsOf takes a page apart. A block of another kind is an error: nobody would run it.
func partsOf(t *testing.T, page string, kinds []string) []part {
	t.Helper()
	var out []part
	for i, text := range strings.Split(page, "```") {
		if i%2 == 0 {
			out = append(out, part{text: strings.TrimPrefix(text, "\n")})
			if i == 0 {
				out[0].text = text
			}
			continue
		}
		kind, text, _ := strings.Cut(text, "\n")
		name, _, _ := strings.Cut(kind, " ")
		require.Contains(t, kinds, name, "a block that is not run")
		out = append(out, part{kind, text})
	}
	return out
}

// reader is who does what a page tells, in a folder of their own.
type reader struct {
	t   *testing.T
	dir string
	env []string
}

func newReader(t *testing.T) *reader {
	r := &reader{t: t, dir: t.TempDir()}
	config := filepath.Join(r.dir, "kubeconfig")
	require.NoError(t, os.WriteFile(config, bed.Kubeconfig, 0o600))
	r.env = append(os.Environ(), "KUBECONFIG="+config, "COLUMNS=100", "PATH="+filepath.Dir(plugin)+":"+testbed.Folder("bin")+":"+os.Getenv("PATH"))
	t.Cleanup(func() { // the next page begins with nothing
		for _, line := range []string{
			"kubectl delete services -l component!=apiserver", "kubectl delete namespaces team-a team-b --ignore-not-found --wait=false",
			"kubectl delete services --all -n team-a", "kubectl delete services --all -n team-b",
			"kubectl delete deployments --all", "kubectl delete ipaddresspools,addressreservations,bgpadvertisements,l2advertisements,bgppeers --all -n " + installation,
		} {
			_, err := r.run(line)
			assert.NoError(t, err, line)
		}
	})
	return r
}

// run runs a command line, and returns what it prints. An exit code of 2 is an answer: it tells that there is something to see to.
func (r *reader) run(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testbed.Patience) // also when the test has ended
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.dir, r.env, time.Second // what it has started may hold what it prints to
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 2 {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", line, errors.Join(err, ctx.Err()), out)
	}
	return string(out), err
}

func (r *reader) apply(manifest string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), testbed.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, testbed.Folder("bin", "kubectl"), "apply", "-f", "-")
	cmd.Env, cmd.Stdin = r.env, strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "%s\n%s", out, manifest)
}

// asking are the commands that change nothing: they are run again until they print what the page says, because clusters take their time.
var asking = regexp.MustCompile(`^kubectl (get|fairlead) `)

// typed runs the commands of a block, and returns the block with what they print; it fails unless the page says that, too.
func (r *reader) typed(block string) string {
	r.t.Helper()
	var out strings.Builder
	entries := regexp.MustCompile(`(?m)^\$ `).Split(block, -1)
	require.Empty(r.t, entries[0], "a block of a console begins with $ and a command")
	for _, entry := range entries[1:] {
		line, want, _ := strings.Cut(entry, "\n")
		var got string
		check := func(context.Context) (err error) {
			if got, err = r.run(line); err != nil {
				return err
			}
			if got = strings.TrimRight(got, "\n") + "\n"; got == "\n" {
				got = ""
			}
			if normal(got) != normal(want) && !*update {
				return fmt.Errorf("it prints\n%s\nand the page says\n%s", got, want)
			}
			return nil
		}
		switch {
		case *update:
			time.Sleep(2 * time.Second) // until everything has come to rest
			require.NoError(r.t, check(r.t.Context()))
		case asking.MatchString(line):
			testbed.Eventually(r.t, line, check)
		default:
			require.NoError(r.t, check(r.t.Context()))
		}
		fmt.Fprintf(&out, "$ %s\n%s", line, got)
	}
	return out.String()
}

// changing are the texts that differ from run to run: addresses that the API server gives, ports of nodes, ages and times.
var changing = regexp.MustCompile(`\b10\.(9[6-9]|1[01]\d)\.\d+\.\d+\b|\b\d+:3\d{4}/|\b\d+(ms|s|m\d*s?|h)\b|\b\d{4}-\d\d-\d\dT\S+|-[0-9a-f]{16}\b`)

// normal returns a text without what differs from run to run.
func normal(text string) string {
	return strings.Join(strings.Fields(changing.ReplaceAllString(text, "#")), " ")
}
