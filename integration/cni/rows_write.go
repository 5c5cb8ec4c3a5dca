package cni

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/integration/testbed"
)

// Rows are written with these.

// docs puts YAML documents together.
func docs(all ...string) string { return strings.Join(all, "\n---\n") }

// pooled is an IPAddressPool.
func pooled(name string, ranges ...string) string {
	return fmt.Sprintf("kind: IPAddressPool\nmetadata: {name: %s}\nspec: {addresses: [%s]}", name, quoted(ranges))
}

// labelledPool is one with a label, as key: value.
func labelledPool(name, label string, ranges ...string) string {
	return fmt.Sprintf("kind: IPAddressPool\nmetadata: {name: %s, labels: {%s}}\nspec: {addresses: [%s]}", name, label, quoted(ranges))
}

// advert is a BGPAdvertisement; spec is what is between the braces.
func advert(name, spec string) string {
	return fmt.Sprintf("kind: BGPAdvertisement\nmetadata: {name: %s}\nspec: {%s}", name, spec)
}

// of is the spec of an advert of a pool; more is what else it says.
func of(pool string, more ...string) string {
	return strings.Join(append([]string{"ipAddressPools: [" + pool + "]"}, more...), ", ")
}

// from is the part of a spec that selects nodes by one label.
func from(key, value string) string {
	return fmt.Sprintf("nodeSelectors: [{matchLabels: {%s: %s}}]", key, value)
}

// service is a Service with an address of a pool; spec is what is between the braces, it may be empty.
func service(name, pool, spec string) string {
	return fmt.Sprintf("kind: Service\nmetadata: {name: %s, annotations: {metallb.io/address-pool: %s}}\nspec: {%s}", name, pool, spec)
}

// serviceAt is a Service that asks for addresses.
func serviceAt(name, addrs, spec string) string {
	return fmt.Sprintf("kind: Service\nmetadata: {name: %s, annotations: {metallb.io/loadBalancerIPs: %q}}\nspec: {%s}", name, addrs, spec)
}

func quoted(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}

// beyondCalico are the backends that can limit a pool to nodes, peers and Services as exactly as it is written.
var beyondCalico = []string{"cilium", "speaker"}

// simpleOn are the backends that make routes of a configuration directly, not of objects of a CNI that are written one after the other.
var simpleOn = []string{"speaker"}

const (
	rangeA = "198.51.100.0/28"
	rangeB = "203.0.113.0/28"
	rangeC = "192.0.2.0/28"
	a0     = "198.51.100.0"
	b0     = "203.0.113.0"
	c0     = "192.0.2.0"

	heardA   = "r1 r2: " + a0 + " from all\n"
	excluded = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// pause lets something happen that nobody can watch from outside.
func (s *Scene) pause(d time.Duration) { <-time.After(d) }

// led returns when the controller that was started last is the one that leads: one that was killed keeps its Lease for a while.
func (s *Scene) led() {
	s.Helper()
	testbed.Eventually(s, "the controller to lead", func(context.Context) error {
		if !strings.Contains(s.Lab.controller.Log(), "who advertises") {
			return errors.New("it does not yet")
		}
		return nil
	})
}

// killedAndBack kills the controller, and returns when another one has taken over.
func killedAndBack(s *Scene) {
	s.Helper()
	s.Restart()
	s.led()
}
