package dashboard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/screen"
)

// step is one of those on the path of a Service.
type step struct {
	name    string // of explain
	title   string
	boxes   []box
	verdict string
}

// best makes a box one of the step, of which one good thing is enough.
func (s *step) best(b box) {
	if b.verdict == good || s.verdict != good && b.verdict != off {
		s.verdict = b.verdict
	}
	s.boxes = append(s.boxes, b)
}

// worst makes a box one of the step, of which everything has to be good.
func (s *step) worst(b box) {
	if s.verdict != bad {
		s.verdict = b.verdict
	}
	s.boxes = append(s.boxes, b)
}

// or is the step, or, if it has no boxes, one that says so.
func (s *step) or(title string) step {
	if len(s.boxes) == 0 {
		s.boxes, s.verdict = []box{{title: title, verdict: off}}, off
	}
	return *s
}

// box is one thing of a step.
type box struct {
	title, text string
	verdict     string
	link        string
}

// boxesAtMost is how many things of a step are in a picture.
const boxesAtMost = 4

// stepsOf returns the path of a Service in the words of explain. The first broken link is bad, and what comes after it is not concerned.
func stepsOf(r *explain.Service) []step {
	out := []step{requestStep(r), poolsStep(r), addressStep(r), advertisementStep(r), backendStep(r), nodesStep(r)}
	if len(r.Sessions) > 0 || r.Fix != nil && r.Fix.Step == explain.StepSessions {
		out = append(out, sessionsStep(r))
	}
	out = append(out, endpointsStep(r))
	broken := len(out)
	if r.Fix != nil {
		name := r.Fix.Step
		if name == explain.StepController {
			name = explain.StepAddress
		}
		if i := slices.IndexFunc(out, func(s step) bool { return s.name == name }); i >= 0 {
			broken = i
			out[i].verdict = bad
			if j := slices.IndexFunc(out[i].boxes, func(b box) bool { return b.title == r.Fix.Reason }); j >= 0 {
				out[i].boxes[j].verdict = bad
			} else if !slices.ContainsFunc(out[i].boxes, func(b box) bool { return b.verdict == bad }) {
				out[i].boxes = append([]box{{title: r.Fix.Reason, text: r.Fix.What, verdict: bad}}, out[i].boxes...)
			}
		}
	}
	for i := range out {
		s := &out[i]
		s.boxes = shortened(s.boxes)
		switch {
		case i > broken && s.verdict == bad: // only the first broken link is marked
			s.verdict = doubtful
			for j := range s.boxes {
				if s.boxes[j].verdict == bad {
					s.boxes[j].verdict = doubtful
				}
			}
		case i > broken && s.verdict == good && s.name != explain.StepEndpoints:
			s.verdict = off
		}
	}
	return out
}

// shortened leaves out boxes that there is no room for: first those that have no part in the path, if others have.
func shortened(all []box) []box {
	shown := slices.DeleteFunc(slices.Clone(all), func(b box) bool { return b.verdict == off })
	if len(shown) == 0 {
		shown = all
	}
	if len(shown) > boxesAtMost {
		shown = shown[:boxesAtMost-1]
	}
	if more := len(all) - len(shown); more > 0 {
		shown = append(slices.Clone(shown), box{title: fmt.Sprintf("and %d more", more), verdict: off})
	}
	return shown
}

func requestStep(r *explain.Service) step {
	text := strings.Join(r.Request.Families, " and ")
	for _, a := range r.Request.Asks {
		if !a.Ignored {
			text += "; " + a.Field + ": " + a.Value
		}
	}
	b := box{title: strings.Join(r.Request.Ports, ", "), text: text, verdict: good}
	if r.Request.Problem != "" {
		b.text, b.verdict = r.Request.Problem, bad
	}
	return step{explain.StepRequest, "Request", []box{b}, b.verdict}
}

func poolsStep(r *explain.Service) step {
	s := step{name: explain.StepPools, title: "Pools", verdict: off}
	rank := map[string]int{explain.PoolHolds: 0, explain.PoolRefuses: 1, explain.PoolWouldDo: 2, explain.PoolSetAside: 3, explain.PoolPassed: 4}
	pools := slices.Clone(r.Pools)
	slices.SortStableFunc(pools, func(a, b explain.Pool) int { return rank[a.Verdict] - rank[b.Verdict] })
	for _, p := range pools {
		b := box{title: p.Name, link: "/pools/" + p.Name, text: p.Why, verdict: off}
		switch p.Verdict {
		case explain.PoolHolds:
			b.text, b.verdict = "has "+strings.Join(p.Addresses, ", ")+" from here", good
		case explain.PoolWouldDo:
			b.text, b.verdict = "would give "+strings.Join(p.Addresses, ", "), good
		case explain.PoolRefuses:
			b.text, b.verdict = "no: "+p.Why, doubtful
		case explain.PoolSetAside:
			b.text, b.verdict = "set aside: "+p.Why, bad
		case explain.PoolPassed:
			b.text = "passed over: " + p.Why
		}
		s.best(b)
	}
	return s.or("none")
}

