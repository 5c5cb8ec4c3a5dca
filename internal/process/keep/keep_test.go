package keep_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
)

const (
	namespace = "metallb-system"
	nodeLabel = "metallb.io/node"
	about     = "metallb.io/service-name"
)

type (
	says   = v1beta1.ServiceL2StatusStatus
	keeper = keep.Keeper[string, says, *v1beta1.ServiceL2Status]
)

func options(d *keeptest.Desk, node string) keep.Options[string, says, *v1beta1.ServiceL2Status] {
	return keep.Options[string, says, *v1beta1.ServiceL2Status]{
		Client: d, Cache: d.Cache(), Log: slog.New(slog.DiscardHandler), Every: 200 * time.Millisecond,
		Mine: func(o *v1beta1.ServiceL2Status) bool { return o.Labels[nodeLabel] == node },
		Key:  func(o *v1beta1.ServiceL2Status) string { return o.Labels[about] },
		New: func(key string) *v1beta1.ServiceL2Status {
			return &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{
				GenerateName: "l2-", Namespace: namespace, Labels: map[string]string{nodeLabel: node, about: key},
			}}
		},
		Status: func(o *v1beta1.ServiceL2Status) *says { return &o.Status },
	}
}

func newDesk(t *testing.T) *keeptest.Desk {
	return keeptest.New(t, cli.NewScheme(), &v1beta1.ServiceL2Status{})
}

// start has a Keeper at work until the test ends.
func start(t *testing.T, k *keeper) {
	t.Helper()
	require.NoError(t, k.Follow(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, k.Run(ctx))
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
}

func say(node string, keys ...string) map[string]says {
	out := map[string]says{}
	for _, key := range keys {
		out[key] = says{Node: node, ServiceName: key}
	}
	return out
}

// said returns what the objects of a node say, by what they are about.
func said(t *testing.T, d *keeptest.Desk, node string) map[string]says {
	t.Helper()
	out := map[string]says{}
	for _, o := range objects(t, d) {
		if o.Labels[nodeLabel] != node {
			continue
		}
		require.NotContains(t, out, o.Labels[about], "twice")
		out[o.Labels[about]] = o.Status
	}
	return out
}

func objects(t *testing.T, d *keeptest.Desk) []v1beta1.ServiceL2Status {
	t.Helper()
	var list v1beta1.ServiceL2StatusList
	require.NoError(t, d.List(t.Context(), &list))
	return list.Items
}

// settle lets time pass in which everything is written.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		start(t, k)
		settle()
		assert.Zero(t, d.Writes(""), "nothing is removed before it is known what is to be said")
		for range 3 {
			k.Set(say("a", "web", "db"), nil)
			settle()
			assert.Equal(t, say("a", "web", "db"), said(t, d, "a"))
			assert.Equal(t, 4, d.Writes(""), "two to create and two to say it")
		}
		k.Set(say("a", "db"), nil)
		settle()
		assert.Equal(t, say("a", "db"), said(t, d, "a"))
		assert.Equal(t, 5, d.Writes(""))
		for i := range 10 { // faster than it is written
			k.Set(map[string]says{"db": {Node: fmt.Sprint(i)}}, nil)
			time.Sleep(10 * time.Millisecond)
		}
		settle()
		assert.Equal(t, "9", said(t, d, "a")["db"].Node)
		assert.LessOrEqual(t, d.Writes(""), 7)
	})
}

// TestFollowsTwice: who could not watch at first and tries again may be told everything twice; that makes no object one too many.
func TestFollowsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		x := options(d, "a").New("web") // of a process before this one
		require.NoError(t, d.Create(t.Context(), x))
		k := keep.New(options(d, "a"))
		require.NoError(t, k.Follow(t.Context()))
		start(t, k)
		k.Set(say("a", "web"), nil)
		settle()
		assert.Equal(t, say("a", "web"), said(t, d, "a"))
		assert.Equal(t, 2, d.Writes(""), "nothing is removed: one is what was done to begin with, and one says it")
	})
}

