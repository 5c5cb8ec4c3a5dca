package main

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

func showService(s *screen.Screen, r *explain.Service, wide bool) {
	s.Line(screen.C("Service %s/%s", r.Namespace, r.Name).In(screen.Bold))
	showRequest(s, &r.Request)
	if len(r.Pools) > 0 {
		s.Heading("Pools, in the order in which they are considered")
		var rows [][]screen.Cell
		for i, p := range r.Pools {
			rows = append(rows, poolRow(i+1, p))
		}
		shown, more := cut(rows, wide)
		s.Table(shown...)
		showMore(s, len(rows), more)
	}
	if len(r.Addresses) > 0 {
		s.Heading("Addresses")
		var rows [][]screen.Cell
		for _, a := range r.Addresses {
			from := screen.C("from pool %s", a.Pool)
			if a.Pool == "" && unknown(r.Gaps, "IPAddressPools") {
				from = screen.C("from which pool is not known")
			} else if a.Pool == "" {
				from = screen.C("in no pool").In(screen.Bad)
			}
			shared := screen.C("")
			if len(a.SharedWith) > 0 {
				shared = screen.C("shared with %s", strings.Join(a.SharedWith, ", "))
			}
			rows = append(rows, []screen.Cell{screen.C("%s", a.IP), from, shared})
		}
		s.Table(rows...)
	}
	showClaims(s, r.Claims)
	if len(r.Conditions) > 0 {
		s.Heading("Conditions")
		showConditions(s, r.Conditions)
	}
	if len(r.Advertisements) > 0 {
		s.Heading("Advertisements")
		showAdvertisements(s, r.Advertisements, wide)
	}
	if len(r.Backends) > 0 {
		s.Heading("Backends")
		for i := range r.Backends {
			showBackend(s, &r.Backends[i], wide, true)
		}
	}
	showNodes(s, r.Nodes, &r.Endpoints, wide)
	showSessions(s, r.Sessions, wide)
	showNotes(s, r.Notes, r.Gaps)
	showFix(s, r.Fix, len(r.Gaps) == 0)
}

func showClaims(s *screen.Screen, claims []explain.Claim) {
	if len(claims) == 0 {
		return
	}
	s.Heading("Claims")
	var rows [][]screen.Cell
	for _, c := range claims {
		answer, why := screen.C("no %s address yet", c.Family).In(screen.Doubtful), c.Why
		switch {
		case c.Address != "":
			answer = screen.C("gave %s", c.Address).In(screen.Good)
		case c.Refusal != "":
			answer = screen.C("refuses: %s", c.Refusal).In(screen.Bad)
		}
		if len(c.Conditions) > 0 {
			why = strings.Join(c.Conditions, "; ")
		}
		rows = append(rows, []screen.Cell{screen.C("%s", c.AllocatorPool), answer, screen.C("%s", why)})
	}
	s.Table(rows...)
	for _, c := range claims {
		s.Line(screen.C("  kubectl -n %s get ipaddressclaim %s", c.Namespace, c.Name).In(screen.Faint))
	}
}

func showRequest(s *screen.Screen, r *explain.Request) {
	s.Heading("Request")
	class := screen.C("none")
	if r.Class != "" {
		class = screen.C("%s", r.Class)
	}
	families := strings.Join(r.Families, ", ")
	if r.Policy != "" {
		families += " (" + r.Policy + ")"
	}
	rows := [][]screen.Cell{
		{screen.C("type"), screen.C("%s", r.Type)}, {screen.C("class"), class}, {screen.C("families"), screen.C("%s", families)},
		{screen.C("ports"), screen.C("%s", strings.Join(r.Ports, ", "))},
	}
	if r.TrafficPolicy != "" {
		rows = append(rows, []screen.Cell{screen.C("traffic"), screen.C("externalTrafficPolicy %s", r.TrafficPolicy)})
	}
	for _, a := range r.Asks {
		name := strings.TrimSuffix(strings.TrimPrefix(a.Field, "metadata.annotations["), "]")
		value := screen.C("%s", a.Value)
		if a.Ignored {
			value = screen.C("%s (ignored: metallb.io/ counts)", a.Value).In(screen.Faint)
		}
		rows = append(rows, []screen.Cell{screen.C("%s", name), value})
	}
	s.Table(rows...)
	if r.Problem != "" {
		s.Line(screen.C("  %s", r.Problem).In(screen.Bad))
	}
}

func poolRow(i int, p explain.Pool) []screen.Cell {
	verdict, why := screen.C("no").In(screen.Bad), screen.C("%s", p.Why)
	addresses := strings.Join(p.Addresses, ", ")
	switch p.Verdict {
	case explain.PoolHolds:
		verdict = screen.C("has %s from here", addresses).In(screen.Good)
	case explain.PoolWouldDo:
		verdict = screen.C("would give %s", addresses).In(screen.Good)
	case explain.PoolSetAside:
		verdict = screen.C("set aside").In(screen.Bad)
	case explain.PoolPassed:
		verdict, why = screen.C("passed over").In(screen.Faint), why.In(screen.Faint)
	}
	return []screen.Cell{screen.C("%d. %s", i, p.Name), verdict, why}
}

// mark is the verdict of a condition in colour.
func mark(status string) screen.Cell {
	style := screen.Doubtful
	switch status {
	case "True":
		style = screen.Good
	case "False":
		style = screen.Bad
	}
	return screen.C("%s", status).In(style)
}

