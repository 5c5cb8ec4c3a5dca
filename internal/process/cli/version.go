package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker for an image: two builds of a commit are equal wherever they were made.
var (
	version = "devel"
	commit  = ""
)

// Version returns version, commit and Go version of this binary, in one line.
func Version() string {
	b := BuildOf()
	return fmt.Sprintf("%s (commit %s, %s)", b.Version, b.Commit, b.Go)
}

// Build is what a binary was made from.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// BuildOf returns what this binary was made from.
func BuildOf() Build { return Build{version, cmp.Or(commit, recorded(), "unknown"), runtime.Version()} }

// recorded returns the commit that the go command has put into the binary, if it has.
func recorded() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}
