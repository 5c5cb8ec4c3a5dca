package delegate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
)

// judgeEvery is how often at most the Services that speakers serve are looked at.
const judgeEvery = 500 * time.Millisecond

// speakers is the backend that hands advertisements to the speakers: it publishes which they serve, in the Backend object, and
// follows what they make of it. It watches nothing before it is used.
type speakers struct {
	cache      cache.Cache
	client     client.Client
	namespace  string
	secret     func(context.Context) error
	reconsider func(allocator.Owner)
	judgedAnew func() // some verdicts are others than before
	report     func(backends.Outcome)
	log        *slog.Logger
	changed    wake.Signal
	following  sync.Mutex // held while the caches fill, which may take as long as the API server likes
	attendance attendance
	said       said
	judging    judging
	burial     burial

	mu       sync.Mutex // protects all the following
	cluster  *observe.Cluster
	snapshot *config.Snapshot
	choice   announce.Choice
	verdicts map[judged]announce.Verdict // as they are shown
	mum      map[judged]bool             // those of them that are not shown yet
	alive    []string                    // nodes with a speaker, sorted
	pending  int                         // announcements that are to be made and that nobody has said to make yet
}

var _ backends.ClusterBackend = (*speakers)(nil)

// judged is a Service, and the kind of advertisement that a verdict on it is about.
type judged struct {
	kind string
	types.NamespacedName
}

// The kinds of advertisement, as objects.
const (
	kindBGP = "BGPAdvertisement"
	kindL2  = "L2Advertisement"
)

// set puts a configuration in force.
func (s *speakers) set(snapshot *config.Snapshot, choice announce.Choice) {
	s.mu.Lock()
	s.snapshot, s.choice = snapshot, choice
	s.mu.Unlock()
	s.wake()
}

func (s *speakers) wake() { s.changed.Set() }

// Apply publishes what the speakers are to serve. It is in progress until they announce all that can be announced, so that who
// served it before goes on until then.
func (s *speakers) Apply(ctx context.Context, want backends.Desired) error {
	if len(want.L2Advertisements)+len(want.BGPAdvertisements) == 0 {
		s.report(backends.Outcome{})
		return nil
	}
	if err := s.secret(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	if s.judge() > 0 {
		s.wake() // the loop knows when to judge again
	}
	s.mu.Lock()
	alive, pending := s.alive, s.pending
	s.mu.Unlock()
	out := backends.Outcome{IgnoresServices: true, Facts: []backends.Fact{{Name: "speakers", Value: fmt.Sprint(len(alive)),
		Source: "Leases of the speakers"}}}
	var sources []backends.Source
	for _, a := range want.L2Advertisements {
		sources = append(sources, a.Source)
	}
	for _, a := range want.BGPAdvertisements {
		sources = append(sources, a.Source)
	}
	for _, source := range sources {
		out.Owned = append(out.Owned, source.String())
		if len(alive) == 0 {
			out.Findings = append(out.Findings, backends.Finding{Type: backends.BackendInactive, Object: source,
				Message: "no speaker runs; nobody announces the addresses"})
		}
	}
	slices.Sort(out.Owned)
	s.report(out)
	if len(alive) == 0 {
		return fmt.Errorf("%w: no speaker runs", backends.ErrInProgress)
	}
	if pending > 0 {
		return fmt.Errorf("%w: %d announcements are not made yet", backends.ErrInProgress, pending)
	}
	return nil
}

// Run judges Services anew after each change, and removes what nodes that are gone have left.
func (s *speakers) Run(ctx context.Context) error {
	s.wake()
	wake.Loop{News: s.changed, Rest: judgeEvery, First: buryAfter, Last: buryAfter, Failed: func(err error) {
		s.log.Warn("what nodes that are gone have left is not removed", "err", err)
	}}.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		judge := s.judge()
		again, err := s.bury(ctx)
		if err != nil {
			again = 0
		}
		return wake.Sooner(wake.Sooner(judge, again), s.attendance.wait(time.Now())), err
	})
	return nil
}

// follow starts to watch the cluster, the first time it is called.
func (s *speakers) follow(ctx context.Context) error {
	s.following.Lock()
	defer s.following.Unlock()
	s.mu.Lock()
	follows := s.cluster != nil
	s.mu.Unlock()
	if follows {
		return nil
	}
	cluster, err := observe.Follow(ctx, s.cache, s.wake)
	if err != nil {
		return err
	}
	err = follow.Handle(ctx, s.cache, s.hear, &v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{}, &v1alpha1.BGPSession{},
		&v1alpha1.AddressReservation{}, &v1beta1.ConfigurationState{})
	if err != nil {
		return err
	}
	called := func() {
		s.judging.rollNews.Store(true)
		s.burial.news.Store(true)
		s.wake()
	}
	called()
	if err := s.attendance.follow(ctx, s.cache, called); err != nil {
		return err
	}
	s.mu.Lock()
	s.cluster = cluster
	s.mu.Unlock()
	return nil
}

// hear takes in what a speaker keeps.
func (s *speakers) hear(was, is client.Object) {
	s.said.note(was, is)
	if is != nil {
		s.burial.note(is)
	} else {
		is = was
	}
	if _, of := is.(*v1alpha1.BGPSession); of {
		s.judging.sessionNews.Store(true)
	}
	s.wake()
}

// verdict returns the last one on a Service.
func (s *speakers) verdict(kind, namespace, name string) (announce.Verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := judged{kind, types.NamespacedName{Namespace: namespace, Name: name}}
	v, ok := s.verdicts[k]
	return v, ok && !s.mum[k]
}
