package keep

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/yield"
)

const (
	// parallel is how many objects are written at a time.
	parallel = 16
	// A write that fails is tried again after retryFirst, after twice as long each time, and at least every retryLast.
	retryFirst = 200 * time.Millisecond
	retryLast  = 30 * time.Second
	// unseenFor is how long after it was written an object may be missing in the cache before it is looked whether it is there at all.
	unseenFor = 5 * time.Second
	// quiet is for how long nothing more is logged about writes that fail.
	quiet = 10 * time.Second
)

// Options say what a Keeper keeps: objects T, each of which says S about one K.
type Options[K comparable, S any, T client.Object] struct {
	Client client.Client
	Cache  cache.Cache
	Log    *slog.Logger
	// Every is the least time between two writes about the same thing; what changes meanwhile comes along with the next one. What somebody
	// else has removed does not wait.
	Every time.Duration
	// Counters reports whether two statuses, which are not alike, differ in nothing but what changes all the time; nil: none do. Then the
	// one that is wanted waits until CountersEvery after the last write, and nobody waits for it.
	Counters      func(is, want *S) bool
	CountersEvery time.Duration

	// Theirs is set if the objects are somebody else's, of which this process writes the statuses: none is created or removed. Key tells
	// them apart by their UIDs, so that what is said of one is not said of another that has its name later.
	Theirs bool

	// Mine reports whether an object carries the name of this process. No other is looked at.
	Mine func(T) bool
	// Key returns what an object is about.
	Key func(T) K
	// New returns an object about a K that says nothing yet.
	New func(K) T
	// Status returns where an object has what it says: a pointer to its status.
	Status func(T) *S
	// Fit returns what an object that says is has to say so that it says want: it keeps of is what does not matter, such as since when a
	// condition is as it is. It must not change either; nil: it is want.
	Fit func(is, want S) S
	// Pace is set if what is said may be late: requests of others to the API server go first; nil: it waits for nobody.
	Pace *yield.Pacer
	// Created is called after an object has been created; nil: nothing is.
	Created func(context.Context, K)
}

// Keeper keeps objects of one kind; see the package.
type Keeper[K comparable, S any, T client.Object] struct {
	Options[K, S, T]

	mu      sync.Mutex                              // protects all the following
	queue   workqueue.TypedRateLimitingInterface[K] // nil: Run has not been called
	known   bool                                    // what is to be said: Set has been called
	want    map[K]S
	have    map[K][]T // as the cache has them
	own     map[K]T   // as written last; the cache may not have them yet
	written map[K]write
	sets    int       // how often Set has been called
	pending map[K]int // what done waits for, and since which Set
	done    func()    // called once pending is empty
	logged  time.Time
}

// write is the last one about something.
type write struct {
	at      time.Time
	removed bool // it was the removal of the object
}

// New returns a Keeper; it starts nothing.
func New[K comparable, S any, T client.Object](o Options[K, S, T]) *Keeper[K, S, T] {
	return &Keeper[K, S, T]{
		Options: o, want: map[K]S{}, have: map[K][]T{}, own: map[K]T{}, written: map[K]write{}, pending: map[K]int{},
	}
}

// Follow has the cache followed. It returns when the objects that there are have been taken in, of a process before this one, too.
func (k *Keeper[K, S, T]) Follow(ctx context.Context) error {
	var none K
	return follow.Handle(ctx, k.Cache, k.take, k.New(none))
}

