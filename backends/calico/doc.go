// Package calico has Calico advertise addresses: it merges the prefixes of advertised pools into the list
// spec.serviceLoadBalancerIPs of Calico's BGPConfiguration "default". Calico then advertises every address in the status of a
// Service that lies in one of these blocks (confd/pkg/backends/calico/routes.go in Calico's repository).
//
// The list is shared with the people and tools that edit it. What this package has added is recorded in a Ledger before it is
// written; entries that are not in the record are never touched, and one that was there before is used and left alone.
package calico
