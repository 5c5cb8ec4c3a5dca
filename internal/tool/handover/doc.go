// Package handover hands Services over to Fairlead whose status another load balancer has written: the servicelb of k3s, or kube-vip.
// A Service keeps its address where a pool has it.
package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Options say what to hand over and how.
type Options struct {
	Source *Source
	// Namespace is that of Fairlead.
	Namespace string
	// Yes goes on without asking. DryRun only shows.
	Yes, DryRun bool
	// Timeout is how long to wait for Fairlead to give the addresses.
	Timeout time.Duration
	In      io.Reader
	Out     io.Writer
}

// Report is what was found, and what would become of it.
type Report struct {
	Source    string `json:"source"`
	Namespace string `json:"namespace"`
	// Running are the parts of the other load balancer that are not stopped: as long as there are any, nothing is handed over.
	Running  []Running  `json:"running"`
	Services []*Service `json:"services"`
	// Problem is why Fairlead cannot take over, if it cannot.
	Problem string `json:"problem,omitempty"`
}

// ErrYourTurn is returned if it is for the user to do something first, or afterwards. What, has been said.
var ErrYourTurn = errors.New("it is your turn")

// Look reads the cluster and tells what would become of the Services.
func Look(ctx context.Context, c client.Client, o Options) (*Report, error) {
	s, err := survey.Read(ctx, c, o.Namespace, survey.EndpointSlices, survey.ServiceL2Statuses, survey.ServiceBGPStatuses)
	if err != nil {
		return nil, err
	}
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	if err := m.Need("Services", "IPAddressPools", "Nodes"); err != nil {
		return nil, err
	}
	r := &Report{Source: o.Source.Name, Namespace: o.Namespace, Running: []Running{}, Services: []*Service{}}
	running, err := o.Source.running(ctx, c)
	if err != nil {
		return nil, err
	}
	r.Running = append(r.Running, running...)
	all, err := o.list(s)
	if err != nil {
		return nil, err
	}
	r.Services = append(r.Services, all...)
	judged := slices.ContainsFunc(s.Services, func(svc corev1.Service) bool {
		return meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated) != nil
	})
	switch k := s.Controller; {
	case s.Lacks("Leases"), k.Works(s.At), !k.LeaseFound && judged:
	case k.LeaseFound:
		r.Problem = fmt.Sprintf("the controller of Fairlead in namespace %s has not renewed its Lease for %s: nobody would give the Services an address", o.Namespace, s.At.Sub(k.Renewed).Round(time.Second))
	default:
		r.Problem = fmt.Sprintf("no controller of Fairlead runs in namespace %s: install it first, or name its namespace by --namespace",
			o.Namespace)
	}
	return r, nil
}

// Show prints a Report for people.
func (r *Report) Show(s *screen.Screen, o Options) {
	if len(r.Services) == 0 {
		s.Line(screen.C("No Service has a status or a finalizer of %s.", r.Source))
	} else {
		rows := [][]screen.Cell{{screen.C("SERVICE"), screen.C("HAS"), screen.C("WRITTEN BY"), screen.C("BECOMES")}}
		for _, x := range r.Services {
			rows = append(rows, []screen.Cell{screen.C("%s/%s", x.Namespace, x.Name), screen.C("%s", orNone(x.Addresses)),
				screen.C("%s", orNone(x.Writers)), screen.C("%s", x.becomes())})
		}
		s.Table(rows...)
	}
	if r.Problem != "" {
		s.Line(screen.C("%s.", r.Problem))
	}
	if len(r.Running) == 0 {
		return
	}
	s.Line(screen.C("%s is not stopped; it would write its addresses again, and a finalizer that it still needs is not removed:", r.Source))
	for _, x := range r.Running {
		s.Line(screen.C("  %s %s/%s", x.Kind, x.Namespace, x.Name))
	}
	s.Line(screen.C("To stop it:"))
	for _, x := range r.Running {
		if x.Stop != "" {
			s.Line(screen.C("  %s", x.Stop))
		}
	}
	for _, a := range o.Source.advice {
		s.Line(screen.C("%s", a))
	}
	s.Line(screen.C("Then run this command again."))
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

// becomes is what a Service becomes, in words.
func (x *Service) becomes() string {
	after, why := strings.Join(x.After, ", "), ""
	if x.Why != "" {
		why = ": " + x.Why
	}
	switch x.Outcome {
	case Keeps:
		return fmt.Sprintf("keeps %s from pool %s%s", x.edit.pin, x.Pool, why)
	case Changes:
		return fmt.Sprintf("gets another one, such as %s from pool %s%s", after, x.Pool, why)
	case Has:
		return fmt.Sprintf("has %s from Fairlead; the finalizer goes%s", after, why)
	case Leaves:
		return "is being deleted; the finalizer goes"
	case Waits:
		return "is left as it is, for no pool would give it an address" + why
	}
	return "is not of our class, and left as it is" + why
}

// touched are the Services that something is done to.
func (r *Report) touched() (out []*Service) {
	for _, x := range r.Services {
		if len(x.Writes) > 0 {
			out = append(out, x)
		}
	}
	return out
}

// Ready returns nil if the Services can be handed over.
func (r *Report) Ready() error {
	if len(r.Running) > 0 || r.Problem != "" && len(r.touched()) > 0 {
		return ErrYourTurn
	}
	return nil
}

// waiting returns ErrYourTurn if Services are left for which no pool has an address.
func (r *Report) waiting() error {
	if slices.ContainsFunc(r.Services, func(x *Service) bool { return x.Outcome == Waits }) {
		return ErrYourTurn
	}
	return nil
}

// Run hands the Services of a report over, unless the user does not agree.
func Run(ctx context.Context, c client.Client, o Options, r *Report) error {
	todo := r.touched()
	if len(todo) == 0 {
		return r.waiting()
	}
	if !o.Yes {
		if err := migrate.Confirm(ctx, o.In, o.Out, fmt.Sprintf("Hand over %s?", count(len(todo)))); err != nil {
			return fmt.Errorf("%w: nothing was changed", err)
		}
		// Time has passed.
		running, err := o.Source.running(ctx, c)
		if err != nil {
			return err
		}
		if len(running) > 0 {
			return fmt.Errorf("%s %s/%s has come up meanwhile: nothing was changed; stop it, and run the command again", running[0].Kind,
				running[0].Namespace, running[0].Name)
		}
	}
	for _, x := range todo {
		if err := x.hand(ctx, c); err != nil {
			return fmt.Errorf("hand over Service %s/%s: %w; run the command again to go on", x.Namespace, x.Name, err)
		}
	}
	if err := verify(ctx, c, o, todo); err != nil {
		return err
	}
	running, err := o.Source.running(ctx, c)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("%s runs again: %s %s/%s; it will write its addresses again", o.Source.Name, running[0].Kind, running[0].Namespace,
			running[0].Name)
	}
	return r.waiting()
}

