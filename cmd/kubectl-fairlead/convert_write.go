package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/tool/convert"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

// What convert can write alone.
const (
	onlyValues  = "values"
	onlyObjects = "objects"
)

var outputs = []string{onlyValues, onlyObjects}

// write writes the result to the folder, or to standard output.
func (o *convertOptions) write(cmd *cobra.Command, result *convert.Result) error {
	manifests, err := result.Manifests()
	if err != nil {
		return err
	}
	values, err := result.ValuesFile()
	if err != nil {
		return err
	}
	if o.outputDir != "" {
		if err := o.writeFiles(manifests, values); err != nil {
			return err
		}
		return o.tell(cmd, result)
	}
	var out bytes.Buffer
	switch o.output {
	case onlyValues:
		out.Write(values)
	case onlyObjects:
		if len(manifests) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "note: no objects come of this input")
		}
		out.Write(manifests)
	default:
		if len(manifests) > 0 {
			fmt.Fprintf(&out, "# objects.yaml: kubectl apply -f\n%s---\n", manifests)
		}
		fmt.Fprint(&out, "# values.yaml: helm install --values\n", comment(values))
		fmt.Fprintln(cmd.ErrOrStderr(),
			"note: the values are comments in this output; -o values writes them alone, --output-dir writes two files")
	}
	_, err = cmd.OutOrStdout().Write(out.Bytes())
	return err
}

const (
	objectsFile = "objects.yaml"
	valuesFile  = "values.yaml"
)

// writeFiles writes both files, or none: one that is there already is overwritten only if that is asked for, and one of an earlier
// conversion is not left beside the other.
func (o *convertOptions) writeFiles(manifests, values []byte) error {
	for name, text := range map[string][]byte{objectsFile: manifests, valuesFile: values} {
		path := filepath.Join(o.outputDir, name)
		switch _, err := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case len(text) == 0:
			return fmt.Errorf("there is a file %s already, and no objects come of this input: remove it, or name another --output-dir", path)
		case !o.force:
			return fmt.Errorf("there is a file %s already: overwrite it with --force, or name another --output-dir; nothing is written", path)
		}
	}
	if err := os.MkdirAll(o.outputDir, 0o755); err != nil {
		return err
	}
	if len(manifests) > 0 {
		if err := o.writeFile(objectsFile, manifests); err != nil {
			return err
		}
	}
	return o.writeFile(valuesFile, values)
}

// writeFile writes a file that only its owner may read: peers may have passwords.
func (o *convertOptions) writeFile(name string, text []byte) error {
	path := filepath.Join(o.outputDir, name)
	if o.force { // a file that is there already keeps its mode when it is written
		if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.WriteFile(path, text, 0o600)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// tell says what was written.
func (o *convertOptions) tell(cmd *cobra.Command, result *convert.Result) error {
	var out strings.Builder
	if len(result.Objects) > 0 {
		fmt.Fprintf(&out, "wrote %s, for kubectl apply -f:\n", filepath.Join(o.outputDir, objectsFile))
	}
	for _, object := range result.Objects {
		kind := object.GetObjectKind().GroupVersionKind().Kind
		fmt.Fprintf(&out, "  %s %s\n", kind, screen.Clean(object.GetNamespace()+"/"+object.GetName()))
	}
	fmt.Fprintf(&out, "wrote %s, for helm install --values\n", filepath.Join(o.outputDir, valuesFile))
	_, err := cmd.OutOrStdout().Write([]byte(out.String()))
	return err
}

// comment makes comments of lines, so that all of the output can go to kubectl apply.
func comment(text []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		out.WriteString("# " + line)
	}
	return out.String()
}
