package main

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/cli"
)

// newAllocators returns who gives out the addresses of pools besides the built-in allocator. own leads to the cluster's own API server; both
// it and what leads to a hub write only while this process leads.
func newAllocators(ctx context.Context, own *rest.Config, fenced func(*rest.Config), o Options, log *slog.Logger) (map[string]allocator.Provider, error) {
	out := map[string]allocator.Provider{}
	for _, name := range o.Allocators {
		if name != config.AllocatorClusterAPI {
			continue
		}
		uid, err := clusterUID(ctx, own)
		if err != nil {
			return nil, err
		}
		options := clusterapi.Options{
			Namespace: o.AllocatorNamespace, Cluster: o.ClusterName, ClusterUID: uid, Labels: backends.OwnLabels(o.Namespace), Log: log,
			Connect: func() (*rest.Config, error) { return own, nil },
		}
		if options.File = o.AllocatorKubeconfig; options.File != "" {
			options.Connect = func() (*rest.Config, error) {
				hub, err := cli.RESTConfig(o.AllocatorKubeconfig)
				if err != nil {
					return nil, fmt.Errorf("--allocator-kubeconfig: %w", err)
				}
				fenced(hub)
				return hub, nil
			}
		}
		out[name] = clusterapi.New(options)
	}
	return out, nil
}

// clusterUID returns what tells this cluster from every other: the UID of namespace kube-system.
func clusterUID(ctx context.Context, rc *rest.Config) (string, error) {
	c, err := client.New(rc, client.Options{Scheme: cli.NewScheme()})
	if err != nil {
		return "", fmt.Errorf("connect to the API server: %w", err)
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := c.List(ctx, &list, client.MatchingFields{"metadata.name": metav1.NamespaceSystem}); err != nil {
		return "", fmt.Errorf("read namespace %s, whose UID tells clusters apart: %w", metav1.NamespaceSystem, err)
	}
	if len(list.Items) != 1 {
		return "", fmt.Errorf("there is no namespace %s, whose UID tells clusters apart", metav1.NamespaceSystem)
	}
	return string(list.Items[0].UID), nil
}
