package assign

import "errors"

// errCNIUnknown: it is not known yet whether the CNI's own allocator would replace what is given out.
var errCNIUnknown = errors.New("the CNI has not been looked at yet; its own address allocator might replace the address")

// AwaitCNI has nothing new given out before OpenGate is called. Services keep what they have, and those without an address wait with
// ReasonCNIUnknown. It must be called before Adopt.
func (a *Assigner) AwaitCNI() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut = true
}

// OpenGate says that the CNI has been looked at: those who wait are served, the longest-waiting first. It is idempotent.
func (a *Assigner) OpenGate(namespace NamespaceLabels) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.shut {
		return
	}
	a.shut = false
	for owner := range a.engine.All() {
		if !isParting(owner) {
			a.notify.Service(owner)
		}
	}
	for _, x := range a.waiting.all() {
		a.decide(x.service, namespace(x.owner.Namespace))
		a.notify.Service(x.owner)
	}
	a.wake()
}
