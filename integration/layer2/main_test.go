// Package layer2 tests, from outside, the controller and the speakers on a real network: nodes are network namespaces, each with a
// real kube-proxy and a pod behind it, and what is looked at is what a client on the same network sees.
package layer2

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/integration/testbed"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }
