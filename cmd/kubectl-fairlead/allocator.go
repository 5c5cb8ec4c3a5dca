package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	owned "github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// allocatorCommand is "kubectl fairlead allocator".
func allocatorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "allocator", Short: "See and free the claims of a cluster that is gone",
		Long:    "What cluster-api was asked for stays claimed until the cluster that has asked releases it. These commands are for a cluster that cannot.",
		Example: "  kubectl fairlead allocator release --context hub --cluster blue",
	}
	cmd.AddCommand(releaseCommand())
	return cmd
}

// releaseCommand is "kubectl fairlead allocator release".
func releaseCommand() *cobra.Command {
	var c connection
	var o releaseOptions
	cmd := &cobra.Command{
		Use:   "release --cluster NAME",
		Short: "Free the claims of a cluster that is gone for good",
		Long: `List the IPAddressClaims that the cluster of a name has made on an API server, the hub, and, with --yes, delete them: the provider
then gives their addresses to others at once. It asks for the name of the cluster once more before it does; --confirm answers that in
scripts.

A controller of that cluster that still runs makes them anew, if the provider still has the addresses for it.`,
		Example: `  # What the cluster "blue" has claimed:
  kubectl fairlead allocator release --context hub --cluster blue

  # Free all of it:
  kubectl fairlead allocator release --context hub --cluster blue --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rc, err := c.reach()
			if err != nil {
				return err
			}
			if o.client, err = client.New(rc, client.Options{Scheme: survey.NewScheme()}); err != nil {
				return fmt.Errorf("connect to the API server: %w", err)
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.cluster, "cluster", "", "name of the cluster, as its controller has it by --cluster-name")
	c.addClusterFlags(cmd)
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the claims; default: all")
	f.BoolVarP(&o.yes, "yes", "y", false, "delete them")
	f.StringVar(&o.confirm, "confirm", "", "the name of the cluster once more; default: it is asked for")
	_ = cmd.MarkFlagRequired("cluster")
	return cmd
}

type releaseOptions struct {
	client                      client.Client
	cluster, namespace, confirm string
	yes                         bool
}

func (o *releaseOptions) run(cmd *cobra.Command) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	s := screen.New(out, os.Getenv)
	claims, err := clusterapi.Look(ctx, survey.ListWith(o.client), o.namespace, map[string]string{
		clusterapi.LabelCluster: o.cluster, owned.LabelManagedBy: owned.ManagedBy,
	})
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the API server has no IPAddressClaims of group %s: it is not the hub", clusterapi.Group)
	case err != nil:
		return err
	case len(claims) == 0:
		s.Line(screen.C("Cluster %s has no claims here.", o.cluster))
		return nil
	}
	installations := map[string]bool{}
	for _, x := range claims {
		installations[x.ClusterUID] = true
		address := x.Answer.Addr.String()
		if !x.Answer.Addr.IsValid() {
			address = "no address"
		}
		s.Line(screen.C("%-39s %s for %s, %s/%s", address, x.Family, x.Owner, x.Namespace, x.Object.GetName()))
	}
	if len(installations) > 1 {
		s.Line(screen.C("%d clusters have this name; all of their claims are listed.", len(installations)))
	}
	if !o.yes {
		s.Line(screen.C("Claims of cluster %s: %d. To free them, run the command again with --yes.", o.cluster, len(claims)))
		return nil
	}
	if err := o.agree(cmd.InOrStdin(), out, len(claims)); err != nil {
		return err
	}
	for i, x := range claims {
		uid := x.Object.GetUID()
		err := o.client.Delete(ctx, &x.Object, &client.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete IPAddressClaim %s/%s: %w; %d of %d are deleted, run the command again", x.Namespace, x.Object.GetName(), err, i, len(claims))
		}
		if (i+1)%100 == 0 {
			fmt.Fprintf(out, "%d of %d deleted\n", i+1, len(claims))
		}
	}
	fmt.Fprintf(out, "Claims deleted: %d. The provider frees their addresses.\n", len(claims))
	return nil
}

// agree asks for the name of the cluster once more.
func (o *releaseOptions) agree(in io.Reader, out io.Writer, n int) error {
	if o.confirm == "" {
		fmt.Fprintf(out, "The addresses of %d claims may be given to others at once. Type the name of the cluster to delete the claims: ", n)
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && line == "" {
			return fmt.Errorf("nothing was deleted: %w; --confirm %s answers in scripts", err, o.cluster)
		}
		o.confirm = strings.TrimSpace(line)
	}
	if o.confirm != o.cluster {
		return fmt.Errorf("nothing was deleted: %q is not the name of the cluster, %q", o.confirm, o.cluster)
	}
	return nil
}
