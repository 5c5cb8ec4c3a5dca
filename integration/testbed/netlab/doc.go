// Package netlab is a real network for tests, without a cluster: nodes and clients are network namespaces on a bridge, nodes run the
// real kube-proxy and have a pod, and links and switches can be made to fail. It needs Linux and the rights of root.
//
// Everything a lab makes carries its name: "ip netns" lists the namespaces, and "ip netns exec NAME tcpdump -i eth0" looks inside
// while a test runs.
package netlab
