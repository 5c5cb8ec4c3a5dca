package localnet

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Processes returns the ids of all processes by the inode of their network namespace.
func Processes() map[uint64][]int {
	out := map[uint64][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/ns/net") // the pattern is well formed
	for _, file := range files {
		target, err := os.Readlink(file) // net:[4026531840]
		if err != nil {
			continue // the process has ended
		}
		inode, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(target, "net:"), "[]"), 10, 64)
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			out[inode] = append(out[inode], pid)
		}
	}
	return out
}
