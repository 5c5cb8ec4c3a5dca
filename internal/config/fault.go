package config

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Ref identifies an object for messages and events.
type Ref struct {
	APIVersion, Kind string
	Namespace, Name  string
	UID              types.UID
}

func refOf(gv schema.GroupVersion, kind string, m metav1.ObjectMeta) Ref {
	return Ref{APIVersion: gv.String(), Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID}
}

// String returns "Kind namespace/name".
func (r Ref) String() string { return fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name) }

// Reference returns what events are about.
func (r Ref) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, UID: r.UID}
}

// Compare orders references by kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// Fault is one thing wrong with one object. It is comparable.
type Fault struct {
	Object Ref
	// Field is the path of the faulty field, such as "spec.addresses[2]".
	Field string
	// Problem says what is wrong, quotes the value, and says what would be right.
	Problem string
	// LastValid is set if an earlier, valid version of the object stays in force.
	LastValid bool
	// PoolsOnly is set if of the faulty version, which is of an advertisement, the pools that it selects are in force.
	PoolsOnly bool
	// Missing is set if the fault is a reference to something that does not exist, perhaps not yet.
	Missing bool
	// Waits is set if the object is valid, and cannot be served before something outside it is mended.
	Waits bool
}

// String is the whole story in one line.
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s", f.Object, f.Message())
}

// Message is String without the object, for an event on the object itself.
func (f Fault) Message() string {
	return fmt.Sprintf("%s: %s; %s", f.Field, f.Problem, f.Consequence())
}

// Consequence says what is in force instead of the faulty version.
func (f Fault) Consequence() string {
	switch {
	case f.Waits && f.Object.Kind == "IPAddressPool":
		return "until then the pool gives no new address; Services keep the addresses they have"
	case f.Waits:
		return "until then a session that is up stays, and another does not begin"
	case f.LastValid:
		return "its last valid version stays in force"
	case f.PoolsOnly:
		return "of it, only which pools it selects is in force"
	}
	return "it is set aside; Services keep the addresses they have"
}
