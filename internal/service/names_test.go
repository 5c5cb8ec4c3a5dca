package service

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReasonsAreDocumented keeps docs/reasons.md equal to the constants.
func TestReasonsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/reasons.md")
	require.NoError(t, err)
	for _, reason := range []string{
		ReasonAllocated, ReasonAddressConflict, ReasonAddressInUse, ReasonAddressKept, ReasonAddressNotInPool, ReasonAddressNotUsable,
		ReasonAddressOfNode, ReasonAddressReserved, ReasonCNIUnknown, ReasonForeignStatus, ReasonIPAMConflict, ReasonInvalidRequest,
		ReasonNoClusterIP, ReasonNoMatchingPool, ReasonNotEnoughClusterIPs, ReasonPoolExhausted, ReasonPoolMismatch,
		ReasonPoolNotAdmitting, ReasonPoolNotFound, ReasonSharingConflict, ReasonStatusContended,
		EventIPAllocated, EventClearAssignment, EventAdditionalAssignFailed, EventAllocationFailed, EventLoadBalancerFailed,
		EventNotEnoughClusterIPs, EventNoClusterIPs, EventDeprecatedAnnotation, EventAddressConflict, EventForeignStatus,
		EventAddressOfNode, EventNodeAddressInPool, EventStatusContended, EventClassNotServed, EventIPAMConflict, EventAdvertised,
		EventNotAdvertised,
	} {
		assert.Contains(t, string(b), "`"+reason+"`")
	}
}
