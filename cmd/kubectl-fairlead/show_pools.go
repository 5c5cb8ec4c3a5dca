package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// barWidths are the widths of bars, the first of them that fits is taken; 0: there are none.
var barWidths = []int{20, 8, 0}

// fullAt is from which percentage on a pool is nearly full.
const fullAt = 90

func showPools(s *screen.Screen, r *explain.Pools, holders, wide bool) {
	rows := poolTable(r, barWidths[0])
	for _, bar := range barWidths[1:] {
		if !s.Fits(rows...) {
			rows = poolTable(r, bar)
		}
	}
	s.Table(rows...)
	if len(r.Pools) == 0 && !unknown(r.Gaps, "IPAddressPools") {
		s.Line(screen.C("  there are no pools"))
	}
	if holders {
		for _, p := range r.Pools {
			showHolders(s, &p, wide)
		}
	}
	showNotes(s, nil, r.Gaps)
}

// poolTable is the table of pools with bars of a width; 0: without.
func poolTable(r *explain.Pools, bar int) [][]screen.Cell {
	rows := [][]screen.Cell{{}}
	for _, h := range []string{"POOL", "FAMILY", "USE", "", "CAPACITY", "IN USE", "RESERVED", "FREE", "WAITING", "NOTES"} {
		rows[0] = append(rows[0], screen.C("%s", h).In(screen.Bold))
	}
	for _, p := range r.Pools {
		rows = append(rows, poolRows(&p, max(bar, 1))...)
	}
	if bar > 0 {
		return rows
	}
	// without the column of the bars
	for i, r := range rows {
		drawn := 2
		if r[drawn+1].Text == "" { // it is no bar
			drawn++
		}
		rows[i] = slices.Delete(r, drawn, drawn+1)
	}
	return rows
}

// unknown reports whether a kind is among what could not be checked.
func unknown(gaps []string, kind string) bool {
	return slices.ContainsFunc(gaps, func(g string) bool { return strings.HasPrefix(g, survey.Gap{What: kind}.String()) })
}

func poolRows(p *explain.PoolUse, bar int) [][]screen.Cell {
	var notes []string
	if !p.AutoAssign && p.Problem == "" {
		notes = append(notes, "only on request")
	}
	if p.Restricted {
		notes = append(notes, "restricted")
		if p.Priority != 0 {
			notes = append(notes, fmt.Sprintf("priority %d", p.Priority))
		}
	}
	if p.AvoidBuggyIPs {
		notes = append(notes, "without .0 and .255")
	}
	if a := p.Allocator; a != nil {
		note := fmt.Sprintf("%s gives from %s", a.Name, a.Pool)
		switch {
		case a.Problem != "":
			note += ": " + a.Problem
		case a.Free != nil:
			note += fmt.Sprintf(", %s of %s free there", number(*a.Free), number(*a.Total))
		}
		notes = append(notes, note)
	}
	if len(p.Reservations) > 0 {
		notes = append(notes, "reservations: "+strings.Join(p.Reservations, ", "))
	}
	if p.Problem != "" {
		blank := screen.C("")
		return [][]screen.Cell{{screen.C("%s", p.Name), blank, screen.C("set aside").In(screen.Bad), blank, blank, blank, blank, blank, blank,
			screen.C("%s", p.Problem)}}
	}
	var rows [][]screen.Cell
	name, note, waiting := p.Name, strings.Join(notes, ", "), fmt.Sprint(p.Waiting)
	for _, f := range p.Families {
		percent, style := f.Percent(), screen.Good
		switch {
		case f.Free == 0:
			style = screen.Bad
		case percent >= fullAt:
			style = screen.Doubtful
		}
		rows = append(rows, []screen.Cell{
			screen.C("%s", name), screen.C("%s", f.Family), screen.C("%s", screen.Bar(percent, bar)).In(style), screen.C("%d%%", percent),
			screen.C("%s", number(f.Capacity)), screen.C("%s", number(f.InUse)), screen.C("%s", number(f.Reserved)), screen.C("%s", number(f.Free)),
			screen.C("%s", waiting), screen.C("%s", note),
		})
		name, note, waiting = "", "", ""
	}
	return rows
}

