package delegate

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// unfilled is a cache that cannot list what it is to watch: it waits for as long as it may.
type unfilled struct{ cache.Cache }

func (unfilled) GetInformer(ctx context.Context, _ client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestNobodyWaitsForTheCaches: while the caches for the speakers do not fill, whoever hands over a configuration or asks for a verdict
// goes on, and with them the other backends.
func TestNobodyWaitsForTheCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &speakers{
			cache: unfilled{}, log: slog.New(slog.DiscardHandler), changed: wake.New(),
			secret: func(context.Context) error { return nil }, report: func(backends.Outcome) {},
		}
		applied := make(chan error, 1)
		go func() { applied <- s.Apply(ctx, backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{{}}}) }()
		synctest.Wait() // it waits for its caches
		s.set(&config.Snapshot{}, announce.Choice{})
		_, known := s.verdict(kindBGP, "default", "web")
		require.False(t, known)
		require.Empty(t, applied)
		cancel()
		require.ErrorIs(t, <-applied, context.Canceled)
	})
}
