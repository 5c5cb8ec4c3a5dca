package dashboard

import "github.com/fairlead/fairlead/internal/tool/explain"

// The verdicts that a sign stands for.
const (
	good     = "good"
	bad      = "bad"
	doubtful = "doubtful"
	off      = "off" // it is not concerned
)

// verdictSign is how a verdict is shown to who sees no colours, and said to who sees nothing.
type verdictSign struct{ Name, Sign, Says string }

func signOf(verdict string) verdictSign {
	switch verdict {
	case good:
		return verdictSign{good, "✓", "good"}
	case bad:
		return verdictSign{bad, "✕", "bad"}
	case doubtful:
		return verdictSign{doubtful, "!", "doubtful"}
	}
	return verdictSign{off, "–", "not concerned"}
}

// cellSign is how an address of a state is shown.
type cellSign struct{ Name, Sign, Says string }

// shared is the state held, by more than one Service.
const shared = "shared"

var cellSigns = []cellSign{
	{explain.AddressFree, "·", "free"},
	{explain.AddressHeld, "●", "held by a Service"},
	{shared, "◆", "shared by several Services"},
	{explain.AddressReserved, "R", "reserved"},
	{explain.AddressKept, "H", "held for a Service that is gone"},
	{explain.AddressAvoided, "–", "avoided: ends in .0 or .255"},
	{explain.AddressNode, "N", "an address of a node"},
	{explain.AddressShown, "S", "shown by a Service that was not given it here"},
	{explain.AddressUnknown, "?", "not known"},
	{explain.AddressOutside, "", "outside the pool"},
}

func cellOf(c explain.Cell) cellSign {
	state := c.State
	if len(c.Holders) > 1 && state == explain.AddressHeld {
		state = shared
	}
	for _, s := range cellSigns {
		if s.Name == state {
			return s
		}
	}
	return cellSigns[len(cellSigns)-1]
}
