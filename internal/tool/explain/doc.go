// Package explain says why things are as they are: of a Service, an address, the pools, the sessions with routers and the backends.
// It is pure: objects that were read go in, a report comes out. Pools are judged by the code of the controller itself.
//
// The fields of reports are what "kubectl fairlead -o json" prints; they are stable: fields may be added.
package explain
