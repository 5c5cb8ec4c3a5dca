// Package assign gives addresses to Services: it turns a Service into an allocator.Request, the answer into the Service's status,
// and every refusal into a condition and an event.
//
// The engine is asked under one lock by the Assigner; the reconciler around it writes one merge patch of the status subresource
// for each assignment, with the resourceVersion it decided on, and nothing when nothing changed.
package assign
