package config

import (
	"cmp"
	"fmt"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// BFDProfile is a BFDProfile in force. What it leaves out is zero: the speaker's own default.
type BFDProfile struct {
	origin
	// ReceiveInterval, TransmitInterval and EchoInterval are in milliseconds.
	ReceiveInterval, TransmitInterval, EchoInterval uint32
	DetectMultiplier, MinimumTTL                    uint32
	EchoMode, PassiveMode                           bool
}

func parseBFDProfile(o *v1beta1.BFDProfile) (*BFDProfile, []Fault) {
	p := &BFDProfile{origin: originOf(v1beta1.GroupVersion, "BFDProfile", o.ObjectMeta, o.Spec)}
	f := findings{ref: p.Ref}
	for _, n := range []struct {
		field    string
		in       *uint32
		out      *uint32
		min, max uint32
		unit     string
	}{
		{"receiveInterval", o.Spec.ReceiveInterval, &p.ReceiveInterval, 10, 60000, " milliseconds"},
		{"transmitInterval", o.Spec.TransmitInterval, &p.TransmitInterval, 10, 60000, " milliseconds"},
		{"echoInterval", o.Spec.EchoInterval, &p.EchoInterval, 10, 60000, " milliseconds"},
		{"detectMultiplier", o.Spec.DetectMultiplier, &p.DetectMultiplier, 2, 255, ""},
		{"minimumTtl", o.Spec.MinimumTTL, &p.MinimumTTL, 1, 254, ""},
	} {
		if n.in == nil {
			continue
		}
		*n.out = *n.in
		if *n.in < n.min || *n.in > n.max {
			f.add("spec."+n.field, fmt.Sprintf("%d is out of range; use %d to %d%s", *n.in, n.min, n.max, n.unit))
		}
	}
	no := new(bool)
	p.EchoMode, p.PassiveMode = *cmp.Or(o.Spec.EchoMode, no), *cmp.Or(o.Spec.PassiveMode, no)
	if len(f.list) > 0 {
		return nil, f.list
	}
	return p, nil
}

func settleBFDProfiles(objects []v1beta1.BFDProfile, last map[string]*BFDProfile) (map[string]*BFDProfile, []Fault) {
	var valid []*BFDProfile
	var rejected []Ref
	var faults []Fault
	for i := range objects {
		p, bad := parseBFDProfile(&objects[i])
		if p == nil {
			rejected = append(rejected, refOf(v1beta1.GroupVersion, "BFDProfile", objects[i].ObjectMeta))
			faults = append(faults, bad...)
			continue
		}
		valid = append(valid, p)
	}
	inForce, _ := settle(valid, rejected, last, alone)
	return inForce, told(faults, inForce)
}
