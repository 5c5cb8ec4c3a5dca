package main

import "github.com/fairlead/fairlead/internal/tool/screen"

// most is how many entries of a list are shown to people who have not asked for all.
const most = 20

// cut returns the entries of a list to show, and how many more there are.
func cut[T any](all []T, wide bool) (shown []T, more int) {
	if wide || len(all) <= most+1 { // "and 1 more" would take as much room
		return all, 0
	}
	return all[:most], len(all) - most
}

// showMore tells how much of a list has been left out, and how long it is.
func showMore(s *screen.Screen, total, more int) {
	if more > 0 {
		s.Line(screen.C("  and %d more; %d in all (-o wide shows them)", more, total).In(screen.Faint))
	}
}
