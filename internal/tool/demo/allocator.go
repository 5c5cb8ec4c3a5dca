package demo

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// allocatorStory shows addresses that a provider of Cluster API's IPAM contract gives, and Calico advertises.
func (d *demo) allocatorStory() (story, error) {
	if d.Backend != Calico {
		return story{}, fmt.Errorf("allocator %s is shown with backend %s, not %s", config.AllocatorClusterAPI, Calico, d.Backend)
	}
	if d.file(localcluster.IPAMProvider) == "" {
		return story{}, fmt.Errorf("the binary %s is in none of %s; run 'make tools'", localcluster.IPAMProvider, strings.Join(d.Folders, ", "))
	}
	return story{`Some networks have an IPAM of their own that gives out addresses, to many clusters. Fairlead asks it, and goes on doing all the rest: ` +
		`who may have an address, that it stays, and who announces it.`, []step{
		{"start etcd and kube-apiserver", startWhy, d.startCluster},
		{"install the CRDs of metallb.io, fairlead.io, Calico and Cluster API's IPAM", "", d.installCRDs(localcluster.CalicoCRDs, localcluster.IPAMCRDs)},
		{"start Cluster API's in-cluster IPAM provider", "It is the one of Cluster API, unmodified.", d.startProvider},
		{"start the controller with --allocators=cluster-api", controllerWhy, d.startController},
		{"apply a pool of the provider, and one of MetalLB's that takes from there", "", d.apply("allocator.yaml")},
		{"create Services and wait for the provider to give them addresses", "", d.createServices("allocator-services.yaml")},
		{"look at the claims that the controller has made", "", d.showClaims},
		{"stop the provider", "A new Service waits and says why, and nobody loses an address.", d.withoutProvider},
		{"start the provider again", "", d.startProviderAgain},
		{"look at what Calico is told to advertise", "", func(ctx context.Context) error { return d.showCalicoList(ctx, "10.7.0.0/24") }},
	}}, nil
}

func (d *demo) startProvider(context.Context) (err error) {
	cmd := exec.Command(d.file(localcluster.IPAMProvider), localcluster.IPAMArgs(d.kubeconfig())...)
	cmd.SysProcAttr = ownGroup()
	if d.provider, err = d.launch("provider", cmd, here); err != nil {
		return fmt.Errorf("start the provider: %w", err)
	}
	d.provider.abrupt = true
	return nil
}

func (d *demo) showClaims(ctx context.Context) error {
	claims, err := clusterapi.Look(ctx, survey.ListWith(d.client), configNamespace, labels.Set(backends.OwnLabels(configNamespace)))
	if err != nil {
		return err
	}
	slices.SortFunc(claims, func(a, b clusterapi.Found) int { return a.Answer.Addr.Compare(b.Answer.Addr) })
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "      CLAIM\tFOR\tADDRESS")
	for _, x := range claims {
		fmt.Fprintf(w, "      %s\t%s\t%s\n", x.Object.GetName(), x.Owner, x.Answer.Addr)
	}
	return w.Flush()
}

func (d *demo) withoutProvider(ctx context.Context) error {
	if err := d.provider.end(); err != nil {
		return err
	}
	if err := d.create(ctx, "allocator-late.yaml"); err != nil {
		return err
	}
	var said string
	err := d.until(ctx, "the Service to say why it waits", func(ctx context.Context) (bool, error) {
		var svc corev1.Service
		if err := d.client.Get(ctx, client.ObjectKey{Namespace: serviceNamespace, Name: "late"}, &svc); err != nil {
			return false, err
		}
		c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
		if c == nil || c.Reason != service.ReasonWaitingForAllocator {
			return false, nil
		}
		said = fmt.Sprintf("%s: %s", c.Reason, c.Message)
		return true, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "      demo/late says %s\n", said)
	return nil
}

func (d *demo) startProviderAgain(ctx context.Context) error {
	if err := d.startProvider(ctx); err != nil {
		return err
	}
	list, err := d.services(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		fmt.Fprintf(d.Out, "      %s has %s\n", s.Name, strings.Join(addresses(&s), " "))
	}
	return nil
}
