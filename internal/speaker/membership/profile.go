package membership

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Profile is a set of times.
type Profile string

const (
	// Fast notices a member that is gone in about half a second on a quiet LAN: it is probed every 100 ms by somebody, and once
	// suspected has 300 ms to object, 600 ms if nobody else suspects it. Of more than ten members it has longer, with the logarithm of
	// their number: 600 ms of 100, 810 ms of 500.
	Fast Profile = "fast"
	// LAN has memberlist's times for a LAN: a member that is gone is noticed in five to ten seconds; of 100 and more, in up to 15.
	LAN Profile = "lan"
)

// Profiles are all of them, the default first.
var Profiles = []Profile{Fast, LAN}

// Set implements pflag.Value.
func (p *Profile) Set(s string) error {
	for _, known := range Profiles {
		if Profile(s) == known {
			*p = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a profile; use one of %s", s, p.Type())
}

// String implements pflag.Value.
func (p *Profile) String() string { return string(*p) }

// Type implements pflag.Value.
func (*Profile) Type() string {
	names := make([]string, len(Profiles))
	for i, p := range Profiles {
		names[i] = string(p)
	}
	return strings.Join(names, "|")
}

// base returns memberlist's configuration.
func (p Profile) base() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.TCPTimeout = 2 * time.Second
	c.EnableCompression = false // it takes half of the processor time at rest, and makes nothing smaller then
	if p == LAN {
		return c
	}
	c.ProbeInterval, c.ProbeTimeout = 100*time.Millisecond, 50*time.Millisecond
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.GossipInterval, c.GossipNodes = 50*time.Millisecond, 4
	c.PushPullInterval = 10 * time.Second
	return c
}

// asleep is how long this process may have stood still before what it knows of others counts as old: they may have declared it dead.
func (p Profile) asleep() time.Duration {
	if p == LAN {
		return 5 * time.Second
	}
	return 500 * time.Millisecond
}

// joinAgain is how often it is tried to reach those who are missing.
func (p Profile) joinAgain() time.Duration {
	if p == LAN {
		return time.Second
	}
	return 500 * time.Millisecond
}
