package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/convert"
	"github.com/fairlead/fairlead/internal/migrate"
	"github.com/fairlead/fairlead/internal/screen"
)

// convertOptions are the flags of convert.
type convertOptions struct {
	convert.Options
	files        []string
	release      string
	connection   connection
	outputDir    string
	allowUnknown bool
}

func convertCommand() *cobra.Command {
	var o convertOptions
	cmd := &cobra.Command{
		Use:   "convert -f FILE [-f FILE ...] | --release NAME",
		Short: "Turn the configuration of MetalLB or Kubespray into objects and values of the chart",
		Long: `convert reads variables of a Kubespray inventory, MetalLB's old ConfigMap, or values of MetalLB's Helm chart, and
writes objects of metallb.io and values for the chart of Fairlead. It changes nothing in a cluster.

What is not understood is told with file, line and key, nothing is written, and the exit code is 1. With --allow-unknown
the rest is written all the same, and the exit code is 0. What is understood but has no counterpart is told as a note.`,
		Example: `  # Kubespray; several files of group_vars may refer to each other:
  kubectl fairlead convert -f group_vars/k8s_cluster/addons.yml -f group_vars/k8s_cluster/k8s-net-calico.yml --output-dir converted

  # The ConfigMap of MetalLB before 0.13:
  kubectl get configmap -n metallb-system config -o yaml | kubectl fairlead convert -f -

  # A release of MetalLB's chart:
  kubectl fairlead convert --release metallb --namespace metallb-system --backend calico --output-dir converted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file to convert; - is standard input; can be repeated")
	f.StringVar(&o.release, "release", "", "convert the values of this Helm release of MetalLB, in --namespace")
	f.StringVar(&o.From, "from", "", "what the files are: "+strings.Join(convert.Kinds, ", ")+" (default: told by their keys)")
	f.StringVar(&o.Backend, "backend", "", "who is to advertise: auto, calico, cilium, speaker or none (default: who does so now)")
	f.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of the objects (default: that of the ConfigMap, else metallb-system)")
	f.StringVar(&o.outputDir, "output-dir", "", "folder for objects.yaml and values.yaml (default: both to standard output)")
	f.BoolVar(&o.allowUnknown, "allow-unknown", false, "write what could be converted even if not all could")
	o.connection.addClusterFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("filename", "release")
	cmd.MarkFlagsOneRequired("filename", "release")
	return cmd
}

func (o *convertOptions) run(cmd *cobra.Command) error {
	if o.From != "" && !slices.Contains(convert.Kinds, o.From) {
		return fmt.Errorf("--from: %q is not a kind of input; use one of %s", o.From, strings.Join(convert.Kinds, ", "))
	}
	if o.Backend != "" && !slices.Contains(backends, o.Backend) {
		return fmt.Errorf("--backend: %q is not a backend; use one of %s", o.Backend, strings.Join(backends, ", "))
	}
	inputs, err := o.inputs(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	result, err := convert.Convert(inputs, o.Options)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	for _, n := range result.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", screen.Clean(n.String()))
	}
	for _, p := range result.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), "not converted:", screen.Clean(p.String()))
	}
	if n := len(result.Problems); n > 0 && !o.allowUnknown {
		return fmt.Errorf("convert: %d of the settings could not be converted, nothing is written: correct them, or write the rest with --allow-unknown", n)
	}
	return o.write(cmd, result)
}

// backends are the values of --backend.
var backends = []string{"auto", "calico", "cilium", "speaker", "none"}

// inputs reads what is to be converted.
func (o *convertOptions) inputs(ctx context.Context, stdin io.Reader) ([]convert.Input, error) {
	if o.release != "" {
		if o.Namespace == "" {
			return nil, errors.New("--release needs --namespace, that of the release")
		}
		if err := o.connection.open(); err != nil {
			return nil, err
		}
		values, err := migrate.ReleaseValues(ctx, o.connection.client, o.Namespace, o.release)
		if err != nil {
			return nil, err
		}
		o.From = convert.Values
		return []convert.Input{{Name: "release " + o.release, Text: values}}, nil
	}
	var out []convert.Input
	for _, path := range o.files {
		name := path
		read := func() ([]byte, error) { return os.ReadFile(path) }
		if path == "-" {
			name, read = "standard input", func() ([]byte, error) { return io.ReadAll(stdin) }
		}
		text, err := read()
		if err != nil {
			return nil, err
		}
		out = append(out, convert.Input{Name: name, Text: text})
	}
	return out, nil
}

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
	if o.outputDir == "" {
		var out bytes.Buffer
		if len(manifests) > 0 {
			fmt.Fprintf(&out, "# objects.yaml: kubectl apply -f\n%s---\n", manifests)
		}
		fmt.Fprint(&out, "# values.yaml: helm install --values\n", comment(values))
		_, err := cmd.OutOrStdout().Write(out.Bytes())
		return err
	}
	if err := os.MkdirAll(o.outputDir, 0o755); err != nil {
		return err
	}
	if stale := filepath.Join(o.outputDir, "objects.yaml"); len(manifests) == 0 {
		if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is a file %s already, and no objects come of this input: remove it, or name another --output-dir", stale)
		}
	}
	for name, text := range map[string][]byte{"objects.yaml": manifests, "values.yaml": values} {
		if len(text) == 0 {
			continue
		}
		// Peers may have passwords. A file that is there already keeps its mode when it is written.
		path := filepath.Join(o.outputDir, name)
		if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// comment makes comments of lines, so that all of the output can go to kubectl apply.
func comment(text []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		out.WriteString("# " + line)
	}
	return out.String()
}
