package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// versions are those of this tool and of what runs in the cluster.
type versions struct {
	Client cli.Build `json:"client"`
	// Kubernetes is the version of the API server; absent: it has not been asked, or does not tell.
	Kubernetes string `json:"kubernetes,omitempty"`
	// Controller and Speakers are absent if they are not to be seen.
	Controller *process `json:"controller,omitempty"`
	Speakers   *process `json:"speakers,omitempty"`
}

// process is what runs in the cluster.
type process struct {
	Namespace string `json:"namespace"`
	// Workload is the name of the Deployment or DaemonSet.
	Workload string `json:"workload"`
	// Version is the tag of the image, or what the labels say if it has none; absent: not known.
	Version string `json:"version,omitempty"`
	Image   string `json:"image,omitempty"`
}

func versionCommand() *cobra.Command {
	var c connection
	var o output
	var only bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this tool, of the controller that runs, and of Kubernetes",
		Long: `version shows the version of this tool, that of the API server, and those of the controller and the speakers, as the images of their
Deployment and DaemonSet say. With --client it asks nobody, and needs no kubeconfig.

Exit codes: 0 done, 1 the controller's version is not to be seen, or the command failed; the tool's own is shown all the same.`,
		Example: `  kubectl fairlead version
  kubectl fairlead version --client
  kubectl fairlead version -o json | jq -r .controller.version`,
		Args: cobra.NoArgs,
		RunE: c.run(&o, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			v := &versions{Client: cli.BuildOf()}
			var failed error
			if !only {
				failed = c.versions(ctx, v)
			}
			if err := o.print(cmd, document.Versions, v, func(s *screen.Screen, _ bool) { showVersions(s, v) }); err != nil {
				return err
			}
			return failed
		}),
	}
	c.addFlags(cmd)
	o.addFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().BoolVar(&only, "client", false, "only the version of this tool; the cluster is not asked")
	return cmd
}

// versions finds out what runs in the cluster.
func (c *connection) versions(ctx context.Context, v *versions) error {
	if err := c.open(); err != nil {
		return err
	}
	disc, err := discovery.NewDiscoveryClientForConfig(c.rest)
	if err != nil {
		return err
	}
	if server, err := disc.ServerVersion(); err == nil { // it is shown if it may be
		v.Kubernetes = server.GitVersion
	}
	if err := c.find(ctx); err != nil {
		return err
	}
	s, err := survey.ReadController(ctx, c.client, c.installation)
	if err != nil {
		return err
	}
	k := s.Controller
	if k.Deployment != "" {
		v.Controller = &process{Namespace: s.Namespace, Workload: k.Deployment, Version: k.Version, Image: k.Image}
	}
	var sets appsv1.DaemonSetList
	if c.client.List(ctx, &sets, client.InNamespace(s.Namespace), survey.SpeakerLabels) == nil { // they are shown if they may be
		for i := range sets.Items {
			d := &sets.Items[i]
			for _, x := range d.Spec.Template.Spec.Containers {
				if x.Name == "speaker" {
					v.Speakers = &process{Namespace: d.Namespace, Workload: d.Name, Version: survey.VersionOf(x.Image, d.Labels), Image: x.Image}
				}
			}
		}
	}
	if err := s.Installed(); err != nil {
		return err
	}
	if err := s.Need("Deployments"); err != nil {
		return err
	}
	if v.Controller == nil {
		return fmt.Errorf("there is no Deployment of a controller in namespace %q, by whose image its version could be told", s.Namespace)
	}
	return nil
}

func showVersions(s *screen.Screen, v *versions) {
	rows := [][]screen.Cell{{screen.C("client"), screen.C("%s", v.Client.Version), screen.C("commit %s, %s", v.Client.Commit, v.Client.Go)}}
	if v.Kubernetes != "" {
		rows = append(rows, []screen.Cell{screen.C("kubernetes"), screen.C("%s", v.Kubernetes)})
	}
	for _, x := range []struct {
		name string
		*process
	}{{"controller", v.Controller}, {"speakers", v.Speakers}} {
		if x.process == nil {
			continue
		}
		version := x.Version
		if version == "" {
			version = "not known"
		}
		rows = append(rows, []screen.Cell{screen.C("%s", x.name), screen.C("%s", version),
			screen.C("%s, of %s/%s", x.Image, x.Namespace, x.Workload)})
	}
	s.Table(rows...)
}
