package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that the demo has started.
type process struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
	err       error         // how, once done is closed
	leaving   bool          // it is to end
	abrupt    bool          // nothing is lost if it is killed at the end
}

func (d *demo) logFile(name string) string { return filepath.Join(d.dir, name+".log") }

// here is the place of programs that belong to no namespace.
func here(fn func() error) error { return fn() }

// launch starts a program at a place; what it writes goes to a file of that name. The thread that starts it is there until it ends.
func (d *demo) launch(name string, cmd *exec.Cmd, place func(func() error) error) (*process, error) {
	log, err := os.OpenFile(d.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{name: name, log: log.Name(), cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		err := place(func() error {
			err := cmd.Start()
			if err == nil {
				started <- nil
				p.err = cmd.Wait()
				close(p.done)
			}
			return err
		})
		if err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	d.processes = append(d.processes, p)
	return p, nil
}

// lost returns an error with its last words if the process has ended and is not to.
func (p *process) lost() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.leaving {
		return nil
	}
	b, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("the %s ended: %w", p.name, errors.Join(p.err, err))
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("the %s ended (%v); its last words:\n%s", p.name, p.err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
}

// signal tells the process to end by a signal.
func (p *process) signal(s syscall.Signal) error {
	p.leaving = true
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the %s: %w", p.name, err)
	}
	return nil
}

// end stops the process and returns when it has ended: an abrupt one by SIGKILL, any other by SIGTERM, and by SIGKILL after 10 s.
func (p *process) end() error {
	if p.abrupt {
		err := p.signal(syscall.SIGKILL)
		<-p.done
		return err
	}
	err := p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return err
	case <-time.After(10 * time.Second):
		err = errors.Join(err, fmt.Errorf("the %s did not stop in time", p.name), p.signal(syscall.SIGKILL))
		<-p.done
		return err
	}
}

// watch returns when ctx ends, or when a process ends that is to run on, with the error of that.
func (d *demo) watch(ctx context.Context) error {
	lost := make(chan *process, len(d.processes))
	for _, p := range d.processes {
		if !p.leaving {
			go func() {
				<-p.done // at the latest when the demo stops it
				lost <- p
			}()
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case p := <-lost:
		return p.lost()
	}
}
