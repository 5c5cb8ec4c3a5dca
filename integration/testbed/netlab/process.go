package netlab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// Nobody is the user id that images without root run as; Rights and manifests use it.
const Nobody = 65532

// StartOptions say how a process is started. The zero value starts it with the rights and the environment of the test.
type StartOptions struct {
	Name string   // in messages; the program's name if empty
	Dir  string   // working folder; the lab's if empty
	Env  []string // more of the environment, as NAME=value
	// Rights restricts the process; nil leaves it those of the test.
	Rights *Rights
}

// Rights are those of a container: an ordinary user with some capabilities, which programs that it starts cannot extend.
type Rights struct {
	UID uint32 // and GID
	// Capabilities are all that the process has, in every set the bounding one included: unix.CAP_NET_RAW and so on.
	Capabilities []uintptr
}

// Process is a program that runs in a host.
type Process struct {
	host *Host
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed

	mu  sync.Mutex // protects log
	log bytes.Buffer
}

// Command runs a program in the host to its end and returns what it prints; it fails the test if the program fails.
func (h *Host) Command(path string, args ...string) string {
	h.lab.t.Helper()
	p := h.launch(StartOptions{}, path, args)
	<-p.done
	require.NoError(h.lab.t, p.err, "%s: %s %s\n%s", h.name, path, strings.Join(args, " "), p.Log())
	return p.Log()
}

// Start starts a program in the host, in a process group of its own. The group is killed when the test ends, and the program, even
// if the test cannot end in good order, with the test's process. What it writes is shown if the test fails.
func (h *Host) Start(opts StartOptions, path string, args ...string) *Process {
	t := h.lab.t
	t.Helper()
	p := h.launch(opts, path, args)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s on %s, %s:\n%s", p.name, h.name, strings.Join(args, " "), p.Log())
		}
	})
	return p
}

func (h *Host) launch(opts StartOptions, path string, args []string) *Process {
	t := h.lab.t
	t.Helper()
	path, err := exec.LookPath(path)
	require.NoError(t, err)
	p := &Process{host: h, name: opts.Name, done: make(chan struct{})}
	if p.name == "" {
		p.name = filepath.Base(path)
	}
	if opts.Rights != nil {
		path = h.lab.binary(path)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = h.lab.dir
	if opts.Dir != "" {
		p.cmd.Dir = opts.Dir
	}
	p.cmd.Env = append(os.Environ(), opts.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if r := opts.Rights; r != nil {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: r.UID, Gid: r.UID}
		p.cmd.SysProcAttr.AmbientCaps = r.Capabilities
	}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process ends, so that thread stays until it has ended.
		_ = localnet.OnThread(func() error {
			err := h.enter(opts.Rights)
			if err == nil {
				err = p.cmd.Start()
			}
			started <- err
			if err == nil {
				p.err = p.cmd.Wait()
				close(p.done)
			}
			return err
		})
	}()
	require.NoError(t, <-started, "start %s on %s", path, h.name)
	return p
}

// enter gives the calling thread, for good, the host's network and no capability to pass on but those of rights.
func (h *Host) enter(rights *Rights) error {
	if err := h.ns.Enter(); err != nil {
		return err
	}
	if rights == nil {
		return nil
	}
	keep := map[uintptr]bool{}
	for _, c := range rights.Capabilities {
		keep[c] = true
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if keep[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // EINVAL: the kernel does not know it
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// binary returns the path of a copy of a program that every user may execute: a test's own folders are closed to others.
func (l *Lab) binary(path string) string {
	l.t.Helper()
	if at, ok := l.binaries[path]; ok {
		return at
	}
	at := filepath.Join(l.dir, fmt.Sprintf("%s.%d", filepath.Base(path), len(l.binaries)))
	require.NoError(l.t, copyProgram(at, path))
	l.binaries[path] = at
	return at
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Write collects the log.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log returns what the process has written so far to its standard output and error.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process and all that it started with SIGKILL, if they still run, and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.done: // its id may be another's by now
	default:
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
	<-p.done
}

// Stop ends the process with SIGTERM and returns how it ended and how long that took.
func (p *Process) Stop() (time.Duration, error) {
	start := time.Now()
	_ = p.Signal(syscall.SIGTERM) // it may have ended
	<-p.done
	return time.Since(start), p.err
}

// Freeze stops the process in its tracks, as a machine that hangs does, and returns when it stands.
func (p *Process) Freeze() {
	t := p.host.lab.t
	t.Helper()
	require.NoError(t, syscall.Kill(-p.PID(), syscall.SIGSTOP))
	await(t, "the end of "+p.name+"'s movements", func() error {
		_, fields, err := stat(p.PID())
		if err == nil && fields[0] != "T" {
			err = errNotYet
		}
		return err
	})
}

// Thaw ends Freeze.
func (p *Process) Thaw() {
	p.host.lab.t.Helper()
	require.NoError(p.host.lab.t, syscall.Kill(-p.PID(), syscall.SIGCONT))
}
