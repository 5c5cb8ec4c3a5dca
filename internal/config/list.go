package config

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// Kinds returns an empty object of each kind that a Snapshot is made from. A BGPPeer is read without a Go type: a CRD that is not
// ours may admit one that cannot be decoded, and one object that cannot be decoded would hide all others of its kind.
func Kinds() []client.Object {
	return []client.Object{
		&v1beta1.IPAddressPool{}, &v1beta1.BGPAdvertisement{}, &v1beta1.L2Advertisement{}, &v1beta1.Community{}, &v1beta1.BFDProfile{},
		&v1alpha1.AddressReservation{}, untypedPeer(),
	}
}

func untypedPeer() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1beta2.GroupVersion.WithKind("BGPPeer"))
	return u
}

// List reads the objects of a namespace, from a cache that knows Kinds.
func List(ctx context.Context, reader client.Reader, namespace string) (Objects, error) {
	o, failed := ListWhatCan(ctx, reader, namespace)
	if len(failed) > 0 {
		return Objects{}, failed[0]
	}
	return o, nil
}

// ListWhatCan is List for those who may not read all kinds: it goes on, and returns one error for each kind that could not be read.
func ListWhatCan(ctx context.Context, reader client.Reader, namespace string) (Objects, []error) {
	var pools v1beta1.IPAddressPoolList
	var bgp v1beta1.BGPAdvertisementList
	var l2 v1beta1.L2AdvertisementList
	var communities v1beta1.CommunityList
	var profiles v1beta1.BFDProfileList
	var reservations v1alpha1.AddressReservationList
	peers := &unstructured.UnstructuredList{}
	peers.SetGroupVersionKind(v1beta2.GroupVersion.WithKind("BGPPeerList"))
	in := []client.ListOption{client.InNamespace(namespace)}
	lists := []Listed{
		{"IPAddressPools", &pools, in}, {"BGPAdvertisements", &bgp, in}, {"L2Advertisements", &l2, in}, {"Communities", &communities, in},
		{"BFDProfiles", &profiles, in}, {"AddressReservations", &reservations, in}, {"BGPPeers", peers, in},
	}
	var failed []error
	for i, err := range ListAll(ctx, reader, lists...) {
		if err != nil {
			failed = append(failed, fmt.Errorf("list %s in namespace %q: %w", lists[i].What, namespace, err))
		}
	}
	o := Objects{
		Pools: pools.Items, BGPAdvertisements: bgp.Items, L2Advertisements: l2.Items, Communities: communities.Items,
		BFDProfiles: profiles.Items, Reservations: reservations.Items,
	}
	o.BGPPeers, o.Unreadable = decodePeers(peers.Items)
	return o, failed
}

// Listed is a list to read.
type Listed struct {
	What    string // the kind, in the plural
	List    client.ObjectList
	Options []client.ListOption
}

// ListAll reads lists, all at once: one is decoded while the API server works on the next. It returns for each why it could not be read, or nil.
func ListAll(ctx context.Context, reader client.Reader, lists ...Listed) []error {
	errs := make([]error, len(lists))
	var all sync.WaitGroup
	for i, l := range lists {
		all.Go(func() { errs[i] = reader.List(ctx, l.List, l.Options...) })
	}
	all.Wait()
	return errs
}

func decodePeers(in []unstructured.Unstructured) ([]v1beta2.BGPPeer, []Fault) {
	var peers []v1beta2.BGPPeer
	var faults []Fault
	for i := range in {
		var p v1beta2.BGPPeer
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(in[i].Object, &p); err != nil {
			faults = append(faults, Fault{
				Object: Ref{
					APIVersion: v1beta2.GroupVersion.String(), Kind: "BGPPeer",
					Namespace: in[i].GetNamespace(), Name: in[i].GetName(), UID: in[i].GetUID(),
				},
				Field: "spec", Problem: "the peer cannot be read: " + err.Error(),
			})
			continue
		}
		peers = append(peers, p)
	}
	return peers, faults
}
