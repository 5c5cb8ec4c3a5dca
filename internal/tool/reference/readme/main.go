// Command readme writes the README of the chart in the folder that it is given.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/internal/tool/reference"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "readme:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("the folder of a chart is needed")
	}
	var files [3][]byte
	for i, name := range []string{"Chart.yaml", "values.yaml", "values.schema.json"} {
		b, err := os.ReadFile(filepath.Join(args[0], name))
		if err != nil {
			return err
		}
		files[i] = b
	}
	values, err := reference.Values(files[1], files[2])
	if err != nil {
		return err
	}
	text, err := reference.ChartReadme(files[0], values)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(args[0], "README.md"), []byte(text), 0o644)
}
