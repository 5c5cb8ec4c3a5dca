// Package plan tells what would change if objects were applied to a cluster: which Services would move, get or lose an address, or be
// advertised otherwise, and what would be written into the CNI's configuration. It runs the code of the controller and of the backends on
// a copy of the cluster. The cluster itself is only read, and asked for dry runs.
package plan
