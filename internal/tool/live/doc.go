// Package live keeps what a survey reads current by watches: a client.Reader that asks nobody for it, because it has heard of every change.
// What allocators are asked, and the pools of their providers, are not watched: these it reads from the API server each time. What may not be read stays an error of its kind; everything else is there.
package live
