package assign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/util/workqueue"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/wake"
)

const (
	// askers is how many requests to one allocator are under way at once.
	askers = 8
	// askAgainAfter and askAgainAtMost are the pauses between tries while an allocator cannot be asked.
	askAgainAfter  = 50 * time.Millisecond
	askAgainAtMost = 5 * time.Second
	// lookAgainAfter is how long a pool that its allocator does not know is left before it is asked for again: no watch tells of a kind that
	// comes to exist on another API server.
	lookAgainAfter = 10 * time.Second
	// askTimeout is how long one request may take.
	askTimeout = 10 * time.Second
)

// provider keeps the claims of one allocator as the Assigner wants them.
type provider struct {
	name     string
	provider allocator.Provider
	assigner *Assigner
	queue    workqueue.TypedRateLimitingInterface[string] // of IDs
	metrics  *ProviderMetrics
	log      *slog.Logger
	faults   func()      // tells of what is wrong with pools
	pools    wake.Signal // they are to be looked at

	mu    sync.Mutex                     // protects what is below
	state map[string]allocator.PoolState // by the allocator's name of the pool
	// why the allocator cannot be asked, by what failed: the ID of a claim, or empty for Watch
	failing map[string]string
}

func newProvider(name string, p allocator.Provider, a *Assigner, m *ProviderMetrics, log *slog.Logger) *provider {
	return &provider{
		name: name, provider: p, assigner: a, metrics: m, log: log.With("allocator", name), pools: wake.New(), faults: func() {},
		state: map[string]allocator.PoolState{}, failing: map[string]string{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](askAgainAfter, askAgainAtMost)),
	}
}

// Run works until ctx ends. The Assigner must have adopted what exists and be open for new Services: what nobody asks for is released.
func (p *provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		p.queue.ShutDown()
		return nil
	})
	g.Go(func() error {
		p.watch(ctx)
		return nil
	})
	g.Go(func() error {
		p.pools.Set()
		wake.Loop{News: p.pools, Rest: time.Second}.Run(ctx, p.lookAtPools)
		return nil
	})
	return g.Wait()
}

// watch follows the allocator, and serves claims as soon as all that it has are known; from the beginning when it can be followed no more.
func (p *provider) watch(ctx context.Context) {
	pause := askAgainAfter
	var workers sync.WaitGroup
	started := false
	for ctx.Err() == nil {
		watching, cancel := context.WithCancelCause(ctx)
		ended := make(chan error, 1)
		go func() { ended <- p.provider.Watch(watching, p.queue.Add) }()
		listed := make(chan error, 1)
		go func() {
			list, err := p.provider.List(watching)
			if err == nil {
				p.assigner.Listed(p.name, list)
			}
			listed <- err
		}()
		var err error
		for waiting := true; waiting; {
			select {
			case err = <-ended:
				waiting = false
			case err := <-listed:
				if listed = nil; err != nil {
					break // so does Watch
				}
				pause = askAgainAfter
				p.failed("", nil)
				p.pools.Set()
				if !started {
					started = true
					for range askers {
						workers.Go(func() { p.work(ctx) })
					}
				}
			case <-time.After(askTimeout):
				if listed != nil {
					p.failed("", context.DeadlineExceeded)
					p.assigner.Unreachable(p.name, "it cannot be asked: "+reach(context.DeadlineExceeded))
				}
			}
		}
		cancel(err)
		if listed != nil {
			<-listed
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			p.log.Debug("allocator cannot be followed; it is tried again", "err", err, "after", pause)
			if errors.Is(err, allocator.ErrGone) {
				p.assigner.Listed(p.name, nil)
			}
			p.failed("", err)
			p.assigner.Unreachable(p.name, "it cannot be asked: "+reach(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, askAgainAtMost)
	}
	workers.Wait()
}

func (p *provider) work(ctx context.Context) {
	for {
		id, shutdown := p.queue.Get()
		if shutdown {
			return
		}
		if err := p.serve(ctx, id); err != nil && ctx.Err() == nil {
			p.log.Debug("claim not served; it is tried again", "claim", id, "err", err)
			p.queue.AddRateLimited(id)
		} else {
			p.queue.Forget(id)
		}
		p.queue.Done(id)
	}
}

// serve asks for a claim that is wanted, and releases one that is not.
func (p *provider) serve(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start := time.Now()
	c, wanted := p.assigner.Claim(id)
	if !wanted {
		err := p.provider.Release(ctx, id)
		p.metrics.asked(p.name, "release", start, allocator.Answer{}, err)
		p.failed(id, err)
		if err == nil {
			p.assigner.ReleasedClaim(id)
		}
		return err
	}
	answer, err := p.provider.Ask(ctx, c)
	p.metrics.asked(p.name, "ask", start, answer, err)
	p.failed(id, err)
	if err != nil {
		p.assigner.Unanswered(id, "it cannot be asked: "+reach(err))
		return err
	}
	p.assigner.Answered(id, answer)
	p.pools.Set() // it may be the pool that has no address, or one that is outside
	return nil
}

// failed notes whether something could be done; the pools of an allocator that cannot be asked are faulty until it can.
func (p *provider) failed(what string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := len(p.failing) > 0
	if err != nil {
		p.failing[what] = reach(err)
	} else {
		delete(p.failing, what)
	}
	switch is := len(p.failing) > 0; {
	case is && !was:
		p.log.Warn("allocator cannot be asked; it is tried again and again", "err", err)
		p.pools.Set()
	case was && !is:
		p.log.Info("allocator can be asked again")
		p.pools.Set()
	}
}

// silent says why the allocator cannot be asked; empty: it can.
func (p *provider) silent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(p.failing)) {
		return p.failing[what]
	}
	return ""
}

