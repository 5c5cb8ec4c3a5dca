package main

import (
	"context"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/service"
)

// patience is how long completion may take; nobody waits longer for it.
const patience = 3 * time.Second

type completer = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

func complete(cmd *cobra.Command, flag string, f completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag
	}
}

// offer completes one argument with what read returns; without an answer it offers nothing.
func (c *connection) offer(read func(ctx context.Context, prefix string) ([]string, error)) completer {
	return func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, directive
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if c.open() != nil {
			return nil, directive
		}
		all, err := read(ctx, prefix)
		if err != nil {
			return nil, directive
		}
		all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, prefix) })
		slices.Sort(all)
		return slices.Compact(all), directive
	}
}

// services returns the Services of type LoadBalancer: the names of those in --namespace, or, as NAMESPACE/NAME, those of all namespaces,
// or, to whoever may not list them, of that of the context.
func (c *connection) services(ctx context.Context, prefix string) ([]string, error) {
	var list corev1.ServiceList
	var in []client.ListOption
	ns, _, ok := strings.Cut(prefix, "/")
	switch {
	case ok:
		in = append(in, client.InNamespace(ns))
	case c.namespace != "":
		in = append(in, client.InNamespace(c.namespace))
	}
	if err := c.client.List(ctx, &list, in...); err != nil {
		if err := c.client.List(ctx, &list, client.InNamespace(c.current)); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, s := range list.Items {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			name := s.Namespace + "/" + s.Name
			if !ok && c.namespace != "" {
				name = s.Name
			}
			out = append(out, name)
		}
	}
	return out, nil
}

// addresses returns those that Services have.
func (c *connection) addresses(ctx context.Context, _ string) ([]string, error) {
	var list corev1.ServiceList
	if err := c.client.List(ctx, &list); err != nil {
		return nil, err
	}
	var all []netip.Addr
	for i := range list.Items {
		all = append(all, service.ShownAddresses(&list.Items[i])...)
	}
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out, nil
}

// pools returns the names of the pools of the installation.
func (c *connection) pools(ctx context.Context, _ string) ([]string, error) {
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	return c.names(ctx, v1beta1.GroupVersion.WithKind("IPAddressPoolList"), client.InNamespace(c.installation))
}

func (c *connection) names(ctx context.Context, kind schema.GroupVersionKind, in ...client.ListOption) ([]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := c.client.List(ctx, list, in...); err != nil {
		return nil, err
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return out, nil
}

func (c *connection) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return c.offer(func(ctx context.Context, _ string) ([]string, error) {
		return c.names(ctx, corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	})(cmd, nil, prefix)
}

// named completes a flag with names in the kubeconfig.
func (c *connection) named(names func(*api.Config) iter.Seq[string]) completer {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var out []string
		if raw, err := c.config().RawConfig(); err == nil {
			out = slices.DeleteFunc(slices.Sorted(names(&raw)), func(n string) bool { return !strings.HasPrefix(n, prefix) })
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func contextsOf(k *api.Config) iter.Seq[string] { return maps.Keys(k.Contexts) }
func clustersOf(k *api.Config) iter.Seq[string] { return maps.Keys(k.Clusters) }
func usersOf(k *api.Config) iter.Seq[string]    { return maps.Keys(k.AuthInfos) }