// number spells out numbers that people can read, and writes others as a power of two.
func number(n document.Count) string {
	switch {
	case n == math.MaxInt64:
		return ">2^62"
	case n >= 1<<32:
		return fmt.Sprintf("~2^%.0f", math.Log2(float64(n)))
	}
	return fmt.Sprint(n)
}

func showHolders(s *screen.Screen, p *explain.PoolUse, wide bool) {
	s.Heading(fmt.Sprintf("Pool %s: %s", p.Name, strings.Join(p.Addresses, ", ")))
	var rows [][]screen.Cell
	shown, more := cut(p.Holders, wide)
	for _, h := range shown {
		rows = append(rows, []screen.Cell{screen.C("%s", h.IP), screen.C("%s", strings.Join(h.Services, ", "))})
	}
	s.Table(rows...)
	showMore(s, len(p.Holders), more)
	if len(rows) == 0 {
		s.Line(screen.C("  nobody has an address of it"))
	}
}

func showAddress(s *screen.Screen, r *explain.OneAddress, wide bool) {
	style := screen.Plain
	switch r.State {
	case explain.AddressFree, explain.AddressHeld:
		style = screen.Good
	case explain.AddressOutside, explain.AddressAvoided:
		style = screen.Bad
	case explain.AddressReserved, explain.AddressNode, explain.AddressShown, explain.AddressKept, explain.AddressUnknown:
		style = screen.Doubtful
	}
	s.Line(screen.C("Address %s", r.IP).In(screen.Bold), screen.C("%s", r.State).In(style))
	s.Heading("Pool")
	nobody := "nobody"
	if r.State == explain.AddressUnknown {
		nobody = "not known"
	}
	if r.Pool == "" && r.State == explain.AddressUnknown {
		s.Line(screen.C("  not known"))
	} else if r.Pool == "" {
		s.Line(screen.C("  no pool contains it"))
		for _, n := range r.Nearest {
			s.Line(screen.C("  nearest %s: %s of pool %s", n.Side, n.Range, n.Pool))
		}
	} else {
		s.Line(screen.C("  %s, by %s", r.Pool, r.Range))
	}
	for _, n := range r.Notes {
		s.Line(screen.C("  %s", n))
	}
	list := func(title string, all []string, none string) {
		if len(all) == 0 && none == "" {
			return
		}
		s.Heading(title)
		if len(all) == 0 {
			s.Line(screen.C("  %s", none))
		}
		shown, more := cut(all, wide)
		for _, x := range shown {
			s.Line(screen.C("  %s", x))
		}
		showMore(s, len(all), more)
	}
	list("Held by", r.Holders, nobody)
	list("Shown in the status of, but not held by", r.AlsoShown, "")
	list("Asked for, in vain, by", r.AskedBy, "")
	var reserved []string
	for _, x := range r.Reservations {
		text := "AddressReservation " + x.Name
		if x.For != "" {
			text += " for " + x.For
		}
		if x.HoldAfterDelete != "" {
			text += ", for " + x.HoldAfterDelete + " after it is deleted"
		}
		if x.ExpiresAt != "" {
			text += ", until " + x.ExpiresAt
		}
		reserved = append(reserved, text)
	}
	list("Reserved by", reserved, "")
	if r.Claim != nil {
		showClaims(s, []explain.Claim{*r.Claim})
	}
	if len(r.Advertisements) > 0 {
		s.Heading("Advertised by")
		showAdvertisements(s, r.Advertisements, wide)
	}
	var nodes []string
	for _, n := range r.Nodes {
		what := "node " + n.Name
		if n.Layer2 {
			what += ", on the local network"
		}
		if len(n.Peers) > 0 {
			what += ", to peers " + strings.Join(n.Peers, ", ")
		}
		nodes = append(nodes, what)
	}
	list("Announced from", nodes, "")
	showNotes(s, nil, r.Gaps)
}

