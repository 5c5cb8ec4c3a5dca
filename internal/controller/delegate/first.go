package delegate

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/backends/cilium"
)

// firstLookTimeout is how long it is waited at a start for what the CNIs' own address allocators do.
const firstLookTimeout = 10 * time.Second

// looker finds out what the address allocator of one CNI does.
type looker func(context.Context) (backends.Outcome, error)

// FirstLook looks once at which Services the CNIs' own address allocators serve, so that [Task.Verdict] knows it before a backend has been
// at work. It returns when that is known, or will not be: a CNI that is not there, may not be read, or does not answer within ten
// seconds claims nothing.
func (t *Task) FirstLook(ctx context.Context) {
	seen := firstLook(ctx, t.Log, t.lookers())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = seen
}

// lookers are those for the CNIs that may be asked to advertise: the controller may read the settings of no other.
func (t *Task) lookers() map[string]looker {
	all := map[string]looker{
		Calico: func(ctx context.Context) (backends.Outcome, error) {
			d, err := calico.Detect(ctx, t.discovery, t.dynamic)
			return d.Claimed(), err
		},
		Cilium: func(ctx context.Context) (backends.Outcome, error) {
			d, err := cilium.Detect(ctx, t.discovery, t.dynamic, t.CiliumConfig)
			return d.Claimed(), err
		},
	}
	maps.DeleteFunc(all, func(name string, _ looker) bool { return !t.Asked.mayBe(name) })
	return all
}

// mayBe reports whether a backend is asked for, or may be found to be the right one.
func (a Asked) mayBe(name string) bool {
	return slices.ContainsFunc([]string{a.BGP, a.Layer2}, func(asked string) bool { return asked == name || asked == Auto })
}

// firstLook returns what the lookers found, by CNI. All look at the same time; of one that fails, what it found until then counts.
func firstLook(ctx context.Context, log *slog.Logger, lookers map[string]looker) map[string]*backends.Outcome {
	ctx, cancel := context.WithTimeout(ctx, firstLookTimeout)
	defer cancel()
	type found struct {
		name    string
		outcome backends.Outcome
		err     error
	}
	// Discovery does not heed a context: a looker that is late finds the channel with room for it, and nobody who reads.
	all := make(chan found, len(lookers))
	for name, look := range lookers {
		go func() {
			o, err := look(ctx)
			all <- found{name, o, err}
		}()
	}
	out := map[string]*backends.Outcome{}
	for range lookers {
		select {
		case <-ctx.Done():
			log.Warn("the CNI's own address allocator could not be looked at in time", "err", context.Cause(ctx))
			return out
		case f := <-all:
			if f.err != nil {
				log.Warn("the CNI's own address allocator could not be looked at", "cni", f.name, "err", f.err)
			}
			out[f.name] = &f.outcome
		}
	}
	return out
}

// claimedBy says why the CNI's own address allocator would replace the addresses of a Service of a class, with or without
// spec.loadBalancerIP; empty if it would not.
func claimedBy(outcomes []*backends.Outcome, class string, loadBalancerIP bool) string {
	for _, o := range outcomes {
		if o != nil && (slices.Contains(o.Claims, class) || o.ClaimsLoadBalancerIP && loadBalancerIP) {
			return conflictOf(o)
		}
	}
	return ""
}
