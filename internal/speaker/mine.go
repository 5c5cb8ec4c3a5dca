package speaker

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/follow"
)

// A speaker writes and removes only objects that carry the name of its node. Two speakers that do not hear of each other would remove
// each other's for ever otherwise. Those of nodes that are gone are the controller's to remove (internal/controller/delegate).

// isMine reports whether an object carries the name of a node.
func isMine(o client.Object, node string) bool {
	return o.GetLabels()[labelNode] == backends.LabelValue(node)
}

// mine selects the objects of a node.
func mine(namespace, node string) []client.ListOption {
	return []client.ListOption{client.InNamespace(namespace), client.MatchingLabels{labelNode: backends.LabelValue(node)}}
}

// followMine calls wake whenever an object of one of these kinds that carries the node's name has appeared, changed or gone: somebody may
// have edited or removed it.
func followMine(ctx context.Context, c cache.Cache, node string, wake func(), kinds ...client.Object) error {
	return follow.Handle(ctx, c, func(was, is client.Object) {
		if is == nil {
			is = was
		}
		if isMine(is, node) {
			wake()
		}
	}, kinds...)
}
