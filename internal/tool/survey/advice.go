package survey

import "regexp"

// choice is a place in an advice: what helps those who set flags, and what helps those who set values of the chart.
var choice = regexp.MustCompile(`\{([^{}|]*)\|([^{}|]*)\}`)

// Advice returns text for who runs this installation. Of each {flags|values} in it there remains what concerns flags of the processes, or,
// where they come from a Helm release, values of the chart. Where that is not to be seen, both remain.
func (s *Survey) Advice(text string) string {
	switch {
	case s.Controller.Release != "":
		return choice.ReplaceAllString(text, "$2")
	case s.Controller.Deployment == "" && s.Lacks("Deployments"):
		return choice.ReplaceAllString(text, "$1, or $2")
	}
	return choice.ReplaceAllString(text, "$1")
}
