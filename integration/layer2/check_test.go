package layer2

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed/site"
	"github.com/fairlead/fairlead/internal/tool/check"
)

// TestCheck asks from a client, by the user's tool, whether a Service can be reached: it can; then its endpoints go; then its node. A watch
// beside it counts what was lost.
func TestCheck(t *testing.T) {
	s := site.New(t, bed, 3)
	svc := s.Service("web", s.Nodes(), nil)
	s.Advertised(svc, "True Advertised: speaker")
	plugin, err := bed.Build("kubectl-fairlead")
	require.NoError(t, err)
	run := func(into any, args ...string) int {
		t.Helper()
		var out, said bytes.Buffer
		code := 0
		require.NoError(t, s.Client.Do(func() error {
			cmd := exec.CommandContext(t.Context(), plugin, append([]string{"check", "--system-namespace", s.Namespace, "-o", "json", "--timeout", "2s"}, args...)...)
			cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig(), "HOME="+t.TempDir())
			cmd.Stdout, cmd.Stderr = &out, &said
			err := cmd.Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				code = exit.ExitCode()
				return nil
			}
			return err
		}))
		require.NoError(t, json.Unmarshal(out.Bytes(), into), "%s%s", &out, &said)
		return code
	}
	steps := func(r check.Result) map[string]string {
		out := map[string]string{}
		for _, x := range r.Steps {
			out[x.Step] = x.State
		}
		return out
	}
	name := svc.Namespace + "/" + svc.Name
	fine := map[string]string{"assigned": "ok", "advertised": "ok", "session": "skipped", "endpoint": "ok", "neighbour": "ok", "connect": "ok", "http": "ok"}
	var r check.Report
	require.Equal(t, 0, run(&r, "service", name, "--http"), "%+v", r)
	require.Len(t, r.Results, 2, "an address of each family")
	for _, x := range r.Results {
		assert.Equal(t, fine, steps(x), x.Address)
		assert.Equal(t, check.OK, x.Reachable)
	}
	var one check.Report
	require.Equal(t, 0, run(&one, "address", site.Addrs(svc)[1].String()))
	require.Len(t, one.Results, 1)
	assert.Equal(t, site.Addrs(svc)[1].String(), one.Results[0].Address)

	// A watch beside a node that dies.
	var watched struct {
		Targets []check.Tally
		Lost    int
	}
	p := s.Probe(s.AddClient("other"), site.Addrs(svc)[:1], site.Every)
	owner := s.Owner(p, site.Addrs(svc)[0])
	time.AfterFunc(2*time.Second, func() { owner.Cut() })
	require.Equal(t, 2, run(&watched, "service", name, "--watch", "--interval", "200ms", "--for", "8s"))
	require.Len(t, watched.Targets, 2)
	assert.Positive(t, watched.Lost)
	for _, x := range watched.Targets {
		assert.Less(t, x.Lost, x.Tried, "%s comes back", x.Target)
	}
	owner.Mend()

	// Without endpoints: that is the first step that is broken, and what helps is said.
	s.SetEndpoints(svc)
	s.Advertised(svc, "False NoEndpoints")
	var none check.Report
	require.Equal(t, 2, run(&none, "service", name), "%+v", none)
	for _, x := range none.Results {
		assert.Equal(t, check.StepAdvertised, x.Broken)
		assert.NotEmpty(t, x.Help)
		assert.Equal(t, check.Broken, steps(x)[check.StepEndpoint])
		assert.Equal(t, check.Broken, x.Reachable)
	}
}
