package cni

import (
	"fmt"
	"strings"
)

// The objects of Rows, as YAML. A spec or a change of one is the inside of YAML's braces.

func pool(name string, addresses ...string) string {
	for i, a := range addresses {
		addresses[i] = fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf("kind: IPAddressPool\nmetadata: {name: %s}\nspec: {addresses: [%s]}", name, strings.Join(addresses, ", "))
}

// labelled is a pool with labels.
func labelled(pool, labels string) string {
	return strings.Replace(pool, "metadata: {", "metadata: {labels: {"+labels+"}, ", 1)
}

// adv is a BGPAdvertisement; spec names the pools, too.
func adv(name, spec string) string {
	return fmt.Sprintf("kind: BGPAdvertisement\nmetadata: {name: %s}\nspec: {%s}", name, spec)
}

// svc is a Service with an address from a pool; asks is an address that it asks for, or empty.
func svc(name, pool, asks, spec string) string {
	annotations := "metallb.io/address-pool: " + pool
	if asks != "" {
		annotations = fmt.Sprintf("metallb.io/loadBalancerIPs: %q", asks)
	}
	return fmt.Sprintf("kind: Service\nmetadata: {name: %s, annotations: {%s}}\nspec: {%s}", name, annotations, spec)
}

// all puts documents together.
func all(documents ...string) string { return strings.Join(documents, "\n---\n") }
