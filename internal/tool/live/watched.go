package live

import (
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Events are the events of takeovers, as a kind that can be spared.
const Events = "Events"

// EventNodeAssigned is the reason of the events, MetalLB's, by which speakers tell that they have taken over an address of layer 2.
const EventNodeAssigned = "nodeAssigned"

// watch is a kind that is watched.
type watch struct {
	what    string
	list    func() client.ObjectList
	options []client.ListOption
}

// watched are the kinds that a survey reads, the DaemonSets of the speakers, and the events of takeovers.
func watched(namespace string) []watch {
	in := client.InNamespace(namespace)
	kind := func(what string, list func() client.ObjectList, o ...client.ListOption) watch {
		return watch{what, list, o}
	}
	return []watch{
		kind("Services", func() client.ObjectList { return &corev1.ServiceList{} }),
		kind("Namespaces", func() client.ObjectList {
			l := &metav1.PartialObjectMetadataList{}
			l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
			return l
		}),
		kind("Nodes", func() client.ObjectList { return &corev1.NodeList{} }),
		kind(survey.EndpointSlices, func() client.ObjectList { return &discoveryv1.EndpointSliceList{} }),
		kind("Backends", func() client.ObjectList { return &v1alpha1.BackendList{} }),
		kind("ConfigurationStates", func() client.ObjectList { return &v1beta1.ConfigurationStateList{} }, in),
		kind(survey.ServiceL2Statuses, func() client.ObjectList { return &v1beta1.ServiceL2StatusList{} }, in),
		kind(survey.ServiceBGPStatuses, func() client.ObjectList { return &v1beta1.ServiceBGPStatusList{} }, in),
		kind("BGPSessions", func() client.ObjectList { return &v1alpha1.BGPSessionList{} }, in),
		kind("IPAddressPools", func() client.ObjectList { return &v1beta1.IPAddressPoolList{} }, in),
		kind("BGPAdvertisements", func() client.ObjectList { return &v1beta1.BGPAdvertisementList{} }, in),
		kind("L2Advertisements", func() client.ObjectList { return &v1beta1.L2AdvertisementList{} }, in),
		kind("Communities", func() client.ObjectList { return &v1beta1.CommunityList{} }, in),
		kind("BFDProfiles", func() client.ObjectList { return &v1beta1.BFDProfileList{} }, in),
		kind("AddressReservations", func() client.ObjectList { return &v1alpha1.AddressReservationList{} }, in),
		kind("BGPPeers", func() client.ObjectList {
			l := &unstructured.UnstructuredList{}
			l.SetGroupVersionKind(v1beta2.GroupVersion.WithKind("BGPPeerList"))
			return l
		}, in),
		kind("Leases", func() client.ObjectList { return &coordinationv1.LeaseList{} }, in),
		kind("Deployments", func() client.ObjectList { return &appsv1.DeploymentList{} }, in, survey.ControllerLabels),
		kind("DaemonSets", func() client.ObjectList { return &appsv1.DaemonSetList{} }, in, survey.SpeakerLabels),
		kind(Events, func() client.ObjectList { return &corev1.EventList{} },
			client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("reason", EventNodeAssigned)}),
	}
}

// trim drops what nobody reads here. What remains differs only if something that is shown does.
func trim(o client.Object) {
	if _, err := service.Trim(o); err != nil {
		panic(err) // it returns none
	}
	switch x := o.(type) {
	case *corev1.Node:
		x.Annotations, x.Status.Images, x.Status.VolumesInUse, x.Status.VolumesAttached = nil, nil, nil, nil
		x.Status.Allocatable, x.Status.Capacity = nil, nil
		for i := range x.Status.Conditions {
			x.Status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	case *discoveryv1.EndpointSlice:
		x.Annotations, x.OwnerReferences, x.Ports = nil, nil, nil
	}
}

func labelsOf(o client.Object) labels.Set { return o.GetLabels() }
