package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// TestRemarks: what is to be remarked of a pool is in the ConfigurationState, and makes the configuration no less valid.
func TestRemarks(t *testing.T) {
	remark := Remark{Object: Ref{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "lan"}, Reason: "NodeAddressInPool", Message: "contains 192.0.2.1"}
	state := v1beta1.ConfigurationStateStatus{}
	say := func(remarks ...Remark) *metav1.Condition {
		want := stateOf(nil)
		want.Conditions = append(want.Conditions, remarked(remarks))
		state = fitState(state, want)
		return meta.FindStatusCondition(state.Conditions, conditionNodeAddresses)
	}
	assert.Nil(t, say())
	c := say(remark)
	assert.Equal(t, metav1.ConditionFalse, c.Status)
	assert.Equal(t, "NodeAddressInPool", c.Reason)
	assert.Equal(t, "IPAddressPool metallb-system/lan: contains 192.0.2.1", c.Message)
	assert.Equal(t, v1beta1.ConfigurationValid, state.Result)

	c = say()
	assert.Equal(t, metav1.ConditionTrue, c.Status)
	assert.Empty(t, c.Message)
}
