package config_test

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
)

// A pool that becomes faulty stays as it was, as long as its last valid version is known.
func ExampleBuild() {
	pool := func(address string) config.Objects {
		return config.Objects{Pools: []v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "main", UID: "1"},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: []string{address, "2001:db8::/124"}},
		}}}
	}
	show := func(s *config.Snapshot) {
		for _, p := range s.Pools() {
			fmt.Println(p.Name, p.Prefixes())
		}
		for _, f := range s.Faults() {
			fmt.Println(f.Field, "is faulty; in force stays what was:", f.LastValid)
		}
	}

	first := config.Build(pool("192.0.2.0-192.0.2.7"), nil)
	show(first)
	second := config.Build(pool("192.0.2.7-192.0.2.0"), first)
	show(second)
	restarted := config.Build(pool("192.0.2.7-192.0.2.0"), nil)
	show(restarted)
	// Output:
	// main [192.0.2.0/29 2001:db8::/124]
	// main [192.0.2.0/29 2001:db8::/124]
	// spec.addresses[0] is faulty; in force stays what was: true
	// spec.addresses[0] is faulty; in force stays what was: false
}
