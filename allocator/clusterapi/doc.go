// Package clusterapi takes addresses from whatever serves Cluster API's IPAM contract: it makes an IPAddressClaim for each address, and a
// provider (in-cluster, Infoblox, Metal3, one's own) answers with an IPAddress.
//
// The contract is in docs/book/src/developer/providers/contracts/ipam.md of kubernetes-sigs/cluster-api; it has been served as
// ipam.cluster.x-k8s.io/v1beta1 and, since Cluster API 1.11, v1beta2. What is read and written here is the same in both.
package clusterapi
