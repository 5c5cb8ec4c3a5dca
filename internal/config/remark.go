package config

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// remarked returns the condition that tells of remarks. The result of the state stays what it is: nothing is wrong with the configuration
// itself.
func remarked(remarks []Remark) metav1.Condition {
	condition := metav1.Condition{Type: conditionNodeAddresses, Status: metav1.ConditionTrue, Reason: reasonReconciled}
	var lines []string
	for _, r := range remarks {
		condition.Status, condition.Reason = metav1.ConditionFalse, r.Reason
		lines = append(lines, r.Object.String()+": "+r.Message)
	}
	condition.Message = text.Cut(strings.Join(lines, "\n"), text.MaxMessage)
	return condition
}
