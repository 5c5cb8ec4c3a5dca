package config

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/process/keep/keeptest"
)

// reports is a reporter that writes until the test ends, to an API server that counts writes.
func reports(t *testing.T, d *keeptest.Desk, node string) *reporter {
	r := &reporter{client: d, namespace: "metallb-system", node: node, log: slog.New(slog.DiscardHandler)}
	r.states = r.newStates(d.Cache())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	if node == "" {
		r.readiness = r.newReadiness(d.Cache())
	}
	go func() { ended <- r.keep(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return r
}

func desk(t *testing.T) *keeptest.Desk {
	return keeptest.New(t, cli.NewScheme(), &v1beta1.ConfigurationState{}, &v1alpha1.AddressReservation{})
}

// pause lets a second pass, in which everything is put right.
func pause() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func readState(t *testing.T, d *keeptest.Desk, name string) (x v1beta1.ConfigurationState) {
	t.Helper()
	require.NoError(t, d.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: name}, &x))
	return x
}

func sinces(x *v1beta1.ConfigurationState) map[string]time.Time {
	out := map[string]time.Time{}
	for _, c := range x.Status.Conditions {
		out[c.Type] = c.LastTransitionTime.UTC()
	}
	return out
}

// TestState: the ConfigurationState says what is wrong, as long as it is, is put right when somebody edits or removes it, and costs no
// write when nothing has changed.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := desk(t)
		r := reports(t, d, "")
		pause()
		assert.Zero(t, d.Writes(""), "nothing is known yet")
		fault := Fault{Object: Ref{Kind: "IPAddressPool", Name: "b"}, Field: "spec.addresses[0]", Problem: "overlaps"}
		faulty := &Snapshot{faults: []Fault{fault}}
		r.setState(t.Context(), faulty)
		pause()
		x := readState(t, d, "controller")
		assert.Equal(t, map[string]string{stateComponent: "controller"}, x.Labels)
		assert.Equal(t, v1beta1.ConfigurationInvalid, x.Status.Result)
		assert.Contains(t, x.Status.ErrorSummary, "overlaps")
		before := sinces(&x)

		time.Sleep(time.Minute)
		r.setState(t.Context(), &Snapshot{})
		pause()
		x = readState(t, d, "controller")
		assert.Empty(t, x.Status.ErrorSummary, "mended")
		assert.Equal(t, v1beta1.ConfigurationValid, x.Status.Result)
		mended := sinces(&x)
		assert.Len(t, mended, 2)
		assert.Equal(t, before[conditionConfig], mended[conditionConfig], "of pools only")
		assert.True(t, mended[conditionPools].After(before[conditionPools]))
		writes := d.Writes("")
		assert.Equal(t, 3, writes)
		for range 3 {
			r.setState(t.Context(), &Snapshot{})
			time.Sleep(time.Minute)
		}
		assert.Equal(t, writes, d.Writes(""), "nothing has changed")

		x = readState(t, d, "controller")
		x.Status.Result, x.Status.ErrorSummary = v1beta1.ConfigurationInvalid, "made up"
		x.Status.Conditions[0].Message = "made up"
		x.Status.Conditions = append(x.Status.Conditions, metav1.Condition{Type: "theirs", Status: metav1.ConditionTrue})
		require.NoError(t, d.Status().Update(t.Context(), &x))
		pause()
		x = readState(t, d, "controller")
		assert.Equal(t, v1beta1.ConfigurationValid, x.Status.Result, "put right")
		assert.Empty(t, x.Status.ErrorSummary)
		assert.Empty(t, x.Status.Conditions[0].Message)
		assert.Len(t, x.Status.Conditions, 3, "what others say stays")
		require.NoError(t, d.Delete(t.Context(), &x))
		pause()
		x = readState(t, d, "controller")
		assert.Equal(t, v1beta1.ConfigurationValid, x.Status.Result, "back")
	})
}

