package cilium

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
)

// What is written reaches the routers by several ways, and none of them is told of the others: an agent hears of advertisements and peer
// configs from the API server, and of its sessions when the operator has made a CiliumBGPNodeConfig of a cluster config. So what depends
// on something else waits until that was found in the cluster, which is one round later (the loop comes back after two seconds, and an
// agent takes some tenths of one). Rounds remember nothing: what has to wait is seen from what is there.
//
//   - A node has no sessions before every advertisement that leaves the node out says so.
//   - An advertisement whose place another one takes, with the same attributes, goes when the other one is there.
//   - A peer config stays as long as a session that stays refers to it.
//   - A policy of the L2 announcer that is only written anew because of others is when those are as they shall be.
//   - A cluster config by which several nodes had their sessions stays until each of them has its own.

// order returns which changes are made now; the others wait, for the reasons given.
func (t *translation) order(changes []change) (now []change, waiting []string) {
	heirs, handover := t.heirs(changes), t.heirsOfNodes()
	for _, ch := range changes {
		why := ""
		switch ch.key().kind {
		case kindClusterConfig:
			why = t.sessionWaits(ch, changes)
			if ch.have != nil && why == "" {
				why = handover[ch.have.GetName()]
			}
		case kindAdvert:
			why = heirs[ch.key().name]
		case kindPeerConfig:
			if ch.want == nil {
				why = t.referredTo(ch.have.GetName())
			}
		case kindPolicy:
			why = touchWaits(ch, changes)
		}
		if why == "" {
			now = append(now, ch)
		} else {
			waiting = append(waiting, why)
		}
	}
	// Of two advertisements that change, the one that lets go of routes comes first.
	slices.SortStableFunc(now, func(a, b change) int {
		if a.key().kind != kindAdvert || b.key().kind != kindAdvert || a.want == nil || b.want == nil {
			return 0
		}
		return cmp.Compare(rank(a), rank(b))
	})
	slices.Sort(waiting)
	return now, slices.Compact(waiting)
}

// rank sorts advertisements that narrow before others.
func rank(ch change) int {
	if narrower(ch.have, ch.want) {
		return 0
	}
	return 1
}

// sessionWaits says why the sessions of a node that has none cannot be set up yet.
func (t *translation) sessionWaits(ch change, changes []change) string {
	if ch.have != nil {
		return ""
	}
	node := nodeOf(ch.want)
	for _, other := range changes {
		if other.key().kind != kindAdvert || other.have == nil || other.want == nil {
			continue
		}
		if label := exceptLabel(node); other.want.GetLabels()[label] != "" && other.have.GetLabels()[label] == "" {
			return fmt.Sprintf("the sessions of node %s wait until %s leaves it out", node, other.key().quoted())
		}
	}
	return ""
}

// touchWaits says why a policy cannot be written anew yet, if it says the same as before.
func touchWaits(ch change, changes []change) string {
	if !touches(ch) {
		return ""
	}
	for _, other := range changes {
		if other.key().kind == kindPolicy && other.have != nil && !touches(other) {
			return fmt.Sprintf("agents hear of %s again when %s is as it shall be", ch.key().quoted(), other.key().quoted())
		}
	}
	return ""
}

// touches reports whether a change says nothing new.
func touches(ch change) bool {
	return ch.have != nil && ch.want != nil && string(content(ch.have)) == string(content(ch.want))
}

// nodeOf returns the node whose cluster config it is; empty if it is one for several.
func nodeOf(o object) string {
	node, _ := strings.CutPrefix(o.GetAnnotations()[backends.AnnotationSource], "Node/")
	return node
}

// heirs says, of the advertisements that only let go of routes, why they cannot yet: another one takes those over that is not there.
func (t *translation) heirs(changes []change) map[string]string {
	out := map[string]string{}
	for _, old := range changes {
		if old.key().kind != kindAdvert || !narrower(old.have, old.want) || narrower(old.want, old.have) {
			continue
		}
		for _, heir := range changes {
			if heir.key().kind != kindAdvert || heir.key() == old.key() || !narrower(heir.want, heir.have) || narrower(heir.have, heir.want) {
				continue
			}
			a, b := reachOf(old.have), reachOf(heir.want)
			if a.meets(b) {
				out[old.key().name] = fmt.Sprintf("%s goes on until %s is there", old.key().quoted(), heir.key().quoted())
			}
		}
	}
	return out
}

// reach is what an advertisement covers.
type reach struct {
	pools, shapes, audience, except map[string]bool
}

