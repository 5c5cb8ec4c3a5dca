// Package cli holds what the commands have in common: flags that can be given by environment, logging, version.
package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// envPrefix precedes the name of every environment variable that stands for a flag.
const envPrefix = "FAIRLEAD_"

// EnvName returns the environment variable that stands for a flag: --lb-class is FAIRLEAD_LB_CLASS.
func EnvName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// FlagsFromEnv sets every flag that was not given on the command line from its environment variable, if that is set.
func FlagsFromEnv(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := os.LookupEnv(EnvName(f.Name))
		if f.Changed || !ok || failed != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("environment variable %s: %w", EnvName(f.Name), err)
		}
	})
	return failed
}