// TestPutRight has somebody remove one object and edit others.
func TestPutRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		start(t, k)
		want := say("a", "web", "db", "dns")
		k.Set(want, nil)
		settle()
		for _, o := range objects(t, d) {
			switch o.Labels[about] {
			case "web":
				require.NoError(t, d.Delete(t.Context(), &o))
			case "db":
				o.Status = says{Node: "b", Interfaces: []v1beta1.InterfaceInfo{{Name: "eth0"}}}
				require.NoError(t, d.Status().Update(t.Context(), &o))
			}
		}
		settle()
		assert.Equal(t, want, said(t, d, "a"))
		before := d.Writes("")
		time.Sleep(time.Hour)
		assert.Equal(t, before, d.Writes(""), "nothing is written again")
	})
}

// TestTakenAway has somebody give objects another name, by labels: others say what is to be said, and those that are not ours are let
// alone.
func TestTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		start(t, k)
		want := say("a", "web", "db", "dns")
		k.Set(want, nil)
		settle()
		for _, o := range objects(t, d) {
			switch o.Labels[about] {
			case "web":
				o.Labels[nodeLabel] = "b"
			case "db":
				o.Labels[about] = "mail"
			}
			require.NoError(t, d.Update(t.Context(), &o))
		}
		settle()
		assert.Equal(t, want, said(t, d, "a"))
		assert.Len(t, said(t, d, "b"), 1)
		before := d.Writes("")
		time.Sleep(time.Hour)
		assert.Equal(t, before, d.Writes(""), "nothing is written again")
	})
}

// TestAddedTo has somebody add to what an object says, which is kept, while the Keeper is slow to take that in: it writes nothing meanwhile.
func TestAddedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		key := o.Key
		o.Key = func(x *v1beta1.ServiceL2Status) string {
			for range 1000 {
				runtime.Gosched() // others may come first
			}
			return key(x)
		}
		o.Fit = func(is, want says) says {
			want.Interfaces = is.Interfaces
			return want
		}
		k := keep.New(o)
		start(t, k)
		want := say("a", "web")
		k.Set(want, nil)
		time.Sleep(time.Minute)
		x := objects(t, d)[0]
		x.Status.Interfaces = []v1beta1.InterfaceInfo{{Name: "eth0"}}
		require.NoError(t, d.Status().Update(t.Context(), &x))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, x.Status, said(t, d, "a")["web"])
		assert.Equal(t, 2, d.Writes(""))
	})
}

// TestNameTaken has somebody take the label off an object whose name is fixed: it is let alone, rarely tried and told of, and back once it has
// been removed.
func TestNameTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var log bytes.Buffer
		o := options(d, "a")
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.New = func(key string) *v1beta1.ServiceL2Status {
			x := options(d, "a").New(key)
			x.GenerateName, x.Name = "", "a-"+key
			return x
		}
		k := keep.New(o)
		start(t, k)
		want := say("a", "web")
		k.Set(want, nil)
		settle()
		x := objects(t, d)[0]
		x.Labels = nil
		require.NoError(t, d.Update(t.Context(), &x))
		before := d.Writes("")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, x, objects(t, d)[0])
		assert.Less(t, d.Writes("")-before, 140, "every 30 seconds")
		assert.Contains(t, log.String(), "a-web is there without the labels map[metallb.io/node:a metallb.io/service-name:web]")
		require.NoError(t, d.Delete(t.Context(), &x))
		time.Sleep(30 * time.Second)
		settle()
		assert.Equal(t, want, said(t, d, "a"))
	})
}

// TestServe has objects that cannot be watched for a while.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		var tries atomic.Int32
		o.Cache = &late{Cache: d.Cache(), until: time.Now().Add(time.Minute), tries: &tries}
		k := keep.New(o)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Serve(ctx) }()
		k.Set(say("a", "web"), nil)
		time.Sleep(59 * time.Second)
		assert.Empty(t, objects(t, d))
		assert.Less(t, tries.Load(), int32(12), "later each time")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, say("a", "web"), said(t, d, "a"))
		stop()
		require.NoError(t, <-ended)
	})
}

// late is a cache that cannot watch anything before a time.
type late struct {
	cache.Cache
	until time.Time
	tries *atomic.Int32
}

func (l *late) GetInformer(ctx context.Context, o client.Object, opts ...cache.InformerGetOption) (cache.Informer, error) {
	l.tries.Add(1)
	if time.Now().Before(l.until) {
		return nil, errors.New("no such kind")
	}
	return l.Cache.GetInformer(ctx, o, opts...)
}

