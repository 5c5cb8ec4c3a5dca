// Package cni proves by the routes that routers hear that the CNIs do with what Fairlead writes what its users mean. One table of
// scenarios (Rows) serves the code of Calico and of Cilium, each in the folder of its name, and Fairlead's own speaker.
//
// Each Row is a sequence of changes by a user, with the routes that are meant after each. While a change takes effect, every tenth of a
// second:
//
//   - no router hears a route that is meant neither before nor after it,
//   - none is missing that is meant before and after it.
package cni
