// Package announce decides who announces what. It is pure: everything it needs is handed to it.
package announce

import (
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// Delegated returns what a backend of cluster scope has to advertise by BGP: the prefixes of every pool that a BGPAdvertisement
// selects. A pool that none selects is not advertised.
func Delegated(s *config.Snapshot) backends.Desired {
	d := backends.Desired{Hold: s.SetAsidePools()}
	for _, p := range s.Pools() {
		if !advertised(s, p) {
			continue
		}
		for _, prefix := range p.Prefixes() {
			d.Announcements = append(d.Announcements, backends.Announcement{Prefix: prefix, Pool: p.Name})
		}
	}
	return d
}

func advertised(s *config.Snapshot, p *config.Pool) bool {
	for _, a := range s.BGPAdvertisements() {
		if a.Selects(p) {
			return true
		}
	}
	return false
}
