package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/internal/tool/convert"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

// convertOptions are the flags of convert.
type convertOptions struct {
	convert.Options
	files        []string
	release      string
	connection   connection
	outputDir    string
	output       string
	force        bool
	allowUnknown bool
}

func convertCommand() *cobra.Command {
	var o convertOptions
	cmd := &cobra.Command{
		Use:   "convert -f FILE [-f FILE ...] | --release NAME",
		Short: "Turn the configuration of MetalLB or Kubespray into objects and values of the chart",
		Long: `convert reads variables of a Kubespray inventory, MetalLB's old ConfigMap, values of MetalLB's Helm chart, or objects
MetalLB (of MetalLB's operator) and AddressPool, and writes objects of metallb.io and values for the chart of Fairlead. It
changes nothing in a cluster.

What is not understood is told with file, line and key, and nothing is written; with --allow-unknown the rest is. What is
understood but has no counterpart is told as a note. What is encrypted by Ansible Vault and what is a template is not understood.

Standard output is for kubectl apply: in it, the values are comments. -o values writes them alone, --output-dir writes both
into files, tells which, and overwrites none without --force.

Exit codes: 0 all was converted, or the rest is written as --allow-unknown asks, 1 something is not understood, or the command failed.`,
		Example: `  # Kubespray; several files of group_vars may refer to each other:
  kubectl fairlead convert -f group_vars/k8s_cluster/addons.yml -f group_vars/k8s_cluster/k8s-net-calico.yml --output-dir converted

  # The ConfigMap of MetalLB before 0.13:
  kubectl get configmap -n metallb-system config -o yaml | kubectl fairlead convert -f -

  # AddressPools of MetalLB before 0.14; of MetalLB's operator, also the installation:
  kubectl get addresspools.metallb.io -n metallb-system -o yaml | kubectl fairlead convert -f - -o objects
  kubectl get metallbs.metallb.io -n metallb-system -o yaml | kubectl fairlead convert -f - -o values > values.yaml

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
	f.StringVarP(&o.output, "output", "o", "", "write only these to standard output: "+strings.Join(outputs, ", "))
	f.BoolVar(&o.force, "force", false, "overwrite files that are in --output-dir already")
	f.BoolVar(&o.allowUnknown, "allow-unknown", false, "write what could be converted even if not all could")
	o.connection.addClusterFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("filename", "release")
	cmd.MarkFlagsOneRequired("filename", "release")
	cmd.MarkFlagsMutuallyExclusive("output", "output-dir")
	for flag, values := range map[string][]string{"output": outputs, "from": convert.Kinds, "backend": backends} {
		complete(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	complete(cmd, "output-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	return cmd
}

func (o *convertOptions) run(cmd *cobra.Command) error {
	if o.From != "" && !slices.Contains(convert.Kinds, o.From) {
		return fmt.Errorf("--from: %q is not a kind of input; use one of %s", o.From, strings.Join(convert.Kinds, ", "))
	}
	if o.Backend != "" && !slices.Contains(backends, o.Backend) {
		return fmt.Errorf("--backend: %q is not a backend; use one of %s", o.Backend, strings.Join(backends, ", "))
	}
	if o.output != "" && !slices.Contains(outputs, o.output) {
		return fmt.Errorf("--output: %q is not something to write; use one of %s", o.output, strings.Join(outputs, ", "))
	}
	if o.force && o.outputDir == "" {
		return errors.New("--force needs --output-dir, whose files it overwrites")
	}
	inputs, err := o.inputs(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	result, err := convert.Convert(inputs, o.Options)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	s := screen.New(cmd.ErrOrStderr(), os.Getenv)
	for _, n := range result.Notes {
		s.Line(screen.C("note:"), screen.C("%s", n))
	}
	for _, p := range result.Problems {
		s.Line(screen.C("not converted:"), screen.C("%s", p))
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
