// Package service knows what a Service asks and what it shows: the names of annotations, labels and conditions, how they are read, and
// what of a Service is kept in a cache. It decides nothing: package assign decides what a Service gets, package announce who announces it.
package service
