package assign

import (
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// TestPoolEdited has somebody write to pools: only what concerns their counters has these looked at.
func TestPoolEdited(t *testing.T) {
	was := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Status: v1beta1.IPAddressPoolStatus{AssignedIPv4: 1, AvailableIPv6: 2}}
	edited, labelled := was.DeepCopy(), was.DeepCopy()
	edited.Status.AvailableIPv6 = 7
	labelled.Labels = map[string]string{"a": "b"}
	var marked []string
	for _, is := range []*v1beta1.IPAddressPool{was, labelled, edited} {
		poolEdited(was, is, func(pool string) { marked = append(marked, pool) })
	}
	poolEdited(was, "something else", func(pool string) { marked = append(marked, pool) })
	assert.Equal(t, []string{"lan"}, marked)
}
