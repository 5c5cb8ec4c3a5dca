package delegate

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/announce"
)

// steady holds back that a Service is advertised, and from which nodes, until two judgements in a row say the same: the nodes tell of it
// one after the other, and each would cost every Service another write. It is late by one judgement then.
type steady map[judged]announce.Verdict

// wait reports whether a verdict that is another one than that which is shown is to wait for the next judgement.
func (s steady) wait(k judged, shown, now announce.Verdict) bool {
	if shown == now || now.Status != metav1.ConditionTrue || shown.Status != metav1.ConditionTrue && shown.Reason != announce.ReasonPending {
		delete(s, k)
		return false
	}
	if s[k] == now {
		delete(s, k)
		return false
	}
	s[k] = now
	return true
}
