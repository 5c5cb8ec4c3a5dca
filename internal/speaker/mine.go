package speaker

import (
	"context"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/observe"
	"github.com/fairlead/fairlead/internal/presence"
)

// A speaker writes and removes only objects that carry the name of its node. Two speakers that do not hear of each other would remove
// each other's for ever otherwise. Those of nodes that are gone are the controller's to remove (internal/delegate).

// isMine reports whether an object carries the name of a node.
func isMine(o client.Object, node string) bool {
	label := labelNode
	if _, is := o.(*v1beta1.ConfigurationState); is {
		label = presence.LabelNode
	}
	return o.GetLabels()[label] == backends.LabelValue(node)
}

// mine selects the objects of a node.
func mine(namespace, node string) []client.ListOption {
	return []client.ListOption{client.InNamespace(namespace), client.MatchingLabels{labelNode: backends.LabelValue(node)}}
}

// followMine calls wake whenever an object of one of these kinds that carries the node's name has appeared, changed or gone: somebody may
// have edited or removed it.
func followMine(ctx context.Context, c cache.Cache, node string, wake func(), kinds ...client.Object) error {
	return observe.Handle(ctx, c, func(was, is client.Object) {
		if is == nil {
			is = was
		}
		if isMine(is, node) {
			wake()
		}
	}, kinds...)
}

// newest returns an object as it was written last, or as the cache has it, if somebody has written it since.
func newest[T client.Object](written, cached T) T {
	if order, err := resourceversion.CompareResourceVersion(written.GetResourceVersion(), cached.GetResourceVersion()); err == nil && order < 0 {
		return cached.DeepCopyObject().(T)
	}
	return written
}
