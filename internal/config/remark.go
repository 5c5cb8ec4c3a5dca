package config

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/process/text"
)

// Remark is something that the user of an object in force has to know although the object has no fault. It is comparable.
type Remark struct {
	Object Ref
	// Reason is that of the event on the object.
	Reason  string
	Message string
}

// conditionNodeAddresses is the condition of a ConfigurationState that is False while a pool contains addresses of nodes.
const conditionNodeAddresses = "nodeAddressesOutsidePools"

// setRemarks makes the status tell of remarks. Its result stays what it is: nothing is wrong with the configuration itself.
func setRemarks(state *v1beta1.ConfigurationState, remarks []Remark) {
	if len(remarks) == 0 && meta.FindStatusCondition(state.Status.Conditions, conditionNodeAddresses) == nil {
		return
	}
	condition := metav1.Condition{Type: conditionNodeAddresses, Status: metav1.ConditionTrue, Reason: reasonReconciled}
	var lines []string
	for _, r := range remarks {
		condition.Status, condition.Reason = metav1.ConditionFalse, r.Reason
		lines = append(lines, r.Object.String()+": "+r.Message)
	}
	condition.Message = text.Cut(strings.Join(lines, "\n"), text.MaxMessage)
	meta.SetStatusCondition(&state.Status.Conditions, condition)
}
