package netlab

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// clockTicks is the unit of times in /proc: USER_HZ, which is the same on every architecture that Go knows.
const clockTicks = 100

// RSS returns the resident memory in bytes.
func (p *Process) RSS() int64 {
	t := p.host.lab.t
	t.Helper()
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(p.Status("VmRSS"), " kB"), 10, 64)
	require.NoError(t, err)
	return kilobytes << 10
}

// CPU returns the seconds of processor time, user and system, that the process has used.
func (p *Process) CPU() float64 {
	t := p.host.lab.t
	t.Helper()
	used, err := CPU(p.PID())
	require.NoError(t, err)
	return used
}

// CPU returns the seconds of processor time, user and system, that any process has used.
func CPU(pid int) (float64, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, 14 and 15 in proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return float64(ticks) / clockTicks, nil
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

// stat returns the fields of /proc/PID/stat from the state on; the name before it may contain anything.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	return fields, nil
}
