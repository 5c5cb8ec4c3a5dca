package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/fairlead/fairlead/integration/testbed"
)

// adopted is what a controller says when it begins to assign addresses: with leader election, when it has become the leader.
const adopted = "existing addresses adopted"

// replicas is how many controllers run where one is to take over from another.
const replicas = 3

// fleet is the running controllers: one without leader election, whose successor acts at once, or replicas with it. What ends is
// started again, as a kubelet would.
type fleet struct {
	namespace, class string

	elect   bool
	running []*testbed.Process
	frozen  *testbed.Process // by SIGSTOP, until its Lease has gone to another
	outage  bool             // the API server has been away: who had no luck with it may have ended
	last    []string         // logs of controllers that have ended, for a report

	kills, freezes, deposed atomic.Int64
}

func (f *fleet) start() error {
	args := []string{"--lb-class", f.class}
	if !f.elect {
		args = append(args, "--leader-elect=false")
	}
	p, err := bed.Launch(f.namespace, args...)
	if err == nil {
		f.running = append(f.running, p)
	}
	return err
}

// form starts the fleet anew.
func (f *fleet) form(elect bool) error {
	f.elect, f.outage = elect, false
	n := 1
	if elect {
		n = replicas
	}
	for range n {
		if err := f.start(); err != nil {
			return err
		}
	}
	return nil
}

// dissolve ends all controllers in good order: each has five seconds for it.
func (f *fleet) dissolve() error {
	if err := f.tend(); err != nil {
		return err
	}
	var stopping errgroup.Group
	for _, p := range f.running {
		stopping.Go(func() error {
			if took, err := p.Stop(); err != nil || took > 5*time.Second {
				return fmt.Errorf("a controller took %s to stop and ended with %v:\n%s", took, err, p.Log())
			}
			return nil
		})
	}
	err := stopping.Wait()
	for _, p := range f.running {
		f.bury(p)
	}
	f.running = nil
	return err
}

// abandon ends whatever still runs.
func (f *fleet) abandon() {
	for _, p := range f.running {
		p.Kill()
		f.bury(p)
	}
	f.running, f.frozen = nil, nil
}

func (f *fleet) bury(p *testbed.Process) {
	f.last = append(f.last, p.Log())
	f.last = f.last[max(0, len(f.last)-6):]
}

func alive(p *testbed.Process) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// tend starts controllers in place of those that have ended by themselves, which needs a reason: the Lease was lost, or the API
// server was away.
func (f *fleet) tend() error {
	var running []*testbed.Process
	ended := 0
	for _, p := range f.running {
		if alive(p) {
			running = append(running, p)
			continue
		}
		log := p.Log()
		crashed := strings.Contains(log, "\ngoroutine ") || strings.HasPrefix(log, "panic: ")
		if crashed || !f.outage && !(f.elect && strings.Contains(log, "leader election lost")) {
			return fmt.Errorf("a controller ended by itself:\n%s", log[:min(len(log), 20000)])
		}
		f.bury(p)
		ended++
	}
	f.running = running
	for range ended {
		if err := f.start(); err != nil {
			return err
		}
	}
	return nil
}

// worker returns the controller that assigns addresses, nil if there is none at present. Of two that have the mark of a leader, it
// is the one that was started, or took over, later: it is the one at work.
func (f *fleet) worker() *testbed.Process {
	var found *testbed.Process
	when := ""
	for _, p := range f.running {
		for line := range strings.Lines(p.Log()) {
			if strings.Contains(line, adopted) && line >= when && alive(p) {
				found, when = p, line // lines begin with the time
			}
		}
	}
	return found
}

// await waits for a worker other than not.
func (f *fleet) await(ctx context.Context, not *testbed.Process) (*testbed.Process, error) {
	var found *testbed.Process
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, testbed.Patience, true, func(context.Context) (bool, error) {
		if err := f.tend(); err != nil {
			return false, err
		}
		found = f.worker()
		return found != nil && found != not, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for a controller to take over: %w", err)
	}
	return found, nil
}

// kill ends a controller with SIGKILL and starts another.
func (f *fleet) kill(p *testbed.Process) error {
	p.Kill()
	f.kills.Add(1)
	f.bury(p)
	for i, q := range f.running {
		if p == q {
			f.running = append(f.running[:i:i], f.running[i+1:]...)
			break
		}
	}
	return f.start()
}

// freeze stops a controller for as long as meanwhile takes.
func (f *fleet) freeze(p *testbed.Process, meanwhile func() error) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	f.freezes.Add(1)
	return errors.Join(meanwhile(), p.Signal(syscall.SIGCONT))
}

// suspend freezes the leader; wake is to follow.
func (f *fleet) suspend(ctx context.Context) error {
	leader, err := f.await(ctx, nil)
	if err != nil {
		return err
	}
	f.frozen = leader
	f.freezes.Add(1)
	return leader.Signal(syscall.SIGSTOP)
}

// wake lets a suspended leader go on when another has taken over.
func (f *fleet) wake(ctx context.Context) error {
	if f.frozen == nil {
		return nil
	}
	if _, err := f.await(ctx, f.frozen); err != nil {
		return err
	}
	return f.frozen.Signal(syscall.SIGCONT)
}

// retire waits for the end of a leader that was woken: it has lost its Lease and must not go on.
func (f *fleet) retire() error {
	if f.frozen == nil {
		return nil
	}
	select {
	case <-f.frozen.Done():
	case <-time.After(testbed.Patience):
		return fmt.Errorf("a leader that lost its Lease goes on:\n%s", f.frozen.Log())
	}
	f.frozen = nil
	f.deposed.Add(1)
	return f.tend()
}
