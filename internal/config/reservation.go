package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/config/ranges"
	"github.com/fairlead/fairlead/internal/process/text"
)

// Hold is an AddressReservation that was made for a Service with a hold: its addresses stay with the Service's name for a while
// after it is gone. Holds are made and ended by the controller; they are no part of a Snapshot.
func Hold(o *v1alpha1.AddressReservation) bool { return o.Spec.HoldAfterDelete != nil }

// Annotations of an AddressReservation of a speaker: the MAC that answers for the address on the local network, and until when it is set
// aside (RFC 3339).
const (
	AnnotationTakenBy    = "fairlead.io/taken-by"
	AnnotationTakenUntil = "fairlead.io/taken-until"
)

// maxTakenBy bounds what is shown of AnnotationTakenBy.
const maxTakenBy = 64

// takenBy says in words who has the addresses of a reservation; empty: nobody that was seen.
func takenBy(o *v1alpha1.AddressReservation) string {
	by := o.Annotations[AnnotationTakenBy]
	if by == "" {
		return ""
	}
	return text.Cut(by, maxTakenBy) + " answers for it on the local network"
}

// Reservation is an AddressReservation in force that a user or a speaker made.
type Reservation struct {
	Name   string
	Owner  types.NamespacedName // the Service that it is for; zero: none
	Ranges []netipx.IPRange
	Use    string // who was seen to have the addresses, in words; empty: nobody
}

func parseReservation(o *v1alpha1.AddressReservation) (Reservation, []Fault) {
	r := Reservation{Name: o.Name, Use: takenBy(o)}
	if s := o.Spec.Service; s != nil {
		r.Owner = types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	}
	ref := refOf(v1alpha1.GroupVersion, "AddressReservation", o.ObjectMeta)
	var faults []Fault
	for i, s := range o.Spec.Addresses {
		ipr, err := reservedRange(s)
		if err != nil {
			faults = append(faults, Fault{Object: ref, Field: fmt.Sprintf("spec.addresses[%d]", i), Problem: err.Error()})
			continue
		}
		r.Ranges = append(r.Ranges, ipr)
	}
	return r, faults
}

// reservedRange parses what a pool takes, and also a single address.
func reservedRange(s string) (netipx.IPRange, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netipx.IPRangeFrom(a.Unmap(), a.Unmap()), nil
	}
	return ranges.Parse(s)
}

// settleReservations puts every entry in force that can be read. Of two reservations that keep an address for different
// Services, the older one is in force.
func settleReservations(objects []v1alpha1.AddressReservation) ([]Reservation, []Fault) {
	byAge := slices.SortedFunc(slices.Values(objects), func(a, b v1alpha1.AddressReservation) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var out []Reservation
	var faults []Fault
	var kept sortedRanges
	for i := range byAge {
		o := &byAge[i]
		if Hold(o) {
			continue
		}
		r, bad := parseReservation(o)
		faults = append(faults, bad...)
		if r.Owner != (types.NamespacedName{}) {
			mine := slices.Clone(kept)
			r.Ranges = slices.DeleteFunc(r.Ranges, func(ipr netipx.IPRange) bool {
				other, overlaps := kept.find(ipr)
				if overlaps {
					faults = append(faults, Fault{
						Object: refOf(v1alpha1.GroupVersion, "AddressReservation", o.ObjectMeta), Field: "spec.addresses",
						Problem: fmt.Sprintf("%s overlaps %s, which AddressReservation %q keeps for another Service; take it out of one of them", ipr,
							other.r, other.pool),
					})
					return true
				}
				mine.add(ipr, o.Name)
				return false
			})
			kept = mine
		}
		if len(r.Ranges) > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Reservation) int { return cmp.Compare(a.Name, b.Name) })
	return out, faults
}
