package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// elsewhere says of each step of the workflows with a script that is run by no test here why that is.
var elsewhere = map[string]string{
	"everything that has to pass":    "it is what runs this test",
	"log in to the registry":         "there is no registry that wants a password",
	"sign image and checksums":       "there is no identity to sign with: keyless signatures need GitHub's",
	"publish the release page":       "there is no GitHub",
	"write the files of the release": "", // TestRelease
	"check the checksums":            "", // TestRelease
	"push image and chart":           "", // TestRelease
}

// workflows are those of the repository, by the names of their files.
func workflows(t *testing.T) map[string]*actionlint.Workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository(t), ".github", "workflows", "*.yaml"))
	require.NoError(t, err)
	out := map[string]*actionlint.Workflow{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		w, faults := actionlint.Parse(text)
		require.Empty(t, faults, f)
		out[filepath.Base(f)] = w
	}
	require.Len(t, out, 2)
	return out
}

// script returns what a step of the release runs.
func script(t *testing.T, name string) string {
	t.Helper()
	for _, s := range workflows(t)["release.yaml"].Jobs["release"].Steps {
		if run, ok := s.Exec.(*actionlint.ExecRun); ok && s.Name != nil && s.Name.Value == name {
			return run.Run.Value
		}
	}
	require.Fail(t, "the release has no step with a script", name)
	return ""
}

// TestWorkflows: GitHub takes the workflows; every action has its major version, and every script is run by a test, or it is said why not.
func TestWorkflows(t *testing.T) {
	root := repository(t)
	var out strings.Builder
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{WorkingDir: root})
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yaml"))
	require.NoError(t, err)
	faults, err := linter.LintFiles(files, nil)
	require.NoError(t, err)
	assert.Empty(t, faults, out.String())

	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	minor := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(goMod))[1]
	named := map[string]bool{}
	for file, w := range workflows(t) {
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				switch e := s.Exec.(type) {
				case *actionlint.ExecAction:
					assert.Regexp(t, `^[\w-]+/[\w-]+@v\d+$`, e.Uses.Value, file)
					if strings.HasPrefix(e.Uses.Value, "actions/setup-go@") {
						assert.Equal(t, minor+".x", e.Inputs["go-version"].Value.Value, "%s has not the Go of go.mod", file)
					}
				case *actionlint.ExecRun:
					require.NotNil(t, s.Name, "%s: a step without a name: %s", file, e.Run.Value)
					_, known := elsewhere[s.Name.Value]
					assert.True(t, known, "%s: is the step %q run by a test, or why not?", file, s.Name.Value)
					named[s.Name.Value] = true
				}
			}
		}
	}
	for name := range elsewhere {
		assert.True(t, named[name], "no workflow has the step %q", name)
	}
	assert.Contains(t, script(t, "write the files of the release"), "make release ")
	ci := workflows(t)["ci.yaml"].Jobs["ci"].Steps
	assert.True(t, slices.ContainsFunc(ci, func(s *actionlint.Step) bool {
		run, ok := s.Exec.(*actionlint.ExecRun)
		return ok && strings.HasSuffix(run.Run.Value, " .ci/run")
	}), "ci.yaml does not run what a change must pass to land")
}

// TestForms: the forms of issues have what GitHub asks for, and no question twice.
func TestForms(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository(t), ".github", "ISSUE_TEMPLATE", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		var form struct {
			Name, Description string
			Labels            []string
			Body              []struct {
				Type, ID   string
				Attributes struct {
					Label, Description, Render string
					Options                    []string
				}
				Validations struct{ Required bool }
			}
		}
		require.NoError(t, yaml.UnmarshalStrict(text, &form), f)
		assert.NotEmpty(t, form.Name, f)
		assert.NotEmpty(t, form.Description, f)
		require.NotEmpty(t, form.Body, f)
		ids := map[string]bool{}
		for _, q := range form.Body {
			assert.Contains(t, []string{"textarea", "input", "dropdown"}, q.Type, "%s: %s", f, q.ID)
			assert.NotEmpty(t, q.Attributes.Label, "%s: %s", f, q.ID)
			assert.Equal(t, q.Type == "dropdown", len(q.Attributes.Options) > 0, "%s: %s", f, q.ID)
			assert.False(t, ids[q.ID], "%s asks %s twice", f, q.ID)
			ids[q.ID] = true
		}
	}
}
