package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// prefix begins the name of every lab.
const prefix = "fl-"

// claims is the folder with a locked file for each lab that is alive.
const claims = "/run/fairlead-netlab"

// claim is the right to a lab's name; the kernel gives it up with the process that holds it, however that ends.
type claim struct {
	name string
	file *os.File
}

// newClaim finds a name that no other lab has.
func newClaim() (*claim, error) {
	if err := os.MkdirAll(claims, 0o755); err != nil {
		return nil, err
	}
	for {
		// The pattern's random part is up to ten digits; with a host's name it stays readable in a listing.
		f, err := os.CreateTemp(claims, prefix)
		if err != nil {
			return nil, err
		}
		c := &claim{name: filepath.Base(f.Name()), file: f}
		if err := lock(f); err == nil {
			if _, err := os.Stat(f.Name()); err == nil {
				return c, nil
			}
		}
		_ = f.Close() // a sweeper took it for a leftover in between
	}
}

func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// dir is the lab's folder.
func (c *claim) dir() string { return filepath.Join(os.TempDir(), "fairlead-netlab-"+c.name) }

// release gives the name back.
func (c *claim) release() error {
	return errors.Join(os.Remove(c.file.Name()), c.file.Close())
}

// sweep removes the namespaces and folders of labs whose process has ended without doing so. One that somebody still works in stays.
func sweep() error {
	files, err := filepath.Glob(filepath.Join(claims, prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue // released at this moment
		}
		if lock(f) == nil {
			errs = append(errs, sweepLab(&claim{name: filepath.Base(file), file: f}))
		} else {
			_ = f.Close()
		}
	}
	return errors.Join(errs...)
}

func sweepLab(c *claim) error {
	spaces, err := filepath.Glob(filepath.Join(localnet.Mounts, c.name+"-*"))
	if err != nil {
		return err
	}
	used := localnet.Processes()
	for _, space := range spaces {
		var st unix.Stat_t
		if unix.Stat(space, &st) == nil && len(used[st.Ino]) > 0 {
			return c.file.Close()
		}
	}
	for _, space := range spaces {
		err := netns.DeleteNamed(filepath.Base(space))
		if errors.Is(err, unix.EINVAL) { // nothing is mounted there that can be unmounted
			err = os.Remove(space)
		}
		if errors.Is(err, unix.EBUSY) { // hidden below another mount of "ip netns": it harms nobody, and is tried again
			return c.file.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("remove what an earlier lab left, %s: %w", space, err), c.file.Close())
		}
	}
	if err := os.RemoveAll(c.dir()); err != nil {
		return errors.Join(err, c.file.Close())
	}
	if err := c.release(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
