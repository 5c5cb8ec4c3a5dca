// Package allocator is the address engine: it decides which address of which pool an owner gets, and nothing else.
//
// It is pure. It knows no Kubernetes, performs no I/O, writes no logs and keeps no clock, so the same history of calls always
// gives the same addresses. Pools are tried in the order (priority, name) and their entries in the order they were written;
// inside an entry the lowest usable address wins.
//
// One allocation or release costs O(log n) in the number of addresses in use, however large or full a pool is, because a pool
// stores only the runs of addresses that are taken: an IPv6 /64 costs what an IPv4 /30 costs.
//
// An [Allocator] is not safe for concurrent use; its caller serialises access.
package allocator
