package survey

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/presence"
)

// StateSilent is the state of a session of which nobody knows how it is: its speaker gives no sign of life.
const StateSilent = "Unknown"

// readSilent finds out which speakers give no sign of life. What they have told before does not count: it is left out, and their sessions
// are in StateSilent.
func (s *Survey) readSilent(ctx context.Context, c client.Reader) error {
	var leases coordinationv1.LeaseList
	if err := c.List(ctx, &leases, client.InNamespace(s.Namespace)); err != nil {
		return s.gap("SpeakerLeases", err)
	}
	s.Leases = leases.Items
	now := s.At
	if s.Controller.Works(s.At) {
		now = s.Controller.Renewed // the clock of the cluster
	}
	s.Silent = presence.Silent(leases.Items, now)
	s.leaveOutSilent()
	for i := range s.Sessions {
		x := &s.Sessions[i].Status
		if since, is := s.Silent[x.Node]; is {
			x.State = StateSilent
			x.LastError = fmt.Sprintf("the speaker has given no sign of life since %s", since.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// leaveOutSilent leaves out what silent speakers have told of Services.
func (s *Survey) leaveOutSilent() {
	silent := func(node string) bool { _, is := s.Silent[node]; return is }
	s.L2 = slices.DeleteFunc(s.L2, func(x v1beta1.ServiceL2Status) bool { return silent(x.Status.Node) })
	s.BGP = slices.DeleteFunc(s.BGP, func(x v1beta1.ServiceBGPStatus) bool { return silent(x.Status.Node) })
}

// Expires returns when the first of what processes have told ceases to count unless they give a sign of life; the zero time: nothing does.
func (s *Survey) Expires() time.Time {
	var first time.Time
	until := func(at time.Time) {
		if at.After(s.At) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if s.Controller.Leader != "" {
		until(s.Controller.Renewed.Add(s.Controller.LeaseFor))
	}
	for i := range s.Leases {
		if node, renewed := presence.HolderOf(&s.Leases[i]); node != "" {
			until(renewed.Add(presence.LeaseFor))
		}
	}
	return first
}