func showConditions(s *screen.Screen, all []explain.Condition) {
	var rows [][]screen.Cell
	for _, c := range all {
		rows = append(rows, []screen.Cell{screen.C("%s", strings.TrimPrefix(c.Type, "fairlead.io/")), mark(c.Status), screen.C("%s", c.Reason),
			screen.C("%s", c.Message)})
	}
	s.Table(rows...)
}

func showAdvertisements(s *screen.Screen, all []explain.Advertisement, wide bool) {
	var rows [][]screen.Cell
	for _, a := range all {
		verdict, why := screen.C("no").In(screen.Faint), screen.C("%s", a.Why).In(screen.Faint)
		if a.Selects {
			by := "by " + a.Backend
			if a.Backend == "" {
				by = "by nobody"
			}
			verdict, why = screen.C("selects it, served %s", by).In(screen.Good), screen.C("%s", strings.Join(a.Details, "; "))
			if a.Backend == "" {
				verdict = verdict.In(screen.Bad)
			}
		}
		rows = append(rows, []screen.Cell{screen.C("%s %s", a.Kind, a.Name), verdict, why})
	}
	shown, more := cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
}

// showBackend prints a backend. inService is set if it is part of the story of a Service: then what it wrote is of that Service, and
// facts are left out.
func showBackend(s *screen.Screen, b *explain.Backend, wide, inService bool) {
	var rows [][]screen.Cell
	for _, c := range b.Conditions {
		if c.Type == apply.ConditionReady {
			rows = append(rows, []screen.Cell{screen.C("  %s", c.Type), mark(c.Status), screen.C("%s: %s", c.Reason, c.Message)})
			continue
		}
		for _, finding := range explain.Findings(c.Message) { // all others tell of trouble
			rows = append(rows, []screen.Cell{screen.C("  %s", c.Type), screen.C("%s", c.Status).In(screen.Doubtful), screen.C("%s", finding)})
		}
	}
	serves := strings.Join(b.Serves, " and ")
	if serves == "" {
		serves = "nothing"
	}
	api := ""
	if b.APIVersion != "" {
		api = " through " + b.APIVersion
	}
	s.Line(screen.C("  %s", b.Name).In(screen.Bold), screen.C("serves %s%s", serves, api))
	s.Table(rows...)
	if wide && !inService {
		for _, f := range b.Detected {
			s.Line(screen.C("    detected: %s is %s (%s)", f.Name, f.Value, f.Source))
		}
	}
	if wide || inService {
		did := "wrote"
		if b.Name == announce.SpeakerBackend {
			did = "hands to the speakers"
		}
		shown, more := cut(b.Wrote, wide)
		for _, w := range shown {
			s.Line(screen.C("    %s: %s", did, w))
		}
		showMore(s, len(b.Wrote), more)
	}
}

func showNodes(s *screen.Screen, nodes []explain.Node, e *explain.Endpoints, wide bool) {
	s.Heading(fmt.Sprintf("Endpoints: %d, %d ready, %d serving", e.Total, e.Ready, e.Serving))
	var rows [][]screen.Cell
	for _, n := range nodes {
		var does []string
		if n.Layer2 {
			on := "all interfaces"
			if len(n.Interfaces) > 0 {
				on = strings.Join(n.Interfaces, ", ")
			}
			does = append(does, "announces on "+on)
		}
		if len(n.Peers) > 0 {
			does = append(does, "advertises to "+strings.Join(n.Peers, ", "))
		}
		rows = append(rows, []screen.Cell{screen.C("%s", n.Name), screen.C("%d ready, %d serving", n.Ready, n.Serving),
			screen.C("%s", strings.Join(does, "; "))})
	}
	shown, more := cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
}

func showSessions(s *screen.Screen, all []explain.Session, wide bool) {
	if len(all) == 0 {
		return
	}
	s.Heading("Sessions")
	var rows [][]screen.Cell
	for _, x := range all {
		rows = append(rows, sessionRow(x))
	}
	shown, more := cut(rows, wide)
	s.Table(shown...)
	showMore(s, len(rows), more)
}

func sessionRow(x explain.Session) []screen.Cell {
	style := screen.Doubtful
	switch {
	case x.Up():
		style = screen.Good
	case x.Down():
		style = screen.Bad
	}
	bfd := ""
	if x.BFD != "" {
		bfd = "BFD " + x.BFD
	}
	return []screen.Cell{
		screen.C("%s", x.Node), screen.C("%s", x.Peer), screen.C("%s", x.Address), screen.C("%s", x.State).In(style), screen.C("%s", bfd),
		screen.C("%d prefixes", x.PrefixesSent), screen.C("%s", x.LastError),
	}
}

func showNotes(s *screen.Screen, notes, gaps []string) {
	if len(notes)+len(gaps) == 0 {
		return
	}
	s.Heading("Notes")
	for _, n := range notes {
		s.Line(screen.C("  %s", n))
	}
	for _, g := range gaps {
		s.Line(screen.C("  %s", g).In(screen.Doubtful))
	}
}

func showFix(s *screen.Screen, f *explain.Fix, sure bool) {
	switch {
	case f == nil && sure:
		s.Heading("Nothing to fix")
		return
	case f == nil:
		s.Heading("Nothing to fix, as far as can be seen")
		return
	}
	s.Heading("First thing to fix")
	s.Line(screen.C("  %s:", f.Reason).In(screen.Bad), screen.C("%s", f.What))
	if f.Help != "" {
		s.Line(screen.C("  %s", f.Help))
	}
	if f.Command != "" {
		s.Verbatim(screen.C("  $ %s", f.Command).In(screen.Bold))
	}
}
