package plan

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Report is what would change.
type Report struct {
	// Namespace is that of the installation.
	Namespace string    `json:"namespace"`
	Objects   []Object  `json:"objects"`
	Faults    []Fault   `json:"faults"`
	Services  []Service `json:"services"`
	// Nodes are the changes of what speakers announce.
	Nodes    []NodeChange `json:"nodes"`
	Backends []Backend    `json:"backends"`
	// Changes is set if anything but stored objects would change; Disruptive, if an address would move or be taken away, or be
	// advertised no longer, or if an object is faulty.
	Changes    bool `json:"changes"`
	Disruptive bool `json:"disruptive"`
	// Incomplete is set if something that matters could not be read, or a backend could not find out what it would write: more could change
	// than is told.
	Incomplete bool `json:"incomplete,omitempty"`
	// Warnings are of objects that would be stored where nobody reads them.
	Warnings []string `json:"warnings,omitempty"`
	// Notes are what a reader should know of how this was found out.
	Notes []string `json:"notes,omitempty"`
	Gaps  []string `json:"gaps,omitempty"`

	unknown error // what could not be read that matters
}

// Unknown returns an error if a Report is Incomplete.
func (r *Report) Unknown() error {
	if r.unknown != nil || !r.Incomplete {
		return r.unknown
	}
	var why []string
	for _, b := range r.Backends {
		if b.Problem != "" {
			why = append(why, fmt.Sprintf("what would be written for %s: %s", b.Name, b.Problem))
		}
	}
	return fmt.Errorf("%w: %s", survey.ErrNotReadable, strings.Join(why, "; "))
}

// What would be done with an object.
const (
	ActionCreate    = "create"
	ActionChange    = "change"
	ActionUnchanged = "unchanged"
	ActionDelete    = "delete"
	ActionInvalid   = "invalid" // the API server refuses it
	ActionIgnored   = "ignored" // it has no part in this
)

// Object is what would be done with one object.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Source is the file and the number of the document; absent for a deletion.
	Source string `json:"source,omitempty"`
	// Action is create, change, unchanged, delete, invalid or ignored.
	Action string `json:"action"`
	// Why says why it is invalid or ignored.
	Why string `json:"why,omitempty"`
}

// Fault is something wrong with an object that would be stored.
type Fault struct {
	Object  string `json:"object"`
	Field   string `json:"field"`
	Problem string `json:"problem"`
	// Consequence says what is in force instead.
	Consequence string `json:"consequence"`
	// Mended is set if the fault is there now, and would not be.
	Mended bool `json:"mended,omitempty"`
}

// What would become of the addresses of a Service.
const (
	Gains      = "gains"      // it would get an address, or an additional one
	Loses      = "loses"      // it would lose an address without another
	Renumbered = "renumbered" // it would have another address
	Stays      = "stays"      // its addresses would stay
)

// Service is what would change for one Service.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// New is set if the Service does not exist yet.
	New bool `json:"new,omitempty"`
	// Addresses is gains, loses, renumbered or stays.
	Addresses string   `json:"addresses"`
	Before    []string `json:"before"`
	After     []string `json:"after"`
	// Reason and Message are of the condition fairlead.io/Allocated that it would have.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// AdvertisedBefore and AdvertisedAfter are the advertisements that somebody serves for it: "BGPAdvertisement main by calico".
	AdvertisedBefore []string `json:"advertisedBefore"`
	AdvertisedAfter  []string `json:"advertisedAfter"`
	// Withdrawn is set if the addresses that stay would be advertised no longer, or not by all that advertise them now. Why says why the
	// CNI would not, if that is the reason.
	Withdrawn bool   `json:"withdrawn,omitempty"`
	Why       string `json:"why,omitempty"`
}

// NodeChange is a change of what a speaker announces.
type NodeChange struct {
	// What is an address on the local network, or a prefix and its peers.
	What string `json:"what"`
	// Before and After are the nodes that announce it.
	Before []string `json:"before"`
	After  []string `json:"after"`
}

// Backend is what would be written into a CNI's configuration.
type Backend struct {
	Name   string           `json:"name"`
	Writes []rehearse.Write `json:"writes"`
	// Outstanding is how many objects would be written without the change, too.
	Outstanding int `json:"outstanding,omitempty"`
	// Findings are those that the backend would have and does not have now.
	Findings []string `json:"findings,omitempty"`
	// Problem says why it is not, or not wholly, known what would be written.
	Problem string `json:"problem,omitempty"`
	// Steps is set if more is written once this has taken effect.
	Steps bool `json:"steps,omitempty"`
}
