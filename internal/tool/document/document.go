// Package document gives what the tool tells the form in which programs read it: JSON or YAML with apiVersion and kind. The schemas of all
// kinds are in docs/reference/schema.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/internal/tool/screen"
)

// APIVersion is that of all documents. Fields may be added to it; what is there stays, and means the same.
const APIVersion = "tool.fairlead.io/v1"

// Kind is what a document is about.
type Kind string

// The kinds.
const (
	InstallationStatus Kind = "InstallationStatus"
	ServiceExplanation Kind = "ServiceExplanation"
	AddressExplanation Kind = "AddressExplanation"
	ReachabilityReport Kind = "ReachabilityReport"
	OutageReport       Kind = "OutageReport"
	PoolList           Kind = "PoolList"
	PeerList           Kind = "PeerList"
	BackendList        Kind = "BackendList"
	Diagnosis          Kind = "Diagnosis"
	Plan               Kind = "Plan"
	Handover           Kind = "Handover"
	Versions           Kind = "Versions"
	SupportBundle      Kind = "SupportBundle"
	OverviewPage       Kind = "OverviewPage"
	PoolPage           Kind = "PoolPage"
	NetworkPage        Kind = "NetworkPage"
	ConfigurationPage  Kind = "ConfigurationPage"
	PlanPage           Kind = "PlanPage"
	SearchPage         Kind = "SearchPage"
	Problem            Kind = "Problem"
)

// Sources are all kinds, and where each comes from: a command, or a page of the dashboard.
var Sources = map[Kind]string{
	InstallationStatus: "`status`",
	ServiceExplanation: "`explain service`, and `/services/NAMESPACE/NAME` of the dashboard",
	AddressExplanation: "`explain address`, and `/addresses/IP` of the dashboard",
	ReachabilityReport: "`check`",
	OutageReport:       "`check --watch`",
	PoolList:           "`pools`",
	PeerList:           "`peers`",
	BackendList:        "`backends`",
	Diagnosis:          "`doctor`",
	Plan:               "`plan`",
	Handover:           "`migrate from-servicelb`, `migrate from-kube-vip`",
	Versions:           "`version`",
	SupportBundle:      "`support-bundle`, as `manifest.json`",
	OverviewPage:       "`/` of the dashboard",
	PoolPage:           "`/pools/NAME` of the dashboard",
	NetworkPage:        "`/network` of the dashboard",
	ConfigurationPage:  "`/configuration` of the dashboard",
	PlanPage:           "`/plan` of the dashboard",
	SearchPage:         "`/search` of the dashboard",
	Problem:            "any page of the dashboard that has nothing to show",
}

// JSON returns v, which becomes an object, as a document in which nothing is dangerous to a terminal.
func JSON(kind Kind, v any) ([]byte, error) {
	head := struct {
		APIVersion string `json:"apiVersion"`
		Kind       Kind   `json:"kind"`
	}{APIVersion, kind}
	first, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	rest, err := screen.JSON(v)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(rest), []byte("{"))
	if !ok {
		return nil, fmt.Errorf("a %s is no object", kind)
	}
	out := bytes.TrimSuffix(first, []byte("}"))
	if !bytes.Equal(rest, []byte("}")) {
		out = append(out, ',')
	}
	return screen.JSON(json.RawMessage(append(out, rest...)))
}

// YAML is JSON as YAML.
func YAML(kind Kind, v any) ([]byte, error) {
	b, err := JSON(kind, v)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(b)
}