// TestStateTakenOver: a process that starts leaves what the one before it has written as it is, and touches no other process's.
func TestStateTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := desk(t)
		for _, node := range []string{"", "n1"} {
			r := reports(t, d, node)
			r.setState(t.Context(), &Snapshot{})
			pause()
		}
		before := d.Writes("")
		assert.Equal(t, 4, before)
		x := readState(t, d, "controller")
		r := reports(t, d, "")
		time.Sleep(time.Minute)
		r.setState(t.Context(), &Snapshot{})
		pause()
		assert.Equal(t, before, d.Writes(""))
		assert.Equal(t, x, readState(t, d, "controller"))
		assert.Equal(t, v1beta1.ConfigurationValid, readState(t, d, "speaker-n1").Status.Result)
	})
}

// TestStateRefused: what cannot be written is tried again, later each time.
func TestStateRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := desk(t)
		var down atomic.Bool
		down.Store(true)
		d.Fail = func(string, client.Object) error {
			if down.Load() {
				return errors.New("no API server")
			}
			return nil
		}
		r := reports(t, d, "n1")
		r.setState(t.Context(), &Snapshot{})
		time.Sleep(5 * time.Minute)
		assert.Less(t, d.Writes(""), 20)
		down.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		assert.Equal(t, v1beta1.ConfigurationValid, readState(t, d, "speaker-n1").Status.Result)
	})
}

// TestLongNodeName has nodes whose names are too long for a label, or for the name of an object together with what precedes it.
func TestLongNodeName(t *testing.T) {
	label := strings.Repeat("a", 63)
	names := map[string]bool{}
	for _, node := range []string{"n1", label, label + ".b", label + ".c", label + "." + label + "." + label + "." + label[:61], label + "." + label + "." + label + "." + label[:60] + "b"} {
		require.Empty(t, validation.IsDNS1123Subdomain(node))
		r := &reporter{namespace: "metallb-system", node: node}
		key, labels := r.state()
		assert.Equal(t, types.NamespacedName{Namespace: "metallb-system", Name: SpeakerState(node)}, key)
		assert.Empty(t, validation.IsDNS1123Subdomain(key.Name), node)
		for _, v := range labels {
			assert.Empty(t, validation.IsValidLabelValue(v), node)
		}
		require.False(t, names[key.Name], node)
		names[key.Name] = true
	}
	assert.True(t, names["speaker-n1"])
}

func TestAbout(t *testing.T) {
	peer := func(name string, selectors ...metav1.LabelSelector) v1beta2.BGPPeer {
		return v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta2.BGPPeerSpec{NodeSelectors: selectors}}
	}
	on := func(node string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{"node": node}}
	}
	peers := []v1beta2.BGPPeer{
		peer("all"), peer("mine", on("n1"), on("n2")), peer("theirs", on("n2")),
		peer("broken", metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}}}),
	}
	faults := []Fault{{Object: Ref{Kind: "IPAddressPool", Name: "theirs"}}}
	for i := range peers {
		faults = append(faults, Fault{Object: refOf(v1beta2.GroupVersion, "BGPPeer", peers[i].ObjectMeta)})
	}
	var got []string
	for _, f := range about(faults, peers, labels.Set{"node": "n1"}) {
		got = append(got, f.Object.Kind+"/"+f.Object.Name)
	}
	assert.Equal(t, []string{"IPAddressPool/theirs", "BGPPeer/all", "BGPPeer/mine", "BGPPeer/broken"}, got)
	assert.Len(t, faults, 5, "the list itself stays")
}

func TestWaits(t *testing.T) {
	f := Fault{Object: Ref{Kind: "BGPPeer", Name: "tor"}, Field: "spec.passwordSecret", Problem: `there is no Secret "x"`, Waits: true}
	w := &Watcher{reporter: &reporter{node: "n1"}, reader: fake.NewClientBuilder().Build()}
	w.SetWaits([]Fault{f})
	got := w.aboutNode(t.Context(), nil)
	require.Equal(t, []Fault{f}, got)
	assert.Equal(t, `spec.passwordSecret: there is no Secret "x"; until then a session that is up stays, and another does not begin`, got[0].Message())
	w.SetWaits(nil)
	assert.Empty(t, w.aboutNode(t.Context(), nil))
}
