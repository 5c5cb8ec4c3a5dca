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

// servesL2 returns whether the speakers serve an L2Advertisement. asked is who serves those that name nobody; published is the
// controller's Backend object "speaker", nil if there is none.
func servesL2(asked string, published *v1alpha1.Backend) func(*config.L2Advertisement) bool {
	choice := announce.Choice{Layer2: asked}
	return func(a *config.L2Advertisement) bool {
		if asked == Auto {
			return handed(a.Ref, published)
		}
		return choice.L2Backend(a) == announce.SpeakerBackend
	}
}

// servesBGP is servesL2 for BGPAdvertisements. One that names no backend is served by whoever serves the others that name none: it need not
// wait for the controller to say so, and takes the place of another without a gap. unnamed are those, as long as the controller
// has not taken them back.
func servesBGP(asked string, published *v1alpha1.Backend, unnamed unnamed) func(*config.BGPAdvertisement) bool {
	choice := announce.Choice{BGP: asked}
	return func(a *config.BGPAdvertisement) bool {
		if asked == Auto {
			return handed(a.Ref, published) || a.Backend == "" && len(unnamed) > 0
		}
		return choice.Backend(a) == announce.SpeakerBackend
	}
}

// unnamed are the BGPAdvertisements that name no backend and that the controller has handed to the speakers. They may be gone.
type unnamed map[config.Ref]bool

// next returns what they are under a snapshot, and what the controller has published.
func (u unnamed) next(s *config.Snapshot, published *v1alpha1.Backend) unnamed {
	out := unnamed{}
	for _, a := range s.BGPAdvertisements() {
		if a.Backend == "" && handed(a.Ref, published) {
			out[a.Ref] = true
		}
	}
	for ref := range u {
		is := slices.ContainsFunc(s.BGPAdvertisements(), func(a *config.BGPAdvertisement) bool { return a.Ref == ref })
		if !is && handed(ref, published) {
			out[ref] = true
		}
	}
	return out
}

// handed reports whether the controller has handed an advertisement to the speakers.
func handed(r config.Ref, published *v1alpha1.Backend) bool {
	name := backends.Source{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}.String()
	return published != nil && slices.Contains(published.Status.Owned.Objects, name)
}