func addressStep(r *explain.Service) step {
	s := step{name: explain.StepAddress, title: "Address", verdict: off}
	for _, a := range r.Addresses {
		b := box{title: a.IP, link: "/addresses/" + a.IP, verdict: good}
		if a.Pool != "" {
			b.text = "from pool " + a.Pool
		}
		if len(a.SharedWith) > 0 {
			b.text += ", shared with " + strings.Join(a.SharedWith, ", ")
		}
		s.best(b)
	}
	return s.or("none")
}

func advertisementStep(r *explain.Service) step {
	s := step{name: explain.StepAdvertisement, title: "Advertisements", verdict: off}
	for _, a := range r.Advertisements {
		b := box{title: a.Name, text: a.Kind, verdict: off}
		switch {
		case a.Selects && a.Backend != "":
			b.text, b.verdict = a.Kind+" selects it, served by "+a.Backend, good
		case a.Selects:
			b.text, b.verdict = a.Kind+" selects it, served by nobody", bad
		default:
			b.text = a.Kind + ": " + a.Why
		}
		s.best(b)
	}
	return s.or("none")
}

func backendStep(r *explain.Service) step {
	s := step{name: explain.StepBackend, title: "Backend", verdict: off}
	for _, x := range r.Backends {
		b := box{title: x.Name, verdict: doubtful, text: "has not said that it is ready"}
		for _, c := range x.Conditions {
			if c.Type == "Ready" {
				b.text, b.verdict = c.Message, bad
				if c.Status == "True" {
					b.verdict = good
				}
			}
		}
		if n := len(x.Wrote); n > 0 {
			b.text += "; wrote " + strings.Join(x.Wrote, ", ")
		}
		s.worst(b)
	}
	return s.or("none")
}

func nodesStep(r *explain.Service) step {
	s := step{name: explain.StepNodes, title: "Announced by", verdict: off}
	for _, n := range r.Nodes {
		var how []string
		if n.Layer2 {
			where := "on the local network"
			if len(n.Interfaces) > 0 {
				where += " (" + strings.Join(n.Interfaces, ", ") + ")"
			}
			how = append(how, where)
		}
		if len(n.Peers) > 0 {
			how = append(how, "to "+strings.Join(n.Peers, ", "))
		}
		if len(how) > 0 {
			s.best(box{title: n.Name, text: strings.Join(how, "; "), verdict: good, link: "/network#node-" + n.Name})
		}
	}
	for _, c := range r.Conditions {
		if strings.HasSuffix(c.Type, "/Advertised") && len(s.boxes) == 0 {
			b := box{title: c.Reason, text: c.Message, verdict: doubtful}
			if c.Status == "True" {
				b.verdict = good
			}
			s.best(b)
		}
	}
	return s.or("nobody")
}

func sessionsStep(r *explain.Service) step {
	s := step{name: explain.StepSessions, title: "Sessions", verdict: off}
	for _, x := range r.Sessions {
		b := box{title: x.Node + " → " + x.Peer, text: x.State, verdict: good, link: "/network#node-" + x.Node}
		switch {
		case x.State == explain.StateUnknown:
			b.verdict = doubtful
		case x.Down():
			b.verdict = bad
			if x.LastError != "" {
				b.text += ": " + x.LastError
			}
		}
		s.worst(b)
	}
	return s
}

func endpointsStep(r *explain.Service) step {
	e := r.Endpoints
	b := box{title: fmt.Sprintf("%d of %d serve", e.Serving, e.Total), text: fmt.Sprintf("%d ready", e.Ready), verdict: good}
	if e.Serving == 0 {
		b.verdict = bad
	}
	return step{explain.StepEndpoints, "Endpoints", []box{b}, b.verdict}
}

// Picture is the path of a Service, drawn.
type Picture struct {
	Width, Height int
	Boxes         []Drawn
	Arrows        []Arrow
	Titles        []Label
}