// TestOthers has two processes that do not hear of each other say things about the same.
func TestOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		a, b := keep.New(options(d, "a")), keep.New(options(d, "b"))
		start(t, a)
		start(t, b)
		for range 20 {
			a.Set(say("a", "web", "db"), nil)
			b.Set(say("b", "web", "db"), nil)
			settle()
		}
		assert.Equal(t, 4, d.Writes("create"))
		assert.Zero(t, d.Writes("delete"))
		a.Set(nil, nil)
		settle()
		assert.Empty(t, said(t, d, "a"))
		assert.Equal(t, say("b", "web", "db"), said(t, d, "b"))
	})
}

// TestTakenOver: what a process before this one has left counts, but not twice.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		for _, key := range []string{"web", "web", "db", "gone"} {
			x := o.New(key)
			require.NoError(t, d.Create(t.Context(), x))
			x.Status = say("a", key)[key]
			require.NoError(t, d.Status().Update(t.Context(), x))
		}
		before := d.Writes("")
		k := keep.New(o)
		start(t, k)
		k.Set(say("a", "web", "db"), nil)
		settle()
		assert.Equal(t, say("a", "web", "db"), said(t, d, "a"))
		assert.Equal(t, 2, d.Writes("")-before, "one that is too many and one that is not wanted")
	})
}

// TestSlowCache has a cache that does not show what was created: it is not created twice, is put right all the same, and removed.
func TestSlowCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		k := keep.New(options(d, "a"))
		start(t, k)
		d.Freeze()
		for range 3 {
			k.Set(say("a", "web", "db"), nil)
			settle()
		}
		require.Equal(t, 2, d.Writes("create"))
		all := objects(t, d)
		require.NoError(t, d.Delete(t.Context(), &all[0]))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, say("a", "web", "db"), said(t, d, "a"))
		k.Set(nil, nil)
		settle()
		assert.Empty(t, objects(t, d))
	})
}

// TestRefused has an API server that refuses one object for good, and all others for a while.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var down atomic.Bool
		var tries atomic.Int32
		d.Fail = func(_ string, o client.Object) error {
			switch bad := o.GetLabels()[about] == "bad"; {
			case bad:
				tries.Add(1)
				return errors.New("forbidden")
			case down.Load():
				return errors.New("no API server")
			}
			return nil
		}
		k := keep.New(options(d, "a"))
		start(t, k)
		k.Set(say("a", "bad", "web"), nil)
		settle()
		assert.Equal(t, say("a", "web"), said(t, d, "a"))
		time.Sleep(5 * time.Minute)
		assert.Less(t, tries.Load(), int32(20), "later each time")
		assert.Greater(t, tries.Load(), int32(8))

		down.Store(true)
		k.Set(say("a", "db"), nil)
		settle()
		assert.Equal(t, say("a", "web"), said(t, d, "a"))
		down.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, say("a", "db"), said(t, d, "a"))
	})
}

// TestDone: what comes after something else waits until that has been tried.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail = func(_ string, o client.Object) error {
			time.Sleep(time.Second)
			if o.GetLabels()[about] == "bad" {
				return errors.New("forbidden")
			}
			return nil
		}
		k := keep.New(options(d, "a"))
		start(t, k)
		var mu sync.Mutex
		var all []string
		tell := func(what string) func() {
			return func() {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, what)
			}
		}
		done := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		k.Set(say("a", "web"), tell("first"))
		k.Set(say("a", "web", "bad"), tell("second"))
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		assert.Empty(t, done())
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"second"}, done())
		assert.Equal(t, say("a", "web"), said(t, d, "a"))
		k.Set(say("a", "web", "bad"), tell("third"))
		assert.Equal(t, []string{"second", "third"}, done(), "there is no difference")
	})
}

// TestEvery: what comes and goes is written at a bounded rate, removals as well, and what somebody else removes is back at once.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		o.Every = 5 * time.Second
		k := keep.New(o)
		start(t, k)
		for i := range 20 {
			k.Set(say("a", []string{"web", "db"}[i%2]), nil)
			settle()
		}
		assert.LessOrEqual(t, d.Writes(""), 2*8, "created or removed five times at most, each")
		time.Sleep(o.Every)
		synctest.Wait()
		assert.Equal(t, say("a", "db"), said(t, d, "a"))

		all := objects(t, d)
		require.Len(t, all, 1)
		require.NoError(t, d.Delete(t.Context(), &all[0]))
		synctest.Wait()
		assert.Equal(t, say("a", "db"), said(t, d, "a"), "it does not wait")
	})
}

