package cni

// Row is a scenario.
type Row struct {
	Name string
	// Short is set for those that every run of the tests goes through.
	Short bool
	// Long names backends on which it is not among these, because it is about what is hard only on others.
	Long []string
	// Only names the backends that it is for; none: all.
	Only []string
	// Args are those of the controller, beside the usual ones.
	Args []string
	// OwnPeers is set if the Row makes its BGPPeers itself; else each router is there as two BGPPeers, r1 and r1-v6, r2 and r2-v6.
	OwnPeers bool
	// Shows names fields, as "BGPPeer password", of which routes or sessions tell that they are in force; see Shown.
	Shows []string
	Steps []Step
}

// Step is one change and what it is to come to.
type Step struct {
	// Change says in words what the user does.
	Change string
	// Apply are objects to create or change, as YAML documents. They are of the installation's namespace unless they name one. A Service
	// needs a name only; it is of type LoadBalancer, IPv4, with port 80 and a ready endpoint on every node.
	Apply string
	// Delete names objects to delete, as Kind/name.
	Delete []string
	// Label changes labels of nodes: "n1 zone=a" or "n1 zone-".
	Label []string
	// Endpoints says on which nodes a Service has ready endpoints: "web": "n1 n2"; they are set before Apply.
	Endpoints map[string]string
	// Do is what else is done, last.
	Do func(*Scene)

	// Routes are all that the routers are to hear in the end; see Parse. Same is set if they are those of the step before.
	Routes string
	Same   bool
	// Announced is what nodes announce on the local network in the end, an address a line, as "198.51.100.0 on eth0 by n1"; without "by", it
	// is one node, whichever. Only Rows that a CNI has for its announcements say it; they say no Routes.
	Announced string
	// Meanwhile are routes that may be heard until then, because the CNI leaves no way to prevent it.
	Meanwhile string
	// Instead is what backends come to that cannot do it.
	Instead map[string]Instead
	// Told is what the user is told, somewhere in the status of an object or in an event; empty: nothing in particular.
	Told string
	// Resets is set if sessions may be set up anew: it is about the session.
	Resets bool
	// Ends names, by the backend, the node whose sessions end with the change: a node that is excluded holds none with Cilium.
	Ends map[string]string
	// Interrupts is set if routes may go and come back, because the user asks for what cannot be had otherwise.
	Interrupts bool
	// WithinSeconds is how long it may take until the routes are as meant and the user is told; 0: as long as anything may.
	WithinSeconds int
	// Hold is for how long the routes have to stay as they are, at the end; half a second if it is not set.
	HoldSeconds int
}

// Instead is what a backend does that cannot do what is meant.
type Instead struct {
	Routes string
	// Told is what the user is told of it; see Step.Told. It must not be empty.
	Told string
	// Interrupts: see Step.
	Interrupts bool
}
