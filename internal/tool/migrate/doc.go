// Package migrate changes a live cluster over from MetalLB to Fairlead, step by step, without an address changing. What was done and
// what was there before is kept in a ConfigMap, so that it can be interrupted, go on, and go back.
package migrate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/screen"
)

// Options say what to migrate and how.
type Options struct {
	// Namespace is that of MetalLB, and will be that of Fairlead.
	Namespace string
	// Release is the name that Fairlead's Helm release will have.
	Release string
	// Cluster is what the user is told of which cluster it is.
	Cluster string
	// Yes goes on without asking. Back undoes what was done. Force changes over although Fairlead does not announce what MetalLB does.
	Yes, Back, Force bool
	// Timeout is how long to wait for pods to come or go.
	Timeout time.Duration
	In      io.Reader
	Out     io.Writer
}

// errNotConfirmed is returned if the user did not agree to a step. What was done before stays.
var errNotConfirmed = errors.New("not confirmed")

// ErrNotInstalled is returned if it is the user's turn to install Fairlead.
var ErrNotInstalled = errors.New("not installed yet")

// Migration is one run of the command.
type Migration struct {
	Options
	client  client.Client
	answers chan string // lines of In; nil until the first question
	state   *state
}

// New returns a Migration that works through c.
func New(c client.Client, o Options) *Migration {
	return &Migration{Options: o, client: c}
}

// say prints lines. Names and versions in them are those of objects. Those that are indented are to be copied, or are lists, and not wrapped.
func (m *Migration) say(format string, args ...any) {
	s := screen.New(m.Out, os.Getenv)
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		if strings.HasPrefix(line, " ") {
			s.Verbatim(screen.C("%s", line))
			continue
		}
		s.Line(screen.C("%s", line))
	}
}

// confirm asks the user, unless all was agreed to. It does not outlast ctx: a user who interrupts a question has not agreed.
func (m *Migration) confirm(ctx context.Context, question string) error {
	if m.Yes {
		return nil
	}
	if m.answers == nil {
		m.answers = make(chan string)
		go m.listen(ctx) // reading from a terminal cannot be interrupted: it ends with the process
	}
	fmt.Fprintf(m.Out, "%s [y/N] ", question)
	select {
	case a, ok := <-m.answers:
		switch strings.ToLower(strings.TrimSpace(a)) {
		case "y", "yes":
			return nil
		}
		if !ok {
			m.say("")
		}
	case <-ctx.Done():
		m.say("")
	}
	return errNotConfirmed
}

// listen passes on the lines of In.
func (m *Migration) listen(ctx context.Context) {
	defer close(m.answers)
	for in := bufio.NewScanner(m.In); in.Scan(); {
		select {
		case m.answers <- in.Text():
		case <-ctx.Done():
			return
		}
	}
}

// services is "1 Service" or "2 Services".
func services(n int) string {
	if n == 1 {
		return "1 Service"
	}
	return fmt.Sprintf("%d Services", n)
}

// Run begins or goes on, or goes back. It returns ErrNotInstalled if it has to wait for the user.
func (m *Migration) Run(ctx context.Context) error {
	var err error
	if m.state, err = m.load(ctx); err != nil {
		return err
	}
	if m.Cluster != "" {
		m.say("Cluster %s, namespace %s.", m.Cluster, m.Namespace)
	}
	if m.Back {
		return m.back(ctx)
	}
	if m.state == nil {
		found, err := m.find(ctx)
		if err != nil {
			return err
		}
		m.show(found)
		if err := m.confirm(ctx, "Keep a snapshot of this and begin?"); err != nil {
			return fmt.Errorf("%w: nothing was changed", err)
		}
		if err := m.begin(ctx, found); err != nil {
			return err
		}
	} else {
		m.say("Going on with the change-over that began at %s: %d of %d steps are done.", m.state.Began.Format(time.RFC3339), m.state.Done,
			len(steps))
	}
	for m.state.Done < len(steps) {
		s := steps[m.state.Done]
		m.say("\nStep %d of %d: %s.", m.state.Done+1, len(steps), s.what)
		if s.waits {
			ready, err := m.installed(ctx)
			if err != nil {
				return err
			}
			if !ready {
				if err := m.instruct(ctx); err != nil {
					return err
				}
				return ErrNotInstalled
			}
		} else if err := m.confirm(ctx, "Go on?"); err != nil {
			return fmt.Errorf("%w: stopped before step %d. Run the command again to go on, or with --back to go back", err, m.state.Done+1)
		}
		if s.do != nil {
			if err := s.do(m, ctx); err != nil {
				return fmt.Errorf("step %d: %w. Run the command again once that is mended, or with --back to go back", m.state.Done+1, err)
			}
		}
		n, err := m.verify(ctx)
		if err != nil {
			return fmt.Errorf("after step %d: %w. Nothing more is done; run the command again once that is mended, or with --back to go back",
				m.state.Done+1, err)
		}
		m.state.Done++
		if err := m.save(ctx); err != nil {
			return err
		}
		m.say("Done. The addresses of %s are as before.", services(n))
	}
	return m.finished(ctx)
}

// back undoes the steps that were begun, the last one first.
func (m *Migration) back(ctx context.Context) error {
	if m.state == nil {
		return fmt.Errorf("there is nothing to go back from: namespace %q has no ConfigMap %s", m.Namespace, StateName)
	}
	m.say("Going back: MetalLB's speakers start again, Fairlead's controller stops, MetalLB's controller starts.")
	if err := m.confirm(ctx, "Go back?"); err != nil {
		return fmt.Errorf("%w: nothing was changed", err)
	}
	for i := min(m.state.Done, len(steps)-1); i >= 0; i-- {
		if undo := steps[i].undo; undo != nil {
			if err := undo(m, ctx); err != nil {
				return fmt.Errorf("undo step %d: %w. Run the command with --back again once that is mended", i+1, err)
			}
		}
		m.state.Done = i
		if err := m.save(ctx); err != nil {
			return err
		}
	}
	n, err := m.verify(ctx)
	if err != nil {
		return err
	}
	if err := m.forget(ctx); err != nil {
		return err
	}
	m.say("MetalLB is in charge again. The addresses of %s are as before.", services(n))
	m.say("If Fairlead is installed, remove it now; the CRDs and all addresses stay:\n  helm uninstall %s --namespace %s", m.Release,
		m.Namespace)
	return nil
}
