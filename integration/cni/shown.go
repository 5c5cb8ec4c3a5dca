package cni

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Shown returns the fields of users' objects that Rows show on a backend, as "BGPPeer password", each with the name of a Row. A Row shows
// what it names in Shows. A step shows the fields of a BGPAdvertisement or Community that it applies if it says which routes are to come of
// it, and those of an L2Advertisement if it says what is to be announced. own are Rows that only the backend has.
func Shown(backend string, own ...Row) (map[string]string, error) {
	out := map[string]string{}
	show := func(field, row string) {
		if out[field] == "" {
			out[field] = row
		}
	}
	all := slices.DeleteFunc(slices.Concat(rows(), own), func(r Row) bool { return len(r.Only) > 0 && !slices.Contains(r.Only, backend) })
	for _, r := range all {
		for _, field := range r.Shows {
			show(field, r.Name)
		}
	}
	for _, r := range all {
		for _, step := range r.Steps {
			if _, instead := step.Instead[backend]; instead || step.Routes == "" && step.Announced == "" {
				continue
			}
			if step.Routes != "" && !r.OwnPeers { // they come with PeerYAML
				for _, field := range []string{"myASN", "peerASN", "peerAddress"} {
					show("BGPPeer "+field, r.Name)
				}
			}
			fields, err := applied(&step)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", r.Name, step.Change, err)
			}
			for _, field := range fields {
				show(field, r.Name)
			}
		}
	}
	return out, nil
}

// applied returns the fields that a step sets on objects of which it says what comes of them.
func applied(step *Step) ([]string, error) {
	var out []string
	for doc := range strings.SplitSeq(step.Apply, "\n---") {
		var o struct {
			Kind string
			Spec map[string]any
		}
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "\t", "  ")), &o); err != nil {
			return nil, fmt.Errorf("%w: %s", err, doc)
		}
		switch o.Kind {
		case "BGPAdvertisement", "Community":
			if step.Routes == "" {
				continue
			}
		case "L2Advertisement":
			if step.Announced == "" {
				continue
			}
		default: // that there is an object shows nothing of a session
			continue
		}
		for field, value := range o.Spec {
			if v := reflect.ValueOf(value); v.Kind() != reflect.Slice || v.Len() > 0 {
				out = append(out, o.Kind+" "+field)
			}
		}
	}
	return out, nil
}