// take takes in at once that an object is not as it was, and how it is: who saw the one without the other would write over what others have
// added to it.
func (k *Keeper[K, S, T]) take(was, is client.Object) {
	before, said := was.(T)
	said = said && k.Mine(before)
	now, says := is.(T)
	says = says && k.Mine(now)
	var from, to K
	if said {
		from = k.Key(before)
	}
	if says {
		to = k.Key(now)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if said {
		k.dropLocked(from, before.GetUID(), !says || to != from || now.GetUID() != before.GetUID())
		k.todoLocked(from)
	}
	if says {
		k.have[to] = append(without(k.have[to], now.GetUID()), now) // who follows twice is told twice
		if own, is := k.own[to]; is && k.seenLocked(to, own) {
			delete(k.own, to)
		}
		k.todoLocked(to)
	}
}

// seenLocked reports whether the cache has an object as it was written, or as somebody has written it since, and no other about the same.
func (k *Keeper[K, S, T]) seenLocked(key K, own T) bool {
	have := k.have[key]
	return len(have) == 1 && have[0].GetUID() == own.GetUID() &&
		(have[0].GetResourceVersion() == own.GetResourceVersion() || isOlder(own, have[0]))
}

// todoLocked has a key looked at.
func (k *Keeper[K, S, T]) todoLocked(key K) {
	if k.queue != nil {
		k.queue.Add(key)
	}
}

// dropLocked forgets an object as the cache had it, and, if it is gone, as it was written.
func (k *Keeper[K, S, T]) dropLocked(key K, uid types.UID, gone bool) {
	if rest := without(k.have[key], uid); len(rest) > 0 {
		k.have[key] = rest
	} else {
		delete(k.have, key)
	}
	if own, is := k.own[key]; gone && is && own.GetUID() == uid {
		delete(k.own, key)
	}
}

// Set hands over all that is to be said from now on. done is called once it has been tried to write each of the differences, unless Set is
// called again before; it must not call the Keeper. nil: nothing is called. The Keeper keeps want.
func (k *Keeper[K, S, T]) Set(want map[K]S, done func()) {
	k.mu.Lock()
	k.sets++
	for key, s := range want {
		if was, is := k.want[key]; !is || !equality.Semantic.DeepEqual(was, s) {
			k.pending[key] = k.sets
		}
	}
	for key := range k.want {
		if _, is := want[key]; !is {
			k.pending[key] = k.sets
		}
	}
	if !k.known {
		for key := range k.have {
			k.pending[key] = k.sets
		}
	}
	k.known, k.want, k.done = true, want, done
	for key := range k.pending {
		k.todoLocked(key)
	}
	k.finishLocked()
	k.mu.Unlock()
}

// Change hands over what is to be said from now on about some, nil: nothing; about all others it is as it was. Set has been called before. done
// is as with Set.
func (k *Keeper[K, S, T]) Change(want map[K]*S, done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sets++
	for key, s := range want {
		was, is := k.want[key]
		if s == nil {
			delete(k.want, key)
		} else {
			k.want[key] = *s
		}
		if is != (s != nil) || is && !equality.Semantic.DeepEqual(was, *s) {
			k.pending[key] = k.sets
			k.todoLocked(key)
		}
	}
	k.done = done
	k.finishLocked()
}

// finishLocked calls done if there is nothing more to wait for. The lock is held, so that the done of one Set is not called after that of
// the next.
func (k *Keeper[K, S, T]) finishLocked() {
	if len(k.pending) > 0 {
		return
	}
	k.pending = map[K]int{} // an emptied map stays as large as it ever was
	if done := k.done; done != nil {
		k.done = nil
		done()
	}
}

// Serve has the cache followed and then writes, until ctx ends. If the objects cannot be watched, because their CRD is not there yet, it
// tries again.
func (k *Keeper[K, S, T]) Serve(ctx context.Context) error {
	for wait := retryFirst; ; wait = min(2*wait, retryLast) {
		err := k.Follow(ctx)
		if err == nil {
			return k.Run(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		k.complain(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Run writes until ctx ends. What is there then stays; see Finish.
func (k *Keeper[K, S, T]) Run(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[K](retryFirst, retryLast))
	defer context.AfterFunc(ctx, queue.ShutDown)()
	k.mu.Lock()
	k.queue = queue
	for key := range k.pending {
		queue.Add(key)
	}
	for key := range k.have {
		queue.Add(key)
	}
	k.mu.Unlock()
	var workers errgroup.Group
	for range parallel {
		workers.Go(func() error {
			for {
				key, shutdown := queue.Get()
				if shutdown {
					return nil
				}
				k.work(ctx, queue, key)
				queue.Done(key)
			}
		})
	}
	return workers.Wait()
}

// work does what is to be done about one thing now.
func (k *Keeper[K, S, T]) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[K], key K) {
	k.mu.Lock()
	if !k.known {
		k.mu.Unlock()
		return // Set comes back to it
	}
	set := k.sets
	wait, counters := k.waitLocked(key)
	if counters && wait > 0 {
		delete(k.pending, key)
		k.finishLocked()
	}
	k.mu.Unlock()
	if wait > 0 {
		queue.AddAfter(key, wait)
		return
	}
	switch unseen, err := k.paced(ctx, key); {
	case ctx.Err() != nil:
		return
	case err != nil:
		k.complain(err)
		queue.AddRateLimited(key)
	default:
		queue.Forget(key)
		if unseen {
			queue.AddAfter(key, unseenFor)
		}
	}
	k.mu.Lock()
	if k.pending[key] <= set {
		delete(k.pending, key)
	}
	k.finishLocked()
	k.mu.Unlock()
}

// paced is sync when it is its turn. What needs no request does not wait.
func (k *Keeper[K, S, T]) paced(ctx context.Context, key K) (unseen bool, err error) {
	k.mu.Lock()
	done := k.isLocked(key)
	k.mu.Unlock()
	if !done {
		end, err := k.Pace.Begin(ctx, yield.Status)
		if err != nil {
			return false, err
		}
		defer end()
	}
	return k.sync(ctx, key)
}

// isLocked reports whether all that there is about key is what is wanted.
func (k *Keeper[K, S, T]) isLocked(key K) bool {
	is, there, seen, others := k.lookLocked(key)
	want, wanted := k.want[key]
	switch {
	case k.Theirs && (!wanted || !there):
		return true
	case len(others) > 0 || wanted != there:
		return false
	}
	return !wanted || k.saysLocked(key, is, seen, want)
}

// saysLocked reports whether an object says what is wanted. One that the cache has not for so long may have been changed unseen.
func (k *Keeper[K, S, T]) saysLocked(key K, is T, seen bool, want S) bool {
	said := *k.Status(is)
	return (seen || time.Now().Before(k.written[key].at.Add(unseenFor))) && equality.Semantic.DeepEqual(said, k.fit(said, want))
}

// request makes a request, and has it count for the pace.
func (k *Keeper[K, S, T]) request(do func() error) error {
	began := time.Now()
	defer func() { k.Pace.Took(yield.Status, time.Since(began)) }()
	return do()
}

// waitLocked returns how long the next write about key has to wait, and whether it is one of counters only.
func (k *Keeper[K, S, T]) waitLocked(key K) (wait time.Duration, counters bool) {
	is, there, _, _ := k.lookLocked(key)
	last, every := k.written[key], k.Every
	if !there && !last.removed {
		return 0, false // somebody has removed it
	}
	if want, wanted := k.want[key]; there && wanted && k.Counters != nil {
		said := k.Status(is)
		if fit := k.fit(*said, want); !equality.Semantic.DeepEqual(*said, fit) && k.Counters(said, &fit) {
			every, counters = k.CountersEvery, true
		}
	}
	return time.Until(last.at.Add(every)), counters
}

// fit returns what an object that says is has to say.
func (k *Keeper[K, S, T]) fit(is, want S) S {
	if k.Fit == nil {
		return want
	}
	return k.Fit(is, want)
}

// complain logs what went wrong, but not for each of ten thousand objects.
func (k *Keeper[K, S, T]) complain(err error) {
	k.mu.Lock()
	again := time.Since(k.logged) < quiet
	if !again {
		k.logged = time.Now()
	}
	k.mu.Unlock()
	if !again {
		k.Log.Warn("what is to be said is not written", "err", err)
	}
}

// Finish says exactly this, once, when nobody runs any more: what a process that ends leaves behind.
func (k *Keeper[K, S, T]) Finish(ctx context.Context, want map[K]S) error {
	k.mu.Lock()
	todo := map[K]bool{}
	for key := range k.have {
		todo[key] = true
	}
	for key := range k.own {
		todo[key] = true
	}
	if k.known, k.want = true, want; want == nil {
		k.want = map[K]S{}
	}
	k.mu.Unlock()
	var writers errgroup.Group
	writers.SetLimit(parallel)
	for key := range todo {
		writers.Go(func() error {
			_, err := k.sync(ctx, key)
			return err
		})
	}
	return writers.Wait()
}

// sync makes there be exactly the object about key that is wanted, or none. unseen is set if the cache may not have seen that yet.
func (k *Keeper[K, S, T]) sync(ctx context.Context, key K) (unseen bool, err error) {
	k.mu.Lock()
	is, there, seen, others := k.lookLocked(key)
	want, wanted := k.want[key]
	says := there && wanted && k.saysLocked(key, is, seen, want)
	done := k.isLocked(key)
	if done && !(there && wanted) {
		delete(k.written, key)
	}
	k.mu.Unlock()
	if done {
		return says && !seen, nil
	}
	for _, o := range others {
		if err := k.remove(ctx, key, o); err != nil {
			return false, err
		}
	}
	switch {
	case !wanted:
		err := k.remove(ctx, key, is)
		if err == nil {
			k.mu.Lock()
			k.written[key] = write{at: time.Now(), removed: true}
			k.mu.Unlock()
		}
		return true, err
	case !there:
		return true, k.create(ctx, key, want)
	}
	if !says {
		err := k.write(ctx, key, is, want)
		if apierrors.IsInvalid(err) && !k.Theirs { // somebody has made it say what cannot be changed any more
			err = k.remove(ctx, key, is)
			if err == nil {
				return true, k.create(ctx, key, want)
			}
		}
		if apierrors.IsNotFound(err) { // somebody has removed it
			k.mu.Lock()
			k.dropLocked(key, is.GetUID(), true)
			k.mu.Unlock()
			if k.Theirs {
				return false, nil
			}
			return true, k.create(ctx, key, want)
		}
		return !seen, err
	}
	return !seen, nil
}

// without returns what is left of objects without one; they are not used any more.
func without[T client.Object](objects []T, uid types.UID) []T {
	return slices.DeleteFunc(objects, func(o T) bool { return o.GetUID() == uid })
}

// lookLocked returns the object about key, whether the cache has it, and those that are too many.
func (k *Keeper[K, S, T]) lookLocked(key K) (is T, there, seen bool, others []T) {
	is, there = k.own[key]
	for _, o := range k.have[key] {
		switch {
		case there && o.GetUID() == is.GetUID():
			is, seen = newest(is, o), true
		case !there && (!seen || cmp.Less(o.GetName(), is.GetName())):
			if seen {
				others = append(others, is)
			}
			is, seen = o, true
		default:
			others = append(others, o)
		}
	}
	return is, there || seen, seen, others
}

// newest returns an object as it was written last, or as the cache has it, if somebody has written it since.
func newest[T client.Object](written, cached T) T {
	if isOlder(written, cached) {
		return cached
	}
	return written
}

// isOlder reports whether an object is known to be as it was before b.
func isOlder(a, b client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order < 0
}

func (k *Keeper[K, S, T]) create(ctx context.Context, key K, want S) error {
	o := k.New(key)
	err := k.request(func() error { return k.Client.Create(ctx, o) })
	if apierrors.IsAlreadyExists(err) {
		// Somebody has taken the label off, or made it. It is not this process's to write or to remove; see the package.
		return fmt.Errorf("create the %T about %v: %s is there without the labels %v and is let alone until it is removed: %w", o, key,
			o.GetName(), o.GetLabels(), err)
	}
	if err != nil {
		return fmt.Errorf("create the %T about %v: %w", o, key, err)
	}
	k.wrote(key, o)
	if k.Created != nil {
		k.Created(ctx, key)
	}
	return k.write(ctx, key, o, want)
}

// write replaces the whole status: a merge would keep what it does not name.
func (k *Keeper[K, S, T]) write(ctx context.Context, key K, is T, want S) error {
	steps := []map[string]any{{"op": "add", "path": "/status", "value": k.fit(*k.Status(is), want)}}
	if k.Theirs {
		steps = append([]map[string]any{{"op": "test", "path": "/metadata/uid", "value": is.GetUID()}}, steps...)
	}
	patch, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("encode the status of %s: %w", is.GetName(), err)
	}
	o := is.DeepCopyObject().(T)
	err = k.request(func() error { return k.Client.Status().Patch(ctx, o, client.RawPatch(types.JSONPatchType, patch)) })
	if err != nil {
		return fmt.Errorf("write the %T about %v: %w", o, key, err)
	}
	k.wrote(key, o)
	return nil
}

func (k *Keeper[K, S, T]) wrote(key K, o T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written[key] = write{at: time.Now()}
	if k.seenLocked(key, o) {
		delete(k.own, key)
	} else {
		k.own[key] = o
	}
}

func (k *Keeper[K, S, T]) remove(ctx context.Context, key K, o T) error {
	uid := o.GetUID()
	err := k.request(func() error { return k.Client.Delete(ctx, o.DeepCopyObject().(T), client.Preconditions{UID: &uid}) })
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("remove %T %s about %v: %w", o, o.GetName(), key, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(key, uid, true)
	return nil
}
