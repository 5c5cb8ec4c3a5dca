package netlab

import (
	"fmt"
	"os"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/integration/testbed"
)

// RSS returns the resident memory in bytes.
func (p *Process) RSS() int64 {
	t := p.host.lab.t
	t.Helper()
	bytes, err := testbed.RSS(p.PID())
	require.NoError(t, err)
	return bytes
}

// CPU returns the seconds of processor time, user and system, that the process has used.
func (p *Process) CPU() float64 {
	t := p.host.lab.t
	t.Helper()
	used, err := testbed.CPU(p.PID())
	require.NoError(t, err)
	return used
}

// Status returns a line of /proc/PID/status by its name, such as "CapEff".
func (p *Process) Status(name string) string {
	t := p.host.lab.t
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	require.Fail(t, "no such line", "%q in /proc/%d/status", name, p.PID())
	return ""
}
