package survey

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/presence"
)

// The labels of what a speaker tells of a Service are MetalLB's.
const (
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
)

// ReadTold reads what the speakers tell of some Services, for a model of a Survey that has spared it for all of them.
func (m *Model) ReadTold(ctx context.Context, c client.Reader, services ...types.NamespacedName) error {
	for _, svc := range services {
		of := client.MatchingLabels{labelServiceNamespace: svc.Namespace, labelServiceName: svc.Name}
		var l2 v1beta1.ServiceL2StatusList
		var bgp v1beta1.ServiceBGPStatusList
		for _, l := range []struct {
			what string
			list client.ObjectList
		}{{ServiceL2Statuses, &l2}, {ServiceBGPStatuses, &bgp}} {
			if m.Lacks(l.what) {
				continue
			}
			if err := c.List(ctx, l.list, client.InNamespace(m.Namespace), of); err != nil {
				if err := m.gap(l.what, err); err != nil {
					return err
				}
			}
		}
		m.L2, m.BGP = append(m.L2, l2.Items...), append(m.BGP, bgp.Items...)
	}
	m.leaveOutSilent()
	m.addUnsaid(func(id types.NamespacedName) bool { return slices.Contains(services, id) })
	return nil
}

// addUnsaid adds, for speakers that do not say which Services they advertise by BGP, what they would say of those that are wanted.
func (m *Model) addUnsaid(wanted func(types.NamespacedName) bool) {
	all, quiet := m.AnnounceNodes(), map[string]*announce.Node{}
	for i := range m.Leases {
		node, l, ok := presence.Read(&m.Leases[i])
		n, known := all[node]
		if _, silent := m.Silent[node]; ok && known && !silent && l.NoServiceBGPStatus {
			quiet[node] = &n
		}
	}
	if len(quiet) == 0 {
		return
	}
	survey := *m.Survey
	survey.BGP, m.Survey = slices.Clone(survey.BGP), &survey
	_, ignore := m.Speakers()
	in := announce.RoutesInput{Snapshot: m.Snapshot, Services: m.Announced(), IgnoreExclude: ignore,
		Serves: func(a *config.BGPAdvertisement) bool {
			return m.Choice.Backend(a) == announce.SpeakerBackend
		}}
	for id, over := range announce.Unsaid(in, quiet) {
		if !wanted(id) {
			continue
		}
		peers := map[string][]string{}
		for _, p := range over {
			peers[p.Node] = append(peers[p.Node], p.Peer)
		}
		for node, names := range peers {
			m.BGP = append(m.BGP, v1beta1.ServiceBGPStatus{Status: v1beta1.ServiceBGPStatusStatus{
				Node: node, ServiceName: id.Name, ServiceNamespace: id.Namespace, Peers: names,
			}})
		}
	}
}
