// Package status sums up an installation: whether each of its parts is ready, and what waits.
package status

import (
	"slices"
	"time"

	"github.com/fairlead/fairlead/internal/tool/document"
)

// Report is the state of an installation.
type Report struct {
	Namespace string `json:"namespace"`
	// Ready is set if every part is, no Service waits, and of none it is unknown whether it is heard.
	Ready      bool       `json:"ready"`
	Controller Controller `json:"controller"`
	// Speakers are absent if there are none, and none are needed.
	Speakers *Speakers `json:"speakers,omitempty"`
	Backends []Backend `json:"backends"`
	Pools    []Pool    `json:"pools"`
	Services Services  `json:"services"`
	// Faults is how many objects of the configuration are faulty.
	Faults int      `json:"faults"`
	Gaps   []string `json:"gaps,omitempty"`

	unknown error
}

// The states of a part.
const (
	Ready    = "ready"
	NotReady = "not ready"
	Unknown  = "unknown" // too little may be read to tell
)

// Controller is the process that assigns addresses.
type Controller struct {
	// State is ready, not ready or unknown; Why says why it is not ready.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Version is that of its image; absent: not known.
	Version string `json:"version,omitempty"`
	// Replicas and ReadyReplicas are those of its Deployment.
	Replicas      int32  `json:"replicas"`
	ReadyReplicas int32  `json:"readyReplicas"`
	Leader        string `json:"leader,omitempty"`
}

// Speakers are the processes that announce addresses from the nodes.
type Speakers struct {
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Needed is set if they serve an advertisement.
	Needed bool `json:"needed"`
	// Desired and ReadyPods are those of their DaemonSet; Alive are the nodes whose speaker says that it runs.
	Desired   int32    `json:"desired"`
	ReadyPods int32    `json:"readyPods"`
	Alive     []string `json:"alive"`
}

// Backend is a way in which addresses are made reachable.
type Backend struct {
	Name   string   `json:"name"`
	Serves []string `json:"serves"`
	State  string   `json:"state"`
	Why    string   `json:"why,omitempty"`
}

// Pool is how full one family of a pool is.
type Pool struct {
	Name     string         `json:"name"`
	Family   string         `json:"family,omitempty"`
	InUse    document.Count `json:"inUse"`
	Capacity document.Count `json:"capacity"`
	// Problem says why the pool is set aside; absent: it is in force.
	Problem string `json:"problem,omitempty"`
}

// Services counts the Services that the installation serves.
type Services struct {
	Total       int `json:"total"`
	WithAddress int `json:"withAddress"`
	// Waiting have no address, or are not advertised, in the order of their names.
	Waiting []Service `json:"waiting"`
	// Unknown are those that the CNI has been told of, and of which nobody says whether a router hears them; UnknownHelp says what to do.
	Unknown     []Service `json:"unknown,omitempty"`
	UnknownHelp string    `json:"unknownHelp,omitempty"`
}

// Service is a Service that waits.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Condition, Reason, Message and Since are of the condition that is not True; Reason is NotJudgedYet if there is none.
	Condition string     `json:"condition"`
	Reason    string     `json:"reason"`
	Message   string     `json:"message,omitempty"`
	Since     *time.Time `json:"since,omitempty"`
}

// Unknown returns an error if a part is in the state Unknown, or something that matters may not be read.
func (r *Report) Unknown() error { return r.unknown }

// Complete reports whether every part is ready, no Service waits, and of none it is unknown whether it is heard; as far as it could be
// read.
func (r *Report) Complete() bool {
	return r.Controller.State == Ready && (r.Speakers == nil || !r.Speakers.Needed || r.Speakers.State == Ready) && r.Faults == 0 &&
		!slices.ContainsFunc(r.Backends, func(b Backend) bool { return b.State != Ready }) && len(r.Services.Waiting)+len(r.Services.Unknown) == 0
}
