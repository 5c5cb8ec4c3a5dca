package chaos

import (
	"context"
	"errors"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/fairlead/fairlead/integration/testbed"
)

// kill ends the controller, mostly at work, at times while it starts.
func (c *chaos) kill() {
	atWork := c.rng.IntN(4) > 0
	pause := time.Duration(c.rng.IntN(150)) * time.Millisecond
	if atWork {
		_, err := c.fleet.await(c.ctx, nil)
		c.must(err)
	}
	time.Sleep(pause)
	c.must(c.fleet.tend())
	c.say("kill the controller, %s after it was %s", pause, map[bool]string{true: "at work", false: "started"}[atWork])
	c.must(c.fleet.kill(c.fleet.running[0]))
}

// freeze stops the controller that works for a moment, shorter than its Lease. Operations go on meanwhile.
func (c *chaos) freeze() {
	p, err := c.fleet.await(c.ctx, nil)
	c.must(err)
	c.say("freeze the controller for some operations")
	c.must(c.fleet.freeze(p, func() error {
		for range 2 + c.rng.IntN(3) {
			c.operate(true)
		}
		return nil
	}))
}

func (c *chaos) killLeader() {
	p, err := c.fleet.await(c.ctx, nil)
	c.must(err)
	c.say("kill the leader")
	c.must(c.fleet.kill(p))
}

func (c *chaos) killStandby() {
	leader := c.fleet.worker()
	for _, p := range c.fleet.running {
		if p != leader && p != c.fleet.frozen {
			c.say("kill a standby")
			c.must(c.fleet.kill(p))
			return
		}
	}
}

func (c *chaos) suspendLeader() {
	c.say("freeze the leader until another takes over")
	c.must(c.fleet.suspend(c.ctx))
}

func (c *chaos) wakeLeader() {
	c.must(c.fleet.wake(c.ctx))
	c.say("the old leader goes on")
}

// restartAPIServer stops the API server, in good order or as a crash would, and starts it again. At times the controller is killed
// meanwhile.
func (c *chaos) restartAPIServer() {
	how, also := pick(c, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}), c.one(2)
	c.say("restart the API server by %v; kill a controller meanwhile: %t", how, also)
	c.fleet.outage = true
	c.must(bed.StopAPIServer(how))
	if also {
		c.must(c.fleet.tend())
		c.must(c.fleet.kill(c.fleet.running[0]))
	}
	c.must(bed.StartAPIServer())
	c.restarts.Add(1)
}

// persist does something on the API server, again if that was not itself just then.
func (c *chaos) persist(what string, do func() error) {
	c.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(c.ctx, 20*time.Millisecond, testbed.Patience, true, func(ctx context.Context) (bool, error) {
		last = do()
		if _, answered := errors.AsType[*apierrors.StatusError](last); answered && !apierrors.IsConflict(last) && !transient(last) {
			return false, last
		}
		return last == nil, nil
	})
	if err != nil {
		c.t.Fatalf("%s: %v: %v", what, err, last)
	}
}
