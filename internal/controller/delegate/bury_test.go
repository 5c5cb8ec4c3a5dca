package delegate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/presence"
)

func TestOrphan(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("n", 64)
	nodes, silent := labelsOf(map[string]announce.Node{"here": {}, long: {}, "silent": {}}), map[string]bool{"silent": true}
	meta := func(label, node string, age time.Duration) metav1.ObjectMeta {
		return metav1.ObjectMeta{Labels: map[string]string{label: node}, CreationTimestamp: metav1.NewTime(now.Add(-age))}
	}
	const status, state = "metallb.io/node", "metallb.io/node-name"
	for _, tc := range []struct {
		name string
		o    client.Object
		is   bool
		wait time.Duration
	}{
		{"a node that is there", &v1beta1.ServiceL2Status{ObjectMeta: meta(status, "here", time.Hour)}, false, 0},
		{"its name is longer than a label", &v1beta1.ServiceBGPStatus{ObjectMeta: meta(status, backends.LabelValue(long), time.Hour)}, false, 0},
		{"a node that is gone", &v1beta1.ServiceL2Status{ObjectMeta: meta(status, "gone", time.Hour)}, true, 0},
		{"its sessions", &v1alpha1.BGPSession{ObjectMeta: meta(status, "gone", time.Hour)}, true, 0},
		{"its state", &v1beta1.ConfigurationState{ObjectMeta: meta(state, "gone", time.Hour)}, true, 0},
		{"its Lease", &coordinationv1.Lease{ObjectMeta: meta(status, "gone", time.Hour)}, true, 0},
		{"the controller's Lease", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "fairlead-controller"}}, false, 0},
		{"made a moment ago", &v1beta1.ServiceL2Status{ObjectMeta: meta(status, "gone", buryAfter/4)}, true, buryAfter * 3 / 4},
		{"the controller's own", &v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"metallb.io/component-type": "controller"}}}, false, 0},
		{"what a silent speaker says that it announces", &v1beta1.ServiceBGPStatus{ObjectMeta: meta(status, "silent", time.Hour)}, true, 0},
		{"its session", &v1alpha1.BGPSession{ObjectMeta: meta(status, "silent", time.Hour)}, true, 0},
		{"made a moment ago by a silent speaker", &v1beta1.ServiceL2Status{ObjectMeta: meta(status, "silent", presence.LeaseFor/4)}, true, presence.LeaseFor * 3 / 4},
		{"the Lease of a silent speaker", &coordinationv1.Lease{ObjectMeta: meta(status, "silent", time.Hour)}, false, 0},
		{"the state of a silent speaker", &v1beta1.ConfigurationState{ObjectMeta: meta(state, "silent", time.Hour)}, false, 0},
		{"of nobody", &v1beta1.ServiceL2Status{}, false, 0},
		{"a status that has lost its label", &v1beta1.ServiceL2Status{Status: v1beta1.ServiceL2StatusStatus{Node: "here"}}, true, 0},
		{"one of BGP", &v1beta1.ServiceBGPStatus{Status: v1beta1.ServiceBGPStatusStatus{Node: "here"}}, true, 0},
		{"a session", &v1alpha1.BGPSession{Status: v1alpha1.BGPSessionStatus{Node: "here"}}, true, 0},
		{"a session of a CNI", &v1alpha1.BGPSession{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{LabelBackend: Calico}}, Status: v1alpha1.BGPSessionStatus{Node: "here"},
		}, false, 0},
		{"a state", &v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{Name: config.SpeakerState("here")}}, true, 0},
		{"the state of the controller", &v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{Name: "controller"}}, false, 0},
		{"a reservation of a user", &v1alpha1.AddressReservation{}, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			is, wait := orphan(tc.o, nodes, silent, now)
			assert.Equal(t, tc.is, is)
			assert.Equal(t, tc.wait, wait)
		})
	}
}
