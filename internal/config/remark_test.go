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
	state := &v1beta1.ConfigurationState{}
	remark := Remark{Object: Ref{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "lan"}, Reason: "NodeAddressInPool", Message: "contains 192.0.2.1"}
	setState(state, nil)
	setRemarks(state, nil)
	assert.Nil(t, meta.FindStatusCondition(state.Status.Conditions, conditionNodeAddresses))
	setRemarks(state, []Remark{remark})
	c := meta.FindStatusCondition(state.Status.Conditions, conditionNodeAddresses)
	assert.Equal(t, metav1.ConditionFalse, c.Status)
	assert.Equal(t, "NodeAddressInPool", c.Reason)
	assert.Equal(t, "IPAddressPool metallb-system/lan: contains 192.0.2.1", c.Message)
	assert.Equal(t, v1beta1.ConfigurationValid, state.Status.Result)

	setRemarks(state, nil)
	c = meta.FindStatusCondition(state.Status.Conditions, conditionNodeAddresses)
	assert.Equal(t, metav1.ConditionTrue, c.Status)
	assert.Empty(t, c.Message)
}
