package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// DataRace begins each report of Go's race detector.
const DataRace = "WARNING: DATA RACE"

// DetectRaces builds the controller with Go's race detector, for all that are started from now on. A race in one of them is an error of
// Close. It is for MainWith.
func (b *Bed) DetectRaces() (err error) {
	b.controller, err = b.BuildForRaces("controller")
	return err
}

// BuildForRaces is Build with Go's race detector. That needs a C compiler; without one, it is Build, and says so.
func (b *Bed) BuildForRaces(command string) (string, error) {
	if err := cCompiler(); err != nil {
		fmt.Fprintf(os.Stderr, "testbed: %s is built without the race detector: %v\n", command, err)
		return b.Build(command)
	}
	return b.build(command, "CGO_ENABLED=1", "-race")
}

// cCompiler returns an error if there is none.
func cCompiler() error {
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return fmt.Errorf("go env CC: %w", err)
	}
	name := strings.Fields(string(out))
	if len(name) == 0 {
		return exec.ErrNotFound
	}
	_, err = exec.LookPath(name[0])
	return err
}

// noteRace keeps a report of the race detector that a controller's log has.
func (b *Bed) noteRace(log string) {
	i := strings.Index(log, DataRace)
	if i < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.races = append(b.races, log[i:min(len(log), i+10_000)])
}

// raced returns an error if there has been a race.
func (b *Bed) raced() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.races) == 0 {
		return nil
	}
	return fmt.Errorf("%d controllers had a data race; the first:\n%s", len(b.races), b.races[0])
}
