package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clockTicks is the unit of times in /proc: USER_HZ, which is the same on every architecture that Go knows.
const clockTicks = 100

// CPU returns the seconds of processor time, user and system, that any process has used.
func CPU(pid int) (float64, error) {
	_, fields, err := Stat(pid)
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
		name, fields, err := Stat(pid)
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

// Stat returns the program's name in /proc/PID/stat, and the fields from the state on; the name may contain anything.
func Stat(pid int) (name string, fields []string, err error) {
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

// RSS returns the bytes of memory that a process has in use.
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, fmt.Errorf("/proc/%d/statm: %w", pid, err)
	}
	return resident * int64(os.Getpagesize()), nil
}
