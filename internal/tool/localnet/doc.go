// Package localnet makes networks of this machine's network namespaces, for the demo and for tests: namespaces with bridges and cables
// between them, and relays by which a server on the machine's loopback answers in a namespace. Only Linux has them.
package localnet
