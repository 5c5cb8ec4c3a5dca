package config

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/keep"
	"github.com/fairlead/fairlead/internal/process/presence"
	"github.com/fairlead/fairlead/internal/process/text"
)

// The ConfigurationStates of the controller and the speakers, as MetalLB names them.
const (
	controllerState    = "controller"
	speakerState       = "speaker-" // and the node
	stateComponent     = "metallb.io/component-type"
	conditionPools     = "poolReconcilerValid"
	conditionConfig    = "configReconcilerValid"
	reasonReconciled   = "Reconciled"
	reasonConfigFaulty = "ConfigurationError"

	// eventConfigurationError is the reason of the event on a faulty object.
	eventConfigurationError = "ConfigurationError"
)

// SpeakerState returns the name of the ConfigurationState of the speaker on a node: "speaker-" and the name of the node, cut and with its
// hash if that is too long.
func SpeakerState(node string) string {
	const longest = 253
	name := speakerState + node
	if len(name) > longest {
		hash := backends.Hash(node)
		name = strings.TrimRight(name[:longest-1-len(hash)], "-.") + "-" + hash
	}
	return name
}

// IsSpeakerState reports whether a ConfigurationState has the name of one of a speaker.
func IsSpeakerState(name string) bool { return strings.HasPrefix(name, speakerState) }

// reporter tells of faults: in the log and by an event on the object when a fault is new, and in the ConfigurationState.
type reporter struct {
	client    client.Client
	namespace string
	node      string               // of the speaker; empty for the controller
	recorder  events.EventRecorder // nil: no events
	log       *slog.Logger
	states    *states
	readiness *readiness // nil: somebody else's
	reported  []Fault
	remarked  []Remark
	about     func(context.Context, []Fault) []Fault // of all faults those that the state is about; nil: all
}

// state returns where the ConfigurationState is, and its labels.
func (r *reporter) state() (types.NamespacedName, map[string]string) {
	if r.node == "" {
		return types.NamespacedName{Namespace: r.namespace, Name: controllerState}, map[string]string{stateComponent: "controller"}
	}
	return types.NamespacedName{Namespace: r.namespace, Name: SpeakerState(r.node)},
		map[string]string{stateComponent: "speaker", presence.LabelNode: backends.LabelValue(r.node)}
}

// tell tells of faults that are new: of those of a Snapshot, and, in the controller, of those that only the outside knows of.
func (r *reporter) tell(ctx context.Context, s *Snapshot) {
	faults := s.Faults()
	if r.node == "" && r.about != nil {
		faults = r.about(ctx, faults)
	}
	for _, f := range faults {
		if slices.Contains(r.reported, f) {
			continue
		}
		r.log.Warn("faulty configuration", "object", f.Object.String(), "field", f.Field, "err", f.Problem, "lastValidInForce", f.LastValid)
		if r.recorder == nil {
			continue
		}
		r.recorder.Eventf(f.Object.Reference(), nil, corev1.EventTypeWarning, eventConfigurationError, "Validate", "%s", f.Message())
	}
	r.reported = faults
}

func (r *reporter) report(ctx context.Context, s *Snapshot, reservations []v1alpha1.AddressReservation, remarks []Remark) {
	r.tell(ctx, s)
	for _, x := range remarks {
		if slices.Contains(r.remarked, x) {
			continue
		}
		r.log.Warn("configuration to be looked at", "object", x.Object.String(), "reason", x.Reason, "err", x.Message)
		if r.recorder != nil {
			r.recorder.Eventf(x.Object.Reference(), nil, corev1.EventTypeWarning, x.Reason, "Validate", "%s", x.Message)
		}
	}
	r.remarked = remarks
	r.setState(ctx, s)
	r.setReadiness(s, reservations)
}

// keep has what is reported be there until ctx ends.
func (r *reporter) keep(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.states.Serve(ctx) })
	if r.readiness != nil {
		g.Go(func() error { return r.readiness.Serve(ctx) })
	}
	return g.Wait()
}

// states keep ConfigurationStates, by name; each process keeps one.
type states = keep.Keeper[string, v1beta1.ConfigurationStateStatus, *v1beta1.ConfigurationState]

// stateEvery is how often at most a ConfigurationState is written.
const stateEvery = 200 * time.Millisecond

// newStates returns what keeps the ConfigurationState of the reporter; it says nothing yet.
func (r *reporter) newStates(from cache.Cache) *states {
	mine, labels := r.state()
	return keep.New(keep.Options[string, v1beta1.ConfigurationStateStatus, *v1beta1.ConfigurationState]{
		Client: r.client, Cache: from, Log: r.log, Every: stateEvery,
		Mine: func(o *v1beta1.ConfigurationState) bool { return client.ObjectKeyFromObject(o) == mine },
		Key:  func(o *v1beta1.ConfigurationState) string { return o.Name },
		New: func(name string) *v1beta1.ConfigurationState {
			meta := metav1.ObjectMeta{Namespace: mine.Namespace, Name: name, Labels: maps.Clone(labels)}
			return &v1beta1.ConfigurationState{ObjectMeta: meta}
		},
		Status: func(o *v1beta1.ConfigurationState) *v1beta1.ConfigurationStateStatus { return &o.Status },
		Fit:    fitState,
	})
}

// setState has the ConfigurationState tell of a Snapshot, and of what was remarked last.
func (r *reporter) setState(ctx context.Context, s *Snapshot) {
	faults := s.Faults()
	if r.about != nil {
		faults = r.about(ctx, faults)
	}
	status := stateOf(faults)
	if r.node == "" {
		status.Conditions = append(status.Conditions, remarked(r.remarked))
	}
	name, _ := r.state()
	r.states.Set(map[string]v1beta1.ConfigurationStateStatus{name.Name: status}, nil)
}

// stateOf returns a status that tells of faults. Its conditions do not say since when; see fitState.
func stateOf(faults []Fault) v1beta1.ConfigurationStateStatus {
	status := v1beta1.ConfigurationStateStatus{Result: v1beta1.ConfigurationValid, ErrorSummary: summary(faults)}
	if len(faults) > 0 {
		status.Result = v1beta1.ConfigurationInvalid
	}
	for _, c := range []struct {
		name string
		mine func(Fault) bool
	}{
		{conditionPools, func(f Fault) bool { return f.Object.Kind == "IPAddressPool" }},
		{conditionConfig, func(f Fault) bool { return f.Object.Kind != "IPAddressPool" }},
	} {
		mine := slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return !c.mine(f) })
		condition := metav1.Condition{Type: c.name, Status: metav1.ConditionTrue, Reason: reasonReconciled, Message: summary(mine)}
		if len(mine) > 0 {
			condition.Status, condition.Reason = metav1.ConditionFalse, reasonConfigFaulty
		}
		status.Conditions = append(status.Conditions, condition)
	}
	return status
}

// fitState returns want with conditions that say since when they are as they are, and with those of is that are somebody else's. That
// there is nothing to remark is said only where something was.
func fitState(is, want v1beta1.ConfigurationStateStatus) v1beta1.ConfigurationStateStatus {
	out := v1beta1.ConfigurationStateStatus{Result: want.Result, ErrorSummary: want.ErrorSummary, Conditions: slices.Clone(is.Conditions)}
	for _, c := range want.Conditions {
		if c.Type == conditionNodeAddresses && c.Status == metav1.ConditionTrue && meta.FindStatusCondition(is.Conditions, c.Type) == nil {
			continue
		}
		meta.SetStatusCondition(&out.Conditions, c)
	}
	return out
}

func summary(faults []Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return text.Cut(strings.Join(lines, "\n"), text.MaxMessage)
}
