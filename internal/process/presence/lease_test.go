package presence

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leader is the Lease of the controller, renewed at a time.
func leader(at time.Time) *coordinationv1.Lease {
	renewed := metav1.NewMicroTime(at)
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "fairlead-controller"}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world has a leader that renews every 2 s, and speakers.
type world struct {
	Life
	now   time.Time
	ahead map[string]time.Duration // by how much the clock of a node that lives is ahead
}

func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(2 * time.Second)
		w.Note(leader(w.now), w.now)
		if w.now.Sub(start)%RenewEvery == 0 {
			for node, ahead := range w.ahead {
				w.Note(Lease("ns", "speaker-"+node, node, w.now.Add(ahead)), w.now)
			}
		}
	}
}

func TestLife(t *testing.T) {
	w := &world{now: start, ahead: map[string]time.Duration{"a": 0, "b": -time.Hour, "c": time.Hour}}
	dead := Lease("ns", "speaker-dead", "dead", start.Add(-time.Hour))
	w.Note(dead, start)
	w.pass(2 * time.Second)
	assert.Equal(t, map[string]bool{"dead": true}, w.Silent(), "what was silent for long when it was first seen")
	w.pass(2 * LeaseFor)
	assert.Equal(t, map[string]bool{"dead": true}, w.Silent(), "clocks that are wrong make nobody silent")

	delete(w.ahead, "a")
	delete(w.ahead, "c")
	w.pass(LeaseFor - 2*RenewEvery)
	assert.Equal(t, map[string]bool{"dead": true}, w.Silent())
	w.Note(Lease("ns", "speaker-a", "a", w.now), w.now)
	w.pass(2*RenewEvery + 4*time.Second)
	assert.Equal(t, map[string]bool{"dead": true, "c": true}, w.Silent(), "a has renewed since")
	w.pass(LeaseFor)
	assert.Equal(t, map[string]bool{"dead": true, "c": true, "a": true}, w.Silent())

	w.Note(Lease("ns", "speaker-a", "a", w.now.Add(-2*time.Hour)), w.now)
	w.Forget(dead)
	assert.Equal(t, map[string]bool{"c": true}, w.Silent(), "one that came back with its clock set back lives")
}

// TestLifeWithoutAPIServer: nobody could renew anything, so nobody was silent.
func TestLifeWithoutAPIServer(t *testing.T) {
	w := &world{now: start, ahead: map[string]time.Duration{"a": 0}}
	w.pass(RenewEvery)
	w.now = w.now.Add(time.Hour)
	w.Note(leader(w.now), w.now)
	assert.Empty(t, w.Silent())
	delete(w.ahead, "a")
	w.pass(LeaseFor + 2*time.Second)
	assert.Equal(t, map[string]bool{"a": true}, w.Silent(), "and did not come back")
}

func TestSilent(t *testing.T) {
	long := strings.Repeat("n", 80)
	leases := []coordinationv1.Lease{
		*leader(start),
		*Lease("ns", "speaker-a", "a", start.Add(-LeaseFor)),
		*Lease("ns", "speaker-b", "b", start.Add(-LeaseFor-time.Millisecond)),
		*Lease("ns", "speaker-n", long, start.Add(-time.Hour)),
		{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
	}
	assert.Equal(t, map[string]time.Time{"b": start.Add(-LeaseFor - time.Millisecond), long: start.Add(-time.Hour)}, Silent(leases, start))
	assert.Empty(t, Silent(nil, start))
}
