package assign

import (
	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/config"
)

// poolsIn returns what the engine needs to know of the pools in force, by name.
func poolsIn(s *config.Snapshot) []allocator.Pool {
	pools := s.Pools()
	out := make([]allocator.Pool, len(pools))
	for i, p := range pools {
		out[i] = allocator.Pool{
			Name: p.Name, Ranges: p.Ranges, AvoidBuggy: p.AvoidBuggy, AutoAssign: p.AutoAssign, Restricted: p.Restricted, Priority: p.Priority,
			External: p.Allocator != "",
		}
	}
	return out
}

// reservationsIn returns the reservations in force, by name.
func reservationsIn(s *config.Snapshot) []allocator.Reservation {
	all := s.Reservations()
	out := make([]allocator.Reservation, len(all))
	for i, r := range all {
		out[i] = allocator.Reservation{Name: r.Name, Owner: allocator.Owner(r.Owner), Ranges: r.Ranges, Use: r.Use}
	}
	return out
}
