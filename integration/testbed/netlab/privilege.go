package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// Skip skips the test, with the reason, if the user may not make network namespaces. If the environment variable CI is set it fails
// instead: there, a test that does not run is a fault.
func Skip(t testing.TB) {
	t.Helper()
	if err := localnet.Privileged(); err != nil {
		refuse(t, fmt.Sprintf("a lab needs the rights of root: %v", err))
	}
}

// refuse ends a test that cannot run here.
func refuse(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// packages names Debian's package of each program that a lab starts but does not build.
var packages = map[string]string{"nft": "nftables", "ip": "iproute2"}

// requireProgram is Skip for a program that is missing.
func requireProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		refuse(t, fmt.Sprintf("%q is not in PATH; it is in Debian's package %q", name, packages[name]))
	}
}