func showPeers(s *screen.Screen, r *explain.Peers, now time.Time, wide bool) {
	if len(r.Peers) == 0 && !unknown(r.Gaps, "BGPPeers") {
		s.Line(screen.C("There are no BGPPeers."))
	}
	for i, p := range r.Peers {
		if i > 0 {
			s.Line()
		}
		s.Line(screen.C("BGPPeer %s", p.Name).In(screen.Bold), screen.C("%s", peerText(&p)))
		var rows [][]screen.Cell
		for _, x := range p.Sessions {
			row := sessionRow(x)
			row = append(row[:1], row[2:]...) // the peer is above
			since := ""
			if x.Since != nil {
				since = "for " + duration.HumanDuration(now.Sub(*x.Since))
			}
			rows = append(rows, append(row[:3:3], append([]screen.Cell{screen.C("%s", since)}, row[3:]...)...))
		}
		shown, more := cut(rows, wide)
		s.Table(shown...)
		showMore(s, len(rows), more)
		switch {
		case len(p.Sessions) == 0 && len(p.Objects) > 0:
			s.Line(screen.C("  the CNI has not told how its sessions are; it holds them by %s", strings.Join(p.Objects, ", ")))
		case len(p.Sessions) == 0 && !p.Faulty:
			s.Line(screen.C("  no sessions are known").In(screen.Doubtful))
		case wide && len(p.Objects) > 0:
			s.Line(screen.C("  objects: %s", strings.Join(p.Objects, ", ")))
		}
		for _, problem := range p.Problems {
			s.Line(screen.C("  %s", problem).In(screen.Bad))
		}
	}
	showNotes(s, nil, r.Gaps)
}

// peerText says in words who a peer is, as far as its object says, and who holds its sessions.
func peerText(p *explain.Peer) string {
	var parts []string
	switch {
	case p.Address != "":
		parts = append(parts, p.Address)
	case p.Interface != "":
		parts = append(parts, "on interface "+p.Interface)
	}
	as := ""
	switch {
	case p.DynamicASN != "":
		as = p.DynamicASN + " AS"
	case p.PeerASN != 0:
		as = fmt.Sprintf("AS %d", p.PeerASN)
	}
	switch {
	case p.MyASN == 0:
	case as == "":
		as = fmt.Sprintf("ours: AS %d", p.MyASN)
	default:
		as += fmt.Sprintf(" (ours: %d)", p.MyASN)
	}
	if as != "" {
		parts = append(parts, as)
	}
	switch {
	case p.Faulty:
		parts = append(parts, "faulty")
	case p.Backend == "":
		parts = append(parts, "held by nobody")
	default:
		parts = append(parts, "held by "+p.Backend)
	}
	if p.BFDProfile != "" {
		parts = append(parts, "BFD profile "+p.BFDProfile)
	}
	return strings.Join(parts, ", ")
}

func showBackends(s *screen.Screen, r *explain.Backends, wide bool) {
	who := func(name string) screen.Cell {
		switch {
		case name != "":
			return screen.C("%s", name).In(screen.Good)
		case !r.Known:
			return screen.C("not known yet").In(screen.Doubtful)
		}
		return screen.C("nobody").In(screen.Doubtful)
	}
	s.Table(
		[]screen.Cell{screen.C("BGPAdvertisements are served by"), who(r.BGP)},
		[]screen.Cell{screen.C("L2Advertisements are served by"), who(r.Layer2)},
	)
	s.Heading("Backends")
	for i := range r.Backends {
		showBackend(s, &r.Backends[i], wide, false)
	}
	if len(r.Backends) == 0 && !unknown(r.Gaps, "Backends") {
		s.Line(screen.C("  there are none"))
	}
	showNotes(s, nil, r.Gaps)
}