// Drawn is a box in a Picture.
type Drawn struct {
	X, Y, Width, Height int
	Verdict             string
	Title               Label
	Lines               []Label
	// Says is the whole text, for who cannot see the picture or what was cut off.
	Says string
	Link string
}

// Arrow leads from one step to the next. It is broken if the path ends there.
type Arrow struct {
	Path, Head string
	Verdict    string
	// X and Y are its middle.
	X, Y int
}

// Label is a text at a place.
type Label struct {
	X, Y int
	Text string
}

// The measures of pictures.
const (
	boxWidth   = 196
	lineHeight = 17
	lettersIn  = 26 // of the text of a box
	linesIn    = 3
	padding    = 10
	gap        = 44
	titleRoom  = 26
)

func (b *box) lines() []string { return fold(screen.Clean(b.text), lettersIn, linesIn) }

func (b *box) height() int { return padding + lineHeight*(1+len(b.lines())) + padding }

func (b *box) drawn(x, y int) Drawn {
	d := Drawn{X: x, Y: y, Width: boxWidth, Height: b.height(), Verdict: b.verdict, Link: b.link}
	d.Title = Label{x + 26, y + padding + 12, fold(screen.Clean(b.title), 21, 1)[0]}
	for i, l := range b.lines() {
		d.Lines = append(d.Lines, Label{x + padding, y + padding + 12 + lineHeight*(i+1), l})
	}
	d.Says = screen.Clean(b.title + ": " + clip(b.text, 400))
	return d
}

// fold breaks a text into lines of so many letters, and cuts off what does not fit into so many lines.
func fold(text string, letters, lines int) []string {
	var out []string
	r := []rune(strings.TrimSpace(text))
	for len(r) > letters && len(out) < lines-1 {
		cut := letters
		for i := letters; i > letters/2; i-- {
			if r[i] == ' ' {
				cut = i
				break
			}
		}
		out = append(out, strings.TrimSpace(string(r[:cut])))
		r = []rune(strings.TrimSpace(string(r[cut:])))
	}
	if len(r) > letters {
		r = append(r[:letters-1], '…')
	}
	if len(r) > 0 || len(out) == 0 {
		out = append(out, string(r))
	}
	return out
}

func (s *step) height() int {
	h := titleRoom
	for i := range s.boxes {
		h += s.boxes[i].height() + padding
	}
	return h
}

// wide draws the steps from left to right.
func wide(steps []step) *Picture {
	p := &Picture{Width: len(steps)*(boxWidth+gap) - gap + 2}
	for i := range steps {
		p.Height = max(p.Height, steps[i].height())
	}
	for i := range steps {
		s := &steps[i]
		x := 1 + i*(boxWidth+gap)
		p.Titles = append(p.Titles, Label{x, 14, s.title})
		y := titleRoom
		for j := range s.boxes {
			d := s.boxes[j].drawn(x, y)
			p.Boxes = append(p.Boxes, d)
			y += d.Height + padding
		}
		if i > 0 {
			from, to, at := x-gap+4, x-4, titleRoom+26
			p.Arrows = append(p.Arrows, Arrow{Path: fmt.Sprintf("M%d %dH%d", from, at, to-6), Head: fmt.Sprintf("M%d %dl-8 -5v10z", to, at),
				Verdict: linkTo(s), X: (from + to) / 2, Y: at})
		}
	}
	return p
}

// tall draws the steps from top to bottom.
func tall(steps []step) *Picture {
	p := &Picture{Width: boxWidth + 102}
	y := 0
	for i := range steps {
		s := &steps[i]
		if i > 0 {
			at, from, to := 51+boxWidth/2, y+2, y+gap-10
			p.Arrows = append(p.Arrows, Arrow{Path: fmt.Sprintf("M%d %dV%d", at, from, to-6), Head: fmt.Sprintf("M%d %dl-5 -8h10z", at, to),
				Verdict: linkTo(s), X: at, Y: (from + to) / 2})
			y += gap
		}
		p.Titles = append(p.Titles, Label{51, y + 14, s.title})
		y += titleRoom
		for j := range s.boxes {
			d := s.boxes[j].drawn(51, y)
			p.Boxes = append(p.Boxes, d)
			y += d.Height + padding
		}
		y -= padding
	}
	p.Height = y + 2
	return p
}

func linkTo(s *step) string {
	if s.verdict == doubtful {
		return good
	}
	return s.verdict
}