// TestCounters: what changes all the time is written more rarely than anything else, comes along with it, and nobody waits for it.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		o.Every, o.CountersEvery = 5*time.Second, 30*time.Second
		o.Counters = func(is, want *says) bool { return is.Node == want.Node }
		k := keep.New(o)
		start(t, k)
		count := func(node string, n int) map[string]says {
			return map[string]says{"web": {Node: node, Interfaces: make([]v1beta1.InterfaceInfo, n)}}
		}
		k.Set(count("a", 1), nil)
		settle()
		require.Equal(t, 2, d.Writes(""))
		for i := range 25 {
			done := false
			k.Set(count("a", 2+i), func() { done = true })
			settle()
			assert.True(t, done)
		}
		assert.Equal(t, 2, d.Writes(""), "26 s after the last write")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, 3, d.Writes(""))
		assert.Len(t, said(t, d, "a")["web"].Interfaces, 26)

		time.Sleep(o.Every)
		k.Set(count("b", 99), nil)
		synctest.Wait()
		assert.Equal(t, 4, d.Writes(""), "this does not wait")
		assert.Len(t, said(t, d, "a")["web"].Interfaces, 99)
		time.Sleep(time.Hour)
		assert.Equal(t, 4, d.Writes(""))
	})
}

// TestFit: what is kept of a status is no difference, and stays when something else is written.
func TestFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		o := options(d, "a")
		o.Fit = func(is, want says) says {
			want.ServiceNamespace = cmp.Or(is.ServiceNamespace, want.ServiceNamespace)
			return want
		}
		k := keep.New(o)
		start(t, k)
		for _, namespace := range []string{"first", "second"} {
			k.Set(map[string]says{"web": {Node: "a", ServiceNamespace: namespace}}, nil)
			settle()
		}
		assert.Equal(t, 2, d.Writes(""))
		k.Set(map[string]says{"web": {Node: "b", ServiceNamespace: "third"}}, nil)
		settle()
		assert.Equal(t, 3, d.Writes(""))
		assert.Equal(t, map[string]says{"web": {Node: "b", ServiceNamespace: "first"}}, said(t, d, "a"))
		time.Sleep(time.Hour)
		assert.Equal(t, 3, d.Writes(""))
	})
}

// TestAnything: after any sequence of things to say, edits and removals by others, and failures, what is to be said is said.
func TestAnything(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // it is to be repeated
			var mu sync.Mutex                   // protects r: several objects are written at a time
			roll := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return r.IntN(n)
			}
			d := newDesk(t)
			var failing atomic.Bool
			d.Fail = func(string, client.Object) error {
				if failing.Load() && roll(2) == 0 {
					return errors.New("no API server")
				}
				return nil
			}
			k := keep.New(options(d, "a"))
			start(t, k)
			names := []string{"web", "db", "dns", "mail", "ftp"}
			var want map[string]says
			for range 60 {
				synctest.Wait()
				switch all := objects(t, d); roll(5) {
				case 0, 1:
					want = map[string]says{}
					for _, name := range names {
						if roll(2) == 0 {
							want[name] = says{Node: fmt.Sprint(roll(3)), ServiceName: name}
						}
					}
					k.Set(want, nil)
				case 2:
					if len(all) > 0 {
						o := all[roll(len(all))]
						_ = d.Delete(t.Context(), &o)
					}
				case 3:
					if len(all) > 0 {
						o := all[roll(len(all))]
						o.Status.ServiceNamespace = "elsewhere"
						_ = d.Status().Update(t.Context(), &o)
					}
				case 4:
					failing.Store(!failing.Load())
				}
				time.Sleep(time.Duration(roll(400)) * time.Millisecond)
			}
			synctest.Wait()
			failing.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			if want == nil {
				want = map[string]says{}
			}
			assert.Equal(t, want, said(t, d, "a"), "seed %d", seed)
		})
	}
}