// reach says why something could not be reached, in words that do not change from one try to the next, as the ports of a client do.
func reach(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer in time"
	}
	return err.Error()
}

// lookAtPools asks for the state of each pool of the allocator that a pool in force names.
func (p *provider) lookAtPools(ctx context.Context) (time.Duration, error) {
	state := map[string]allocator.PoolState{}
	var again time.Duration
	for _, pool := range p.assigner.PoolsOf(p.name) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		s, err := p.provider.Pool(ctx, pool.AllocatorPool)
		cancel()
		if err != nil {
			p.log.Debug("pool of the allocator not read", "pool", pool.AllocatorPool, "err", err)
			again = askAgainAtMost
			continue
		}
		if s.Refusal != "" {
			again = lookAgainAfter
		}
		s.Free, s.Total = 0, 0 // of no interest here, and always new
		state[pool.AllocatorPool] = s
	}
	p.mu.Lock()
	changed := !maps.Equal(p.state, state)
	p.state = state
	p.mu.Unlock()
	if changed {
		p.assigner.PoolsKnown(p.name, state)
	}
	p.faults()
	return again, nil
}

// refused returns the faults of pools whose allocator has no such pool.
func (p *provider) refused() []config.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []config.Fault
	for _, pool := range p.assigner.PoolsOf(p.name) {
		if s := p.state[pool.AllocatorPool]; s.Refusal != "" {
			out = append(out, config.Fault{
				Object: pool.Ref, Field: fmt.Sprintf("metadata.annotations[%s]", config.AnnotationAllocatorPool), Problem: s.Why, Waits: true,
			})
		}
	}
	return out
}

// ProviderMetrics are what is counted of allocators.
type ProviderMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	pending  *prometheus.Desc
	assigner *Assigner
	names    []string
}

// NewProviderMetrics returns the metrics of the allocators of these names; it registers nothing.
func NewProviderMetrics(a *Assigner, names ...string) *ProviderMetrics {
	return &ProviderMetrics{
		assigner: a, names: names,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_allocator_requests_total", Help: "Requests to allocators beside the built-in one, by what was asked and what came of it.",
		}, []string{"allocator", "request", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlead_allocator_duration_seconds", Help: "Time that one request to an allocator takes.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"allocator", "request"}),
		pending: prometheus.NewDesc("fairlead_allocator_pending", "Claims that an allocator has given no address for.", []string{"allocator"}, nil),
	}
}

// The values of the label "result".
const (
	askedAddress = "address"
	askedNotYet  = "not-yet"
	askedRefused = "refused"
	askedDone    = "released"
	askedError   = "error"
)

func (m *ProviderMetrics) asked(name, request string, start time.Time, answer allocator.Answer, err error) {
	result := askedNotYet
	switch {
	case err != nil:
		result = askedError
	case request == "release":
		result = askedDone
	case answer.Addr.IsValid():
		result = askedAddress
	case answer.Refusal != "":
		result = askedRefused
	}
	m.requests.WithLabelValues(name, request, result).Inc()
	m.duration.WithLabelValues(name, request).Observe(time.Since(start).Seconds())
}

// Describe implements prometheus.Collector.
func (m *ProviderMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.requests.Describe(ch)
	m.duration.Describe(ch)
	ch <- m.pending
}

// Collect implements prometheus.Collector.
func (m *ProviderMetrics) Collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	m.duration.Collect(ch)
	for _, name := range m.names {
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(m.assigner.Pending(name)), name)
	}
}

func (t *Task) addProviders(o Options) error {
	m := NewProviderMetrics(t.assigner, providers(o.Providers)...)
	if err := o.Registry.Register(m); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	t.providers = map[string]*provider{}
	for name, p := range o.Providers {
		t.providers[name] = newProvider(name, p, t.assigner, m, o.Log)
		t.providers[name].faults = t.reportFaults
	}
	return nil
}

// lookAtClaim has the Provider of an allocator look at a claim. Where there is none, nobody does.
func (t *Task) lookAtClaim(name, id string) {
	if p := t.providers[name]; p != nil {
		p.queue.Add(id)
	}
}

// reportFaults tells of what is wrong with pools that name an allocator.
func (t *Task) reportFaults() {
	if t.faults == nil {
		return
	}
	var out []config.Fault
	for _, name := range config.Allocators {
		silent := notEnabled(name)
		if p := t.providers[name]; p != nil {
			out = append(out, p.refused()...)
			if silent = p.silent(); silent == "" {
				continue
			}
		}
		for _, pool := range t.assigner.PoolsOf(name) {
			out = append(out, config.Fault{
				Object: pool.Ref, Field: fmt.Sprintf("metadata.annotations[%s]", config.AnnotationAllocator),
				Problem: fmt.Sprintf("%q cannot be asked: %s", name, silent), Waits: true,
			})
		}
	}
	for _, x := range t.assigner.outside() {
		out = append(out, config.Fault{
			Object: x.pool.Ref, Field: "spec.addresses", Waits: true, Problem: fmt.Sprintf(
				"allocator %s has given %s for service %s, which no entry contains; add it here, or take it out of %s",
				x.pool.Allocator, x.Answer.Addr, x.Owner, x.pool.AllocatorPool),
		})
	}
	t.faults(out)
}

// providers returns the names of those that can be asked, sorted; it is not nil.
func providers(m map[string]allocator.Provider) []string {
	return append([]string{}, slices.Sorted(maps.Keys(m))...)
}
