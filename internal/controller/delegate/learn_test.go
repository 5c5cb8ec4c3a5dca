package delegate

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// TestLearning: a controller that has just begun leaves what the one before it said of a Service until it has looked at everything, or for
// 30 seconds. What it has seen itself it says at once, and it leaves nothing that was said of other addresses.
func TestLearning(t *testing.T) {
	type step struct {
		name string
		do   func(*Task)
		want string
	}
	const asBefore, pending = "True as before", "Unknown calico has not been told yet"
	silent := map[backends.Audience]announce.Verdict{{Advertisement: backends.Source{Kind: "BGPAdvertisement", Name: "all"}}: {
		Status: metav1.ConditionUnknown, Reason: announce.ReasonSessionsUnknown, Message: "n2 has not said how its sessions are",
	}}
	nodes := []backends.Node{{Name: "n1"}, {Name: "n2"}}
	learned := func(task *Task) { task.learned([]string{Calico, ""}, map[string]bool{Calico: true}, nodes) }
	told := func(task *Task) {
		task.results = map[string]announce.Result{Calico: {Sessions: silent, Outcome: &backends.Outcome{
			Pools: map[string]backends.PoolOutcome{"pool": {Advertised: true}},
		}}}
	}
	begun := func(task *Task) { task.learnedBy = time.Now().Add(learnFor) }
	for name, steps := range map[string][]step{
		"it learns": {
			{"before it looks", func(*Task) {}, asBefore},
			{"Calico is told", told, asBefore},
			{"one node has answered", func(task *Task) { task.sessions.take(Calico, backends.SessionReport{Node: "n1"}, true); learned(task) }, asBefore},
			{"the other does not answer", func(task *Task) { task.sessions.take(Calico, backends.SessionReport{Node: "n2"}, false) }, asBefore},
			{"which it takes in", learned, "Unknown n2 has not said how its sessions are"},
		},
		"it does not":          {{"before", func(*Task) { time.Sleep(learnFor - 1) }, asBefore}, {"after", func(*Task) { time.Sleep(time.Nanosecond) }, pending}},
		"nobody can be asked":  {{"at once", func(task *Task) { told(task); task.sessions.mute[Calico] = "off"; learned(task) }, "Unknown n2 has not said how its sessions are"}},
		"a refusal is no news": {{"", func(task *Task) { task.choice = announce.Choice{} }, "False no backend serves BGPAdvertisement \"all\""}},
		"nothing is known":     {{"", func(task *Task) { task.resolved = false }, asBefore}, {"for long", func(*Task) { time.Sleep(learnFor) }, "nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				task := &Task{
					sessions: &sessions{
						reports: map[string]map[string]backends.SessionReport{Calico: {}}, asked: map[string]map[string]bool{Calico: {}},
						mute: map[string]string{}, changed: func(string) {},
					},
					results: map[string]announce.Result{}, choice: announce.Choice{BGP: Calico}, resolved: true,
					snapshot: config.Build(config.Objects{
						Pools: []v1beta1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "pool"}, Spec: v1beta1.IPAddressPoolSpec{
							Addresses: []string{"192.0.2.0/24"},
						}}},
						BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}},
					}, nil),
				}
				addr := netip.MustParseAddr("192.0.2.1")
				held := allocator.Assignment{IPv4: allocator.Grant{Addr: addr, Pool: "pool"}}
				svc := &corev1.Service{}
				service.SetIngress(svc, []netip.Addr{addr})
				says := func(held allocator.Assignment) string {
					v, _ := task.Verdict(svc, held)
					if v == nil {
						return "nothing"
					}
					return string(v.Status) + " " + v.Message
				}
				assert.Equal(t, pending, says(held), "nobody has said anything before")
				svc.Status.Conditions = []metav1.Condition{{Type: service.ConditionAdvertised, Status: metav1.ConditionTrue, Message: "as before"}}
				assert.Equal(t, asBefore, says(held), "before it runs")
				begun(task)
				other := allocator.Assignment{IPv4: allocator.Grant{Addr: addr.Next(), Pool: "pool"}}
				assert.Equal(t, pending, says(other), "it has another address now")
				for _, s := range steps {
					s.do(task)
					assert.Equal(t, s.want, says(held), s.name)
				}
			})
		})
	}
}
