package explain

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// claimsFor returns the claims that were made for a Service, or for an address that it has.
func claimsFor(m *survey.Model, owner allocator.Owner) []Claim {
	var out []Claim
	for _, x := range m.Assigner.ClaimsFor(owner) {
		if f := claimNamed(m, x.ID); f != nil {
			out = append(out, claim(f))
		}
	}
	return out
}

// claimOf returns the claim that was answered with an address; nil: none was.
func claimOf(m *survey.Model, addr netip.Addr) *Claim {
	for i := range m.Claims {
		if m.Claims[i].Answer.Addr == addr {
			c := claim(&m.Claims[i])
			return &c
		}
	}
	return nil
}

func claimNamed(m *survey.Model, id string) *clusterapi.Found {
	for i := range m.Claims {
		if m.Claims[i].ID == id {
			return &m.Claims[i]
		}
	}
	return nil
}

func claim(f *clusterapi.Found) Claim {
	c := Claim{
		Namespace: f.Namespace, Name: f.Object.GetName(), Family: f.Family.String(), AllocatorPool: f.Pool, For: f.Owner.String(),
		Refusal: string(f.Answer.Refusal), Why: f.Answer.Why,
	}
	if f.Answer.Addr.IsValid() {
		c.Address = f.Answer.Addr.String()
	}
	list, _, _ := unstructured.NestedSlice(f.Object.Object, "status", "conditions")
	for _, x := range list {
		if o, ok := x.(map[string]any); ok {
			c.Conditions = append(c.Conditions, fmt.Sprintf("%v=%v %v: %v", o["type"], o["status"], o["reason"], o["message"]))
		}
	}
	return c
}
