package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/text"
)

// ErrNotDetected: no CNI was found that could be chosen.
var ErrNotDetected = errors.New("no backend is chosen")

func reasonOf(err error) string {
	switch {
	case errors.Is(err, backends.ErrNotInstalled):
		return reasonNotInstalled
	case errors.Is(err, ErrNotDetected):
		return reasonNotDetected
	}
	return reasonApplyFailed
}

// message says each distinct thing once: the same failure of 1,000 prefixes is one line and a count.
func message(err error) string {
	var order []string
	prefixes := map[string][]string{}
	for _, e := range backends.Flatten(err) {
		text, prefix := e.Error(), ""
		if a, ok := e.(*backends.AnnounceError); ok {
			text, prefix = a.Err.Error(), a.Prefix.String()
		}
		if _, known := prefixes[text]; !known {
			order = append(order, text)
		}
		prefixes[text] = append(prefixes[text], prefix)
	}
	for i, text := range order {
		switch p := prefixes[text]; {
		case len(p) > 1:
			order[i] = fmt.Sprintf("%s and %d more: %s", p[0], len(p)-1, text)
		case p[0] != "":
			order[i] = fmt.Sprintf("%s: %s", p[0], text)
		}
	}
	return text.Cut(strings.Join(order, "; "), text.MaxMessage)
}