func count(n int) string {
	if n == 1 {
		return "1 Service"
	}
	return fmt.Sprintf("%d Services", n)
}

var errChanged = errors.New("its addresses have changed since they were shown")

// hand makes the Service ask for what it is to keep, and then empties its status, so that Fairlead gives it that.
func (x *Service) hand(ctx context.Context, c client.Client) error {
	is := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: x.Namespace, Name: x.Name}}
	for range 5 {
		err := c.Get(ctx, client.ObjectKeyFromObject(is), is)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if is.UID != x.was.UID || !slices.Equal(texts(service.ShownAddresses(is)), x.Addresses) {
			return errChanged
		}
		was := is.DeepCopy()
		x.edit.metadata(is)
		err = c.Patch(ctx, is, client.MergeFromWithOptions(was, client.MergeFromWithOptimisticLock{}))
		if err == nil && x.edit.empty && is.DeletionTimestamp == nil {
			was = is.DeepCopy()
			is.Status.LoadBalancer.Ingress = nil
			err = c.Status().Patch(ctx, is, client.MergeFromWithOptions(was, client.MergeFromWithOptimisticLock{}))
		}
		if !apierrors.IsConflict(err) {
			return client.IgnoreNotFound(err)
		}
	}
	return errors.New("somebody else keeps writing it")
}

// verify waits until the Services have what they are to have.
func verify(ctx context.Context, c client.Client, o Options, all []*Service) error {
	var missing []error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, o.Timeout, true, func(ctx context.Context) (bool, error) {
		missing = nil
		for _, x := range all {
			if err := x.verify(ctx, c); err != nil {
				missing = append(missing, err)
			}
		}
		return len(missing) == 0, nil
	})
	if len(missing) > 0 {
		return fmt.Errorf("after %v: %w", o.Timeout, errors.Join(missing...))
	}
	return err
}

func (x *Service) verify(ctx context.Context, c client.Client) error {
	if x.Outcome == Leaves || x.Outcome == Waits {
		return nil
	}
	is := &corev1.Service{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: x.Namespace, Name: x.Name}, is); err != nil {
		return client.IgnoreNotFound(err)
	}
	said := meta.FindStatusCondition(is.Status.Conditions, service.ConditionAllocated)
	has := texts(service.ShownAddresses(is))
	if !isOurs(is) || x.Outcome == Keeps && !covers(has, strings.Split(x.edit.pin, ",")) {
		told := "Fairlead has not judged it"
		if said != nil {
			told = said.Reason + ": " + said.Message
		}
		return fmt.Errorf("the Service %s/%s has %s (%s)", x.Namespace, x.Name, orNone(has), told)
	}
	x.After, x.Pool = has, strings.Join(service.PoolsOf(is), ", ")
	return nil
}

// Done tells what the Services have now.
func (r *Report) Done(s *screen.Screen) {
	pinned := false
	for _, x := range r.touched() {
		s.Line(screen.C("Service %s/%s: %s", x.Namespace, x.Name, map[bool]string{true: "gone", false: orNone(x.After)}[x.Outcome == Leaves]))
		pinned = pinned || x.edit.pin != "" || x.edit.unask
	}
	if pinned {
		s.Line(screen.C("Where a Service is kept in git, make the same change there: see writes in -o json."))
	}
}
