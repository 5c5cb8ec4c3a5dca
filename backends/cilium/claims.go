package cilium

import "github.com/fairlead/fairlead/backends"

// Claimed returns, of an Outcome, what there is to say about Cilium's own address allocators: which Services they serve, and why.
func (d Detection) Claimed() backends.Outcome {
	o := backends.Outcome{Claims: d.claims()}
	for _, f := range d.findings(false, false) {
		if f.Type == backends.IPAMConflict {
			o.Findings = append(o.Findings, f)
		}
	}
	return o
}
