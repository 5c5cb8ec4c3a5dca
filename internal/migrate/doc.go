// Package migrate changes a live cluster over from MetalLB to Fairlead, step by step, without an address changing.
package migrate
