package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// unreleased is the section of CHANGELOG.md for what is in no release yet.
const unreleased = "Unreleased"

// readNotes returns what CHANGELOG.md says of the version, or, where it has no section of it, of what is not released yet.
func (r *release) readNotes() (string, error) {
	path := filepath.Join(r.source, "CHANGELOG.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for _, title := range []string{r.version, unreleased} {
		if notes := section(string(text), title); notes != "" {
			return notes, nil
		}
	}
	return "", fmt.Errorf("%s says nothing of %s: want a section %q, or %q", path, r.version, "## "+r.version, "## "+unreleased)
}

// section returns what is below a heading of the second level, up to the next one. Of the heading, the first word counts.
func section(text, title string) string {
	var out strings.Builder
	in := false
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			words := strings.Fields(heading)
			in = len(words) > 0 && words[0] == title
			continue
		}
		if in {
			out.WriteString(line)
		}
	}
	return strings.TrimSpace(out.String())
}

// writeNotes writes the text of the release page.
func (r *release) writeNotes(context.Context) error {
	text := fmt.Sprintf("# Fairlead %s\n\n%s\n\nImage: `%s@%s`. Built by %s.\n", r.version, r.notes, imageName, r.digest, r.goVersion)
	return os.WriteFile(r.file("release-notes.md"), []byte(text), 0o644)
}

// checksums is the file that makes a folder a release.
const checksums = "checksums.txt"

// writeChecksums writes the checksums of all files, as sha256sum reads them.
func (r *release) writeChecksums(context.Context) error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, e := range entries {
		sum, err := digestOf(r.file(e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(r.file(checksums), []byte(out.String()), 0o644)
}
