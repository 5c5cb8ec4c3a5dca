package assign

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/service"
)

const (
	// contentionLimit is how many times a status that somebody emptied is written again at once.
	contentionLimit = 3
	// contentionPause is how long it is then left alone, and contentionEnd after how long without trouble all is forgotten.
	contentionPause = 10 * time.Minute
	contentionEnd   = time.Hour
)

// contention counts how often somebody else emptied the status of a Service after we wrote it. Its zero value is ready for use;
// it is safe for concurrent use.
type contention struct {
	mu      sync.Mutex
	emptied map[types.NamespacedName]*emptied
}

type emptied struct {
	times int
	last  time.Time // that the status was written again
}

// isEmptied reports whether somebody else emptied a status that we wrote.
func isEmptied(svc *corev1.Service) bool {
	_, marked := svc.Annotations[service.AnnotationFromPool]
	return marked && len(service.ShownAddresses(svc)) == 0
}

// pause returns how long the status of svc must be left alone, 0 if it may be written now.
func (c *contention) pause(svc *corev1.Service, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.emptied[client.ObjectKeyFromObject(svc)]
	if e == nil || e.times < contentionLimit || !isEmptied(svc) {
		return 0
	}
	return max(0, contentionPause-now.Sub(e.last))
}

// wrote notes that addresses were written to the status that svc had until now.
func (c *contention) wrote(svc *corev1.Service, now time.Time) {
	if !isEmptied(svc) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.emptied == nil {
		c.emptied = map[types.NamespacedName]*emptied{}
	}
	name := client.ObjectKeyFromObject(svc)
	e := c.emptied[name]
	if e == nil || now.Sub(e.last) > contentionEnd {
		e = &emptied{}
		c.emptied[name] = e
	}
	e.times, e.last = e.times+1, now
}

func (c *contention) forget(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.emptied, name)
}
