package speaker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/backends"
)

// TestSessionName has nodes and peers whose names could meet, all with all.
func TestSessionName(t *testing.T) {
	assert.Equal(t, "n1-tor", sessionName("n1", "tor"), "what cannot be mistaken is readable")
	assert.Equal(t, "n1-tor-a-"+backends.Hash("n1", "tor-a"), sessionName("n1", "tor-a"))
	long, longer := strings.Repeat("a.b-", 62)+"c", strings.Repeat("a.b-", 63)+"c"
	parts := []string{
		"n1", "n1-tor", "n1-tor-a", "tor", "tor-a", "a", "tor-a-b", "a-b", "b", "n1.example.org", "tor.a", "n1-tor.a", long, longer,
		backends.Hash("n1", "tor-a"), "n1-tor-a-" + backends.Hash("n1", "tor-a"), "tor-a-" + backends.Hash("n1", "tor-a"),
	}
	seen := map[string][2]string{}
	for _, node := range parts {
		for _, peer := range parts {
			name := sessionName(node, peer)
			require.NotContains(t, seen, name, "%q and %q", node, peer)
			require.Empty(t, validation.IsDNS1123Subdomain(name), "%q and %q", node, peer)
			seen[name] = [2]string{node, peer}
		}
	}
}
