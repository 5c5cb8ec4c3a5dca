package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

func TestLook(t *testing.T) {
	i := install(t)
	require.NoError(t, bed.InstallCRDs(testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "clusterinformations", "kubecontrollersconfigurations")...))
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "calico-config"}, Data: map[string]string{"calico_backend": "bird"}}
	i.create(cm)
	i.pool("main", nil, "192.0.2.0/30", "2001:db8::/126")
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	i.create(&v1beta1.L2Advertisement{ObjectMeta: i.meta("lan")})
	look := func(args ...string) {
		r := i.plugin(args...)
		t.Logf("%v: %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	look("doctor")
	i.start("--backend=calico")
	i.service("web")
	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	look("doctor")
	look("explain", "service", i.namespace+"/web")
	look("backends", "-o", "wide")
}