// reachOf returns what an object covers; nothing for none.
func reachOf(o object) reach {
	r := reach{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	a, ok := o.(*v2.CiliumBGPAdvertisement)
	if !ok || a == nil {
		return r
	}
	for _, e := range a.Spec.Advertisements {
		insert(r.pools, poolsIn(e.Selector))
		e = *e.DeepCopy()
		if e.Selector != nil {
			e.Selector.MatchExpressions = slices.DeleteFunc(e.Selector.MatchExpressions, func(q requirement) bool { return q.Key == labelPool })
		}
		b, err := json.Marshal(e)
		if err != nil {
			panic(err) // it holds nothing that JSON cannot
		}
		r.shapes[string(b)] = true
	}
	for l := range a.Labels {
		switch {
		case strings.HasPrefix(l, exceptLabelPrefix):
			r.except[l] = true
		case l == labelAdvertise, strings.HasPrefix(l, peerLabelPrefix), strings.HasPrefix(l, toLabelPrefix):
			r.audience[l] = true
		}
	}
	return r
}

// narrower reports whether b does not cover all that a does; either may be nil.
func narrower(a, b object) bool {
	if a == nil {
		return false
	}
	x, y := reachOf(a), reachOf(b)
	return lacks(y.pools, x.pools) || lacks(y.shapes, x.shapes) || lacks(y.audience, x.audience) || lacks(x.except, y.except)
}

// lacks reports whether some of b are not in a.
func lacks(a, b map[string]bool) bool {
	for k := range b {
		if !a[k] {
			return true
		}
	}
	return false
}

// meets reports whether both may cover the same route for the same peer, in the same way.
func (r reach) meets(o reach) bool {
	common := func(a, b map[string]bool) bool {
		for k := range b {
			if a[k] {
				return true
			}
		}
		return false
	}
	return common(r.pools, o.pools) && common(r.audience, o.audience) && !lacks(r.shapes, o.shapes) && !lacks(o.shapes, r.shapes)
}

// referredTo says why a peer config has to stay: Cilium ends a session whose peer config is gone.
func (t *translation) referredTo(config string) string {
	for _, n := range t.world.nodeConfigs {
		if !t.wanted(key{kind: kindClusterConfig, name: clusterConfigName(n.Name)}) {
			continue
		}
		for _, i := range n.Spec.BGPInstances {
			for _, p := range i.Peers {
				if p.PeerConfigRef != nil && p.PeerConfigRef.Name == config {
					return fmt.Sprintf("CiliumBGPPeerConfig %q stays as long as node %s refers to it", config, n.Name)
				}
			}
		}
	}
	return ""
}

func (t *translation) wanted(k key) bool {
	return slices.ContainsFunc(t.objects, func(o object) bool { return keyOf(o) == k })
}

// heirsOfNodes says, of the cluster configs by which earlier versions set up the sessions of several nodes, why they have to stay: they
// have nodes that are to get one of their own.
func (t *translation) heirsOfNodes() map[string]string {
	out := map[string]string{}
	for _, h := range t.handovers() {
		out[h.from] = fmt.Sprintf("CiliumBGPClusterConfig %q stays until each of its nodes has its own", h.from)
	}
	return out
}

// handover is a node whose sessions belong to a cluster config of ours that is not its own.
type handover struct {
	node     *v2.CiliumBGPNodeConfig
	from, to string
}

func (t *translation) handovers() []handover {
	var out []handover
	for _, n := range t.world.nodeConfigs {
		for _, r := range n.OwnerReferences {
			if r.Kind != kindClusterConfig {
				continue
			}
			from, to := find(t.world.clusterConfigs, r.Name), clusterConfigName(n.Name)
			if from != nil && from.UID == r.UID && owned(from, t.installation) && from.Name != to &&
				t.wanted(key{kind: kindClusterConfig, name: to}) {
				out = append(out, handover{n, from.Name, to})
			}
		}
	}
	return out
}

// handOver gives nodes to their own cluster configs, without an end of their sessions: Cilium's operator takes a CiliumBGPNodeConfig for
// that of the cluster config which is its owner. refused is the first that it may not give, nil if it may.
func (b *Backend) handOver(ctx context.Context, c *client, t *translation, changes []change) (refused *handover, err error) {
	for _, ch := range changes {
		if ch.key().kind == kindPeerConfig && ch.want != nil || ch.key().kind == kindAdvert {
			return nil, nil // the agents have yet to hear of these
		}
	}
	r := c.Resource(c.served[v2.BGPNCKindDefinition])
	for _, h := range t.handovers() {
		to := existing[*v2.CiliumBGPClusterConfig](t, kindClusterConfig, h.to)
		if to == nil {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": h.node.ResourceVersion,
			"ownerReferences": []metav1.OwnerReference{{
				APIVersion: c.served[kindClusterConfig].GroupVersion().String(), Kind: kindClusterConfig, Name: to.Name, UID: to.UID,
				Controller: new(true),
			}},
		}})
		if err != nil {
			return nil, err
		}
		_, err = r.Patch(ctx, h.node.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: b.cfg.FieldManager})
		switch {
		case apierrors.IsForbidden(err):
			return &h, nil
		case err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("give CiliumBGPNodeConfig %q to CiliumBGPClusterConfig %q: %w", h.node.Name, to.Name, err)
		}
	}
	return nil, nil
}

// grantPatience is for how long the sessions of an earlier version go on while nodes may not be handed over: the right may be on its way.
const grantPatience = time.Minute

// endsSessions reports whether the old cluster configs have to go without a handover, which ends their sessions once: the right to patch
// CiliumBGPNodeConfigs has been missing for so long. Until then it is told.
func (b *Backend) endsSessions(t *translation, refused *handover) bool {
	if refused == nil {
		if len(t.handovers()) == 0 {
			b.refused = time.Time{}
		}
		return false
	}
	if b.refused.IsZero() {
		b.refused = b.now()
	}
	until := b.refused.Add(grantPatience)
	if !b.now().Before(until) {
		b.refused = time.Time{}
		return true
	}
	t.find(backends.Finding{
		Type: backends.PeerNotReady, Object: backends.Source{Kind: v2.BGPNCKindDefinition, Name: refused.node.Name},
		Field: "metadata.ownerReferences", Missing: true,
		Message: fmt.Sprintf("CiliumBGPClusterConfig %q of an earlier version has the node, and the controller may not give it to %q: its ClusterRole lacks the verb patch for %s.%s. "+
			"Add it, or all sessions of that object end and are set up anew at %s", refused.from, refused.to, v2.BGPNCPluralName,
			v2.SchemeGroupVersion.Group, until.UTC().Format("15:04:05 UTC")),
	})
	return false
}
