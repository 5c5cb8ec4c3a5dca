package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLicences: what may not be shipped, or is not known, fails.
func TestLicences(t *testing.T) {
	apache, err := os.ReadFile(filepath.Join(repository(t), "LICENSE"))
	require.NoError(t, err)
	const gpl = "This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public License as " +
		"published by the Free Software Foundation; either version 2 of the License, or (at your option) any later version."
	for _, c := range []struct {
		name  string
		files []entry
		want  string
	}{
		{"permitted", []entry{{"LICENSE", 0o644, apache}, {"NOTICE", 0o644, []byte("Copyright")}}, ""},
		{"forbidden beside permitted", []entry{{"LICENSE", 0o644, apache}, {"sub/COPYING", 0o644, []byte(gpl)}}, "example.org/m@v1.0.0: sub/COPYING is GPL-2.0"},
		{"unknown", []entry{{"LICENSE.md", 0o644, []byte("Do what our lawyers let you.")}}, "example.org/m@v1.0.0: LICENSE.md is no known licence"},
		{"none", []entry{{"NOTICE", 0o644, apache}}, "example.org/m@v1.0.0 has no file with its licence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dependency{path: "example.org/m", version: "v1.0.0", files: c.files}
			if c.want == "" {
				require.NoError(t, d.classify())
				assert.Equal(t, []string{"Apache-2.0"}, d.licences)
				return
			}
			assert.ErrorContains(t, d.classify(), c.want)
		})
	}
}
