package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestReservations(t *testing.T) {
	reserve := func(name, service string, age int, addresses ...string) v1alpha1.AddressReservation {
		r := v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{
			Namespace: "metallb-system", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0)),
		}}
		r.Spec.Addresses = addresses
		if service != "" {
			r.Spec.Service = &v1alpha1.ServiceReference{Namespace: "default", Name: service}
		}
		return r
	}
	hold := reserve("hold-web", "web", 0, "10.0.0.1/32")
	hold.Spec.HoldAfterDelete = &metav1.Duration{Duration: time.Minute}
	for _, tc := range []struct {
		name string
		in   []v1alpha1.AddressReservation
		want []string
	}{
		{name: "for nobody and for a Service", in: []v1alpha1.AddressReservation{
			reserve("b", "web", 0, "10.0.0.1/32", "2001:db8::1-2001:db8::2"), reserve("a", "", 0, "10.0.0.0/30"),
		}, want: []string{"a for /: 10.0.0.0-10.0.0.3", "b for default/web: 10.0.0.1-10.0.0.1 2001:db8::1-2001:db8::2"}},
		{name: "holds are no part of it", in: []v1alpha1.AddressReservation{hold}},
		{name: "entries that can be read count", in: []v1alpha1.AddressReservation{reserve("a", "", 0, "10.0.0.300", "2001:db8::/127")},
			want: []string{"a for /: 2001:db8::-2001:db8::1", `! AddressReservation metallb-system/a: spec.addresses[0]: "10.0.0.300" is neither`}},
		{name: "the older of two counts", in: []v1alpha1.AddressReservation{
			reserve("young", "db", 1, "2001:db8::/126", "10.0.0.9"), reserve("old", "web", 2, "2001:db8::2/128"),
		}, want: []string{
			"old for default/web: 2001:db8::2-2001:db8::2", "young for default/db: 10.0.0.9-10.0.0.9",
			`! AddressReservation metallb-system/young: spec.addresses: 2001:db8::-2001:db8::3 overlaps 2001:db8::2-2001:db8::2, which AddressReservation "old" keeps for another Service; take it out of one of them`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Build(Objects{Reservations: tc.in}, nil)
			var got []string
			for _, r := range s.Reservations() {
				line := fmt.Sprintf("%s for %s:", r.Name, r.Owner)
				for _, ipr := range r.Ranges {
					line += " " + ipr.String()
				}
				got = append(got, line)
			}
			for _, f := range s.Faults() {
				got = append(got, "! "+f.String())
			}
			if assert.Len(t, got, len(tc.want), "%q", got) {
				for i := range got {
					assert.True(t, strings.HasPrefix(got[i], tc.want[i]), "got  %s\nwant %s", got[i], tc.want[i])
				}
			}
		})
	}
}
