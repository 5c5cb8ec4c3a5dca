package delegate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
)

// bgpUp is the state of a BGPSession that is up.
const bgpUp = "Established"

// judgeBGP adds to now the verdicts on what speakers advertise by BGP; it returns how many Services are to be advertised and no speaker has
// said so yet. What nodes have told that are silent does not count.
func (s *speakers) judgeBGP(l2 *announce.LocalInput, choice announce.Choice, silent map[string]bool, was,
	now map[judged]announce.Verdict) (pending int, err error) {
	serves := func(a *config.BGPAdvertisement) bool { return choice.Backend(a) == Speaker }
	if !slices.ContainsFunc(l2.Snapshot.BGPAdvertisements(), serves) {
		return 0, nil
	}
	var list v1beta1.ServiceBGPStatusList
	if err := s.cache.List(context.Background(), &list, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	var known v1alpha1.BGPSessionList
	if err := s.cache.List(context.Background(), &known, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	sessions := map[announce.NodePeer]announce.Session{}
	for i := range known.Items {
		if ofCNI(&known.Items[i]) {
			continue
		}
		x := &known.Items[i].Status
		sessions[announce.NodePeer{Node: x.Node, Peer: x.Peer}] = announce.Session{Up: x.State == bgpUp, Error: x.LastError}
	}
	over := map[types.NamespacedName][]announce.NodePeer{}
	for i := range list.Items {
		x := &list.Items[i].Status
		if silent[x.Node] {
			continue
		}
		key := types.NamespacedName{Namespace: x.ServiceNamespace, Name: x.ServiceName}
		for _, p := range x.Peers {
			over[key] = append(over[key], announce.NodePeer{Node: x.Node, Peer: p})
		}
	}
	quiet := map[string]*announce.Node{}
	for node := range s.quiet {
		if n, known := l2.Nodes[node]; known {
			quiet[node] = &n
		}
	}
	unsaid := announce.RoutesInput{Snapshot: l2.Snapshot, Serves: serves, Services: l2.Services, IgnoreExclude: l2.IgnoreExclude}
	for key, peers := range announce.Unsaid(unsaid, quiet) {
		over[key] = append(over[key], peers...)
	}
	var rest []announce.Service
	for _, svc := range l2.Services {
		key := types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}
		if len(over[key]) == 0 {
			rest = append(rest, svc)
			continue
		}
		v := announce.SpokenTo(l2.Snapshot, svc.Addrs, over[key], sessions)
		k := judged{kindBGP, key}
		if old, known := was[k]; known && v.Reason == announce.ReasonNoSession && old.Reason == v.Reason {
			v = old // errors may be others with each attempt
		} else if known && old.Reason != v.Reason {
			if wait := s.flaps.wait(k, time.Now()); wait > 0 {
				v = old
				time.AfterFunc(wait, s.wake)
			}
		}
		now[k] = v
	}
	s.flaps.forget(time.Now())
	return pending + s.refused(l2, serves, rest, now), nil
}

// refused says of Services that nobody advertises why that is so.
func (s *speakers) refused(l2 *announce.LocalInput, serves func(*config.BGPAdvertisement) bool, services []announce.Service,
	now map[judged]announce.Verdict) (pending int) {
	reasons := make([]map[string][]string, len(services)) // reason and message, and the nodes that have it
	willing := make([]string, len(services))
	verdicts := map[string]announce.Verdict{}
	for node := range l2.Speakers {
		in := announce.RoutesInput{Snapshot: l2.Snapshot, Serves: serves, Services: services, Self: node, IgnoreExclude: l2.IgnoreExclude}
		if n, known := l2.Nodes[node]; known {
			in.Node = &n
		}
		d := announce.Routes(in)
		for i := range services {
			v, refused := d.Refusals[services[i].ID()]
			if !refused {
				willing[i] = node
				continue
			}
			if reasons[i] == nil {
				reasons[i] = map[string][]string{}
			}
			reasons[i][v.Reason] = append(reasons[i][v.Reason], node)
			if old, known := verdicts[fmt.Sprint(i, v.Reason)]; !known || v.Message < old.Message {
				verdicts[fmt.Sprint(i, v.Reason)] = v
			}
		}
	}
	for i, svc := range services {
		key := judged{kindBGP, types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}}
		switch {
		case willing[i] != "":
			pending++
			now[key] = announce.Verdict{Status: metav1.ConditionUnknown, Reason: announce.ReasonPending,
				Message: "no speaker has said yet that it advertises the addresses by BGP"}
		case len(reasons[i]) == 0:
			now[key] = announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonNoSpeaker, Message: "no speaker is alive"}
		case len(reasons[i]) == 1:
			for reason := range reasons[i] {
				now[key] = verdicts[fmt.Sprint(i, reason)]
			}
		default:
			var all []string
			for _, reason := range slices.Sorted(maps.Keys(reasons[i])) {
				all = append(all, verdicts[fmt.Sprint(i, reason)].Message)
			}
			now[key] = announce.Verdict{Status: metav1.ConditionFalse, Reason: announce.ReasonNotAnnounced, Message: strings.Join(all, "; ")}
		}
	}
	return pending
}
