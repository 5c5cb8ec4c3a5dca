package layer2

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// parked is what keeps the pods of MetalLB's speakers from all nodes.
const parked = "fairlead.io/migrated-from-metallb"

// standIn is a MetalLB without its processes: objects as its manifests make them, somebody who answers for its addresses from one node as long as the
// DaemonSet is to have pods, and who removes pods as the cluster would.
type standIn struct {
	t     *testing.T
	s     *site.Site
	node  *netlab.Node
	vips  []netip.Addr
	ended chan struct{}

	mu      sync.Mutex
	answers *netlab.Responder // nil: nobody
}

func newStandIn(t *testing.T, s *site.Site, node *netlab.Node, vips []netip.Addr) *standIn {
	m := &standIn{t: t, s: s, node: node, vips: vips, ended: make(chan struct{})}
	labels := func(component string) map[string]string {
		return map[string]string{"app": "metallb", "component": component}
	}
	template := func(component string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels(component)}, Spec: corev1.PodSpec{
			HostNetwork: true, Containers: []corev1.Container{{Name: component, Image: "quay.io/metallb/" + component + ":v0.13.12", Args: []string{"--port=7472"}}},
		}}
	}
	one := int32(1)
	meta := func(name string) metav1.ObjectMeta {
		o := s.Meta(name)
		o.Labels = labels(name)
		return o
	}
	s.Create(&appsv1.Deployment{ObjectMeta: meta("controller"), Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels("controller")}, Template: template("controller")}})
	s.Create(&appsv1.DaemonSet{ObjectMeta: meta("speaker"), Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels("speaker")}, Template: template("speaker")}})
	m.answers = node.Respond(t, vips...)
	m.answers.Announce()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			m.step(ctx)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-m.ended
	})
	return m
}

// step makes the node do what the DaemonSet says.
func (m *standIn) step(ctx context.Context) {
	var d appsv1.DaemonSet
	if m.s.Bed.Client.Get(ctx, client.ObjectKey{Namespace: m.s.Namespace, Name: "speaker"}, &d) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch is := d.Spec.Template.Spec.NodeSelector[parked] != ""; {
	case is && m.answers != nil:
		m.answers.Silence(m.t)
		m.answers = nil
	case !is && m.answers == nil:
		m.answers = m.node.Respond(m.t, m.vips...)
		m.answers.Announce()
	}
}

// TestMigrate changes over from a MetalLB that announces, and back, while somebody asks for the address every 10 ms: there is always an answer. As long
// as nobody of Fairlead announces it, MetalLB's speakers go on.
func TestMigrate(t *testing.T) {
	s := site.New(t, bed, 3)
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	node := s.Owner(p, vips[0]) // MetalLB chooses the same
	s.Advertised(svc, "True Advertised")
	stopAll := func() {
		var all sync.WaitGroup
		for _, x := range s.Speakers {
			all.Go(func() { _, _ = x.Stop() })
		}
		all.Wait()
	}
	stopAll()
	_, err := s.Controller.Stop()
	require.NoError(t, err)
	s.Told(svc, nil)
	require.NoError(t, s.Bed.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc))
	svc.Status.Conditions = nil
	require.NoError(t, s.Bed.Client.Status().Update(t.Context(), svc))
	delete(svc.Labels, "fairlead.io/pool")
	require.NoError(t, s.Bed.Client.Update(t.Context(), svc))
	newStandIn(t, s, node, vips)
	began := time.Now()
	for _, vip := range vips {
		p.AwaitAnswer(t, vip, began, node.Host)
	}
	began = time.Now()

	plugin, err := s.Bed.Build("kubectl-fairlead")
	require.NoError(t, err)
	run := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), plugin, append([]string{"migrate", "from-metallb", "--namespace", s.Namespace, "--yes"}, args...)...)
		cmd.Env = []string{"KUBECONFIG=" + s.Kubeconfig()}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		require.Equal(t, code, cmd.ProcessState.ExitCode(), "%s%s", out.String(), errs.String())
		return out.String(), errs.String()
	}
	stdout, _ := run(2)
	assert.Contains(t, stdout, "--set prometheus.metricsPort=7482,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7956")

	// The controller is installed, and no speaker runs.
	labels := map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "controller"}
	ours := &appsv1.Deployment{ObjectMeta: s.Meta("fairlead-controller")}
	ours.Labels = labels
	ours.Spec = appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "fairlead"}}},
	}}
	s.Create(ours)
	s.Controller = s.Bed.Start(t, s.Namespace, "--backend=speaker")
	stdout, stderr := run(1, "--timeout=3s")
	assert.Contains(t, stderr, "less is announced than by MetalLB: Fairlead lacks 1 Service, such as default/web (NoSpeaker: ")
	assert.Contains(t, stdout, "default/web: NoSpeaker: ")
	alone := time.Now()
	p.Await(t, "ten probes", func() bool { return len(p.Probes(vips[0], alone, time.Time{})) > 10 })
	assert.Equal(t, []string{node.Name()}, netlab.Names(p.Answerers(vips[0], began, time.Time{})), "MetalLB's speakers go on")

	for _, n := range s.Nodes() {
		s.Speak(n)
	}
	stdout, _ = run(0)
	assert.Contains(t, stdout, "Fairlead is in charge")
	over := time.Now()
	p.Await(t, "more probes", func() bool { return len(p.Probes(vips[0], over, time.Time{})) > 30 })
	s.Told(svc, node.Host)

	// And back.
	_, err = s.Controller.Stop()
	require.NoError(t, err)
	stdout, _ = run(0, "--back")
	assert.Contains(t, stdout, "MetalLB is in charge again")
	back := time.Now()
	p.Await(t, "MetalLB's speaker beside ours", func() bool { return len(p.Probes(vips[0], back, time.Time{})) > 30 })
	stopAll()
	gone := time.Now()
	p.Await(t, "more probes", func() bool { return len(p.Probes(vips[0], gone, time.Time{})) > 50 })
	assert.Equal(t, []string{node.Name()}, netlab.Names(p.Answerers(vips[0], gone.Add(100*time.Millisecond), time.Time{})))
	for _, vip := range vips {
		assert.Empty(t, p.Lost(vip, began, time.Time{}), "when probes for %s were sent that nobody answered", vip)
		t.Logf("%d probes for %s", len(p.Probes(vip, began, time.Time{})), vip)
	}
}
