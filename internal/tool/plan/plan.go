package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config/password"
	"github.com/fairlead/fairlead/internal/controller/delegate"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Rehearsal is a Report, and the clusters that it compares, each as its controller leaves it.
type Rehearsal struct {
	*Report
	Before, After *survey.Model
}

// Run tells what would change if manifests were applied.
func Run(ctx context.Context, c *Change, now *survey.Survey, manifests []Manifest, o rehearse.Options) (*Report, error) {
	r, err := Rehearse(ctx, c, now, manifests, o)
	if err != nil {
		return nil, err
	}
	return r.Report, nil
}

// Rehearse is Run for who wants to see both clusters, too.
func Rehearse(ctx context.Context, c *Change, now *survey.Survey, manifests []Manifest, o rehearse.Options) (*Rehearsal, error) {
	then, objects, gaps, err := c.Make(ctx, now, manifests)
	if err != nil {
		return nil, err
	}
	var unknown error
	if _, known := now.Choice(); !known {
		// No controller has said who advertises: find out as it would.
		choice, _, _, err := delegate.Look(ctx, o.Discovery, o.Dynamic, o.CiliumNamespace, now.Asked())
		if err != nil {
			unknown = fmt.Errorf("%w: who would advertise: %w", survey.ErrNotReadable, err)
			gaps = append(gaps, "cannot check who would advertise: "+err.Error())
		}
		now.Chosen, then.Chosen = &choice, &choice
	}
	before, after, err := worlds(now, then)
	if err != nil {
		return nil, err
	}
	secrets := password.Of(ctx, c.Client, now.Namespace)
	was, is := announce.Delegated(before.Input(secrets)), announce.Delegated(after.Input(secrets))
	var changed []Backend
	for _, name := range rehearse.Backends {
		if a, b := was[name].Desired, is[name].Desired; !a.IsEmpty() || !b.IsEmpty() {
			x, err := play(ctx, name, [2]backends.Desired{a, b}, o, [2]*world{before, after})
			if err != nil {
				return nil, err
			}
			changed = append(changed, x)
		}
	}
	r := compare(now, before, after)
	r.Objects, r.Warnings, r.Gaps = objects, c.astray, append(r.Gaps, gaps...)
	r.unknown = cmp.Or(r.unknown, unknown, c.unknown)
	for _, b := range changed {
		if len(b.Writes)+len(b.Findings)+b.Outstanding > 0 || b.Problem != "" {
			r.Backends = append(r.Backends, b)
		}
	}
	r.judge()
	return &Rehearsal{r, before.Model, after.Model}, nil
}

// play has one backend rehearse what it does now, and then what it would do; the worlds learn of what it finds.
func play(ctx context.Context, name string, want [2]backends.Desired, o rehearse.Options, worlds [2]*world) (Backend, error) {
	b := Backend{Name: name, Writes: []rehearse.Write{}}
	stage, err := rehearse.New(name, o)
	if err != nil {
		return b, err
	}
	var results [2]rehearse.Result
	for i := range want {
		r, err := stage.Apply(ctx, want[i])
		if err != nil {
			b.Problem = problem(err)
		}
		results[i] = r
		worlds[i].results[name] = announce.Result{Outcome: r.Outcome, Err: err}
	}
	b.Outstanding = len(results[0].Writes)
	b.Writes, b.Steps = append(b.Writes, results[1].Writes...), results[1].Steps
	if results[1].Outcome == nil {
		return b, nil
	}
	for _, f := range results[1].Outcome.Findings {
		if results[0].Outcome == nil || !slices.Contains(results[0].Outcome.Findings, f) {
			b.Findings = append(b.Findings, fmt.Sprintf("%s: %s", f.Type, f))
		}
	}
	return b, nil
}

// problem is an error of a backend in words, each of those that were joined once.
func problem(err error) string {
	var out []string
	for _, e := range backends.Flatten(err) {
		if text := e.Error(); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, "; ")
}
