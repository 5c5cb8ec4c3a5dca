package speaker

import (
	"slices"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
)

// Auto has the speakers serve what the controller has published in the Backend object of that name.
const Auto = "auto"

// serves returns whether the speakers serve an L2Advertisement. asked is who serves those that name nobody; published is the
// controller's Backend object "speaker", nil if there is none.
func serves(asked string, published *v1alpha1.Backend) func(*config.L2Advertisement) bool {
	if asked == Auto {
		return func(a *config.L2Advertisement) bool {
			name := backends.Source{Kind: a.Ref.Kind, Namespace: a.Ref.Namespace, Name: a.Ref.Name}.String()
			return published != nil && slices.Contains(published.Status.Owned.Objects, name)
		}
	}
	choice := announce.Choice{Layer2: asked}
	return func(a *config.L2Advertisement) bool { return choice.L2Backend(a) == announce.SpeakerBackend }
}
