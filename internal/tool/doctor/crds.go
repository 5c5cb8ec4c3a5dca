package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

const (
	helmRelease   = survey.HelmRelease
	helmNamespace = survey.HelmNamespace
)

// crdsCheck looks for CRDs that are missing, lack fields, need a conversion webhook, or belong to another Helm release.
func crdsCheck(f *Facts, c *check) {
	if f.CRDs == nil {
		for _, g := range f.Gaps {
			if g.Missing {
				c.add(Error, Finding{What: fmt.Sprintf("the API server has no %s", g.What), Why: "a CustomResourceDefinition is missing",
					Command: f.installCRDs()})
			}
		}
		return
	}
	var missing, foreign []string
	owner := ""
	for _, want := range f.Wanted {
		have := f.CRDs[want.Name]
		if have == nil {
			missing = append(missing, want.Name)
			continue
		}
		lacks(f, c, have, want)
		converts(f, c, have, want)
		if release := have.Annotations[helmRelease]; release != "" && f.foreignRelease(release, have.Annotations[helmNamespace]) {
			foreign, owner = append(foreign, want.Name), have.Annotations[helmNamespace]+"/"+release
		}
	}
	if len(missing) > 0 {
		c.add(Error, Finding{What: fmt.Sprintf("missing CustomResourceDefinitions: %s", strings.Join(missing, ", ")),
			Why: "the controller does not start without them, and objects of these kinds cannot be made", Command: f.installCRDs()})
	}
	if len(foreign) > 0 {
		c.add(Warning, Finding{
			What: fmt.Sprintf("%s belong to the Helm release %s", explain.Some(foreign), owner),
			Why:  "that release can change or remove them, and all objects with them; Helm refuses to install over them",
			Command: cmp.Or(f.command(takeOwnership),
				"kubectl annotate crd "+strings.Join(foreign, " ")+" helm.sh/resource-policy=keep --overwrite"),
		})
	}
}

// installCRDs is the command that brings this version's CRDs. Where they come with the Helm release it is Helm that has to: what kubectl
// makes, Helm does not take for its own.
func (f *Facts) installCRDs() string {
	if f.absent() || slices.ContainsFunc(f.Wanted, f.oursByHelm) {
		if command := f.command(takeOwnership); command != "" {
			return command
		}
	}
	return "kubectl apply --server-side --force-conflicts -f api/crds"
}

// oursByHelm reports whether a CRD of the cluster belongs to the controller's release.
func (f *Facts) oursByHelm(want *apiextensionsv1.CustomResourceDefinition) bool {
	have := f.CRDs[want.Name]
	return have != nil && f.deployment() != nil && have.Annotations[helmRelease] != "" &&
		!f.foreignRelease(have.Annotations[helmRelease], have.Annotations[helmNamespace])
}

// foreignRelease reports whether a Helm release is not that of the controller.
func (f *Facts) foreignRelease(name, namespace string) bool {
	if d := f.deployment(); d != nil {
		return d.Annotations[helmRelease] != name || d.Annotations[helmNamespace] != namespace
	}
	return !strings.Contains(name, "fairlead")
}

// lacks tells of versions and fields that an installed CRD does not have.
func lacks(f *Facts, c *check, have, want *apiextensionsv1.CustomResourceDefinition) {
	for _, w := range want.Spec.Versions {
		i := slices.IndexFunc(have.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == w.Name && v.Served
		})
		if i < 0 {
			c.add(Error, Finding{What: fmt.Sprintf("CustomResourceDefinition %s does not serve version %s", want.Name, w.Name),
				Why: "objects of this version cannot be read", Command: f.installCRDs()})
			continue
		}
		fields := missingFields("", schemaOf(have.Spec.Versions[i]), schemaOf(w))
		if len(fields) > 0 {
			c.add(Warning, Finding{
				What: fmt.Sprintf("CustomResourceDefinition %s, version %s, lacks %s", want.Name, w.Name, explain.Some(fields)),
				Why:  "it is that of an older version of MetalLB or of this product; what a manifest says there is dropped", Command: f.installCRDs(),
			})
		}
		if w.Subresources != nil && w.Subresources.Status != nil && (have.Spec.Versions[i].Subresources == nil ||
			have.Spec.Versions[i].Subresources.Status == nil) {
			c.add(Warning, Finding{What: fmt.Sprintf("CustomResourceDefinition %s, version %s, has no status", want.Name, w.Name),
				Why: "its state cannot be written", Command: f.installCRDs()})
		}
	}
}

func schemaOf(v apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.JSONSchemaProps {
	if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		return &apiextensionsv1.JSONSchemaProps{}
	}
	return v.Schema.OpenAPIV3Schema
}

// missingFields returns the paths of fields that want has and have does not, the outermost ones only, sorted.
func missingFields(path string, have, want *apiextensionsv1.JSONSchemaProps) []string {
	if have.XPreserveUnknownFields != nil && *have.XPreserveUnknownFields {
		return nil
	}
	var out []string
	for name, w := range want.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		h, ok := have.Properties[name]
		if !ok {
			out = append(out, at)
			continue
		}
		out = append(out, missingFields(at, &h, &w)...)
	}
	if want.Items != nil && want.Items.Schema != nil && have.Items != nil && have.Items.Schema != nil {
		out = append(out, missingFields(path+"[]", have.Items.Schema, want.Items.Schema)...)
	}
	slices.Sort(out)
	return out
}

// converts tells of a conversion webhook that nobody serves: MetalLB's BGPPeers have one.
func converts(f *Facts, c *check, have, want *apiextensionsv1.CustomResourceDefinition) {
	if have.Spec.Conversion == nil || have.Spec.Conversion.Strategy != apiextensionsv1.WebhookConverter ||
		have.Spec.Conversion.Webhook == nil ||
		have.Spec.Conversion.Webhook.ClientConfig == nil || have.Spec.Conversion.Webhook.ClientConfig.Service == nil {
		return
	}
	s := have.Spec.Conversion.Webhook.ClientConfig.Service
	severity, state := Warning, "it serves at present"
	if !f.Lacks("EndpointSlices") && !f.Survey.Endpoints(s.Namespace, s.Name).Any {
		severity, state = Error, "it has no endpoints"
	}
	c.add(severity, Finding{
		What: fmt.Sprintf("CustomResourceDefinition %s converts versions by a webhook, Service %s/%s; %s", want.Name, s.Namespace, s.Name, state),
		Why:  "it is that of MetalLB; without the webhook its objects can be neither read nor written. Ours needs none", Command: f.installCRDs(),
	})
}
