package netlab

import (
	"fmt"
	"os"
	"path/filepath"
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
	_, fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return seconds(fields[11:13]) // utime and stime, 14 and 15 in proc(5)
}

// CPUByProgram returns the seconds of processor time that all processes of this machine have used, and those that they started and that have
// ended, by the names of the programs.
func CPUByProgram() (map[string]float64, error) {
	files, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(file))
		if err != nil {
			return nil, err
		}
		name, fields, err := stat(pid)
		if err != nil {
			continue // it has ended
		}
		used, err := seconds(fields[11:15]) // and cutime and cstime
		if err != nil {
			return nil, err
		}
		out[name] += used
	}
	return out, nil
}

// seconds adds up times of /proc.
func seconds(fields []string) (float64, error) {
	var ticks int64
	for _, f := range fields {
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

// stat returns the program's name in /proc/PID/stat, and the fields from the state on; the name may contain anything.
func stat(pid int) (name string, fields []string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil, err
	}
	_, rest, _ := strings.Cut(string(b), "(")
	i := strings.LastIndex(rest, ") ")
	if i >= 0 {
		name, fields = rest[:i], strings.Fields(rest[i+2:])
	}
	if len(fields) < 15 {
		return "", nil, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	return name, fields, nil
}
