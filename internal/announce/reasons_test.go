package announce

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
		ReasonAdvertised, ReasonApplyFailed, ReasonClassNotAdvertised, ReasonIPModeNotVIP, ReasonNoAdvertisement, ReasonNoBackend,
		ReasonNotAdvertised, ReasonPending, ReasonServiceNotSelected, ReasonAddressTaken, ReasonNoEndpoints, ReasonNoSpeaker, ReasonNotAnnounced,
		ReasonSharedWithSelector, ReasonConflictingAdvertisements, ReasonNoPeer, ReasonNoSession, ReasonSessionsUnknown,
		ReasonNoInterface, ReasonNoLocalEndpoints, ReasonNodeLabeledExclude, ReasonNodeNetworkUnavailable,
		ReasonNodeNotSelected, ReasonNodeUnknown, ReasonSpeakerLeaving,
	} {
		assert.Contains(t, string(b), "`"+reason+"`")
	}
}
