package doctor

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/api/crds"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/migrate"
	"github.com/fairlead/fairlead/internal/tool/rehearse"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// healthy makes a cluster of the shop in which nothing is wrong.
func healthy(s *survey.Survey) {
	s.Services = s.Services[:0:0]
	for i := range s.Sessions {
		s.Sessions[i].Status.State = "Established"
	}
}

// external has a pool take its addresses from an allocator.
func external(s *survey.Survey) {
	s.Config.Pools[0].Annotations = map[string]string{config.AnnotationAllocator: config.AllocatorClusterAPI, config.AnnotationAllocatorPool: "K.example.org/lb"}
}

// claimFor returns a claim that was made for a Service at a time.
func claimFor(owner allocator.Owner, at time.Time) clusterapi.Found {
	f := clusterapi.Found{Namespace: "metallb-system", Claimed: allocator.Claimed{Claim: allocator.Claim{ID: "claim", Owner: owner}}}
	f.Object.SetName("claim")
	f.Object.SetCreationTimestamp(metav1.NewTime(at))
	return f
}

func TestChecks(t *testing.T) {
	all, err := crds.All()
	require.NoError(t, err)
	crd := func(name string, change func(*apiextensionsv1.CustomResourceDefinition)) func(*Facts) {
		return func(f *Facts) {
			c := f.CRDs[name].DeepCopy()
			change(c)
			f.CRDs[name] = c
		}
	}
	deployment := func(change func(*appsv1.Deployment)) func(*Facts) {
		return func(f *Facts) { change(&f.Deployments[0]) }
	}
	metallb := func(image string) appsv1.DaemonSet {
		d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker"}}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Image: image}}
		return d
	}
	silent := func(s *survey.Survey) {
		s.Silent = map[string]time.Time{s.Nodes[0].Name: s.At.Add(-time.Minute)}
	}
	noSpeakers := func(s *survey.Survey) { s.Leases = nil }
	ipvs := func(f *Facts) { f.Proxy = &Proxy{Mode: "ipvs"} }
	webhook := func(policy admissionregistrationv1.FailurePolicyType, bundle string) func(*Facts) {
		return func(f *Facts) {
			f.Webhook = &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				FailurePolicy: &policy, ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte(bundle), Service: &admissionregistrationv1.ServiceReference{}},
			}}}
		}
	}
	condition := func(kind string, status metav1.ConditionStatus) func(*survey.Survey) {
		return func(s *survey.Survey) {
			s.Backends[0].Status.Conditions = []metav1.Condition{{Type: kind, Status: status, Reason: "Reason", Message: "message"}}
		}
	}
	absent := func(s *survey.Survey) { s.Controller = survey.Controller{} }
	noDeployment := func(f *Facts) { f.Deployments = nil }
	stopped := func(s *survey.Survey) { s.At = s.At.Add(time.Hour) }

	gaps := func(kinds ...string) func(*survey.Survey) {
		return func(s *survey.Survey) {
			for _, k := range kinds {
				s.Gaps = append(s.Gaps, survey.Gap{What: k})
			}
		}
	}
	speakers := func(desired, ready int32) func(*Facts) {
		return func(f *Facts) {
			d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: f.Namespace, Name: "fairlead-speaker", Labels: survey.SpeakerLabels}}
			d.Status = appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: desired, NumberReady: ready}
			f.DaemonSets = []appsv1.DaemonSet{d}
		}
	}
	speakerPod := func(change func(*corev1.Pod)) func(*Facts) {
		return func(f *Facts) {
			p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.Namespace, Name: "speaker-x"}, Spec: corev1.PodSpec{NodeName: "n1"}}
			change(&p)
			f.Pods = append(f.Pods, p)
		}
	}
	waiting := func(name, reason, message string) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Image: "ghcr.io/fairlead/fairlead:v0.0.0-devel", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}}
	}
	found := func(f *Facts) { f.Seen = "neither Calico nor Cilium is there" }

	for _, tc := range []struct {
		name     string
		survey   []func(*survey.Survey)
		facts    []func(*Facts)
		check    string
		also     int    // how many findings of other checks there are
		severity string // of the finding; empty: there is none at all
		what     string // part of it
		command  string // part of it
	}{
		{name: "nothing"},
		{name: "a speaker gives no sign of life", survey: []func(*survey.Survey){silent}, check: "speakers", severity: Warning, what: `has given no sign of life for 1m0s`, command: "kubectl get node "},
		{name: "CRD missing", facts: []func(*Facts){func(f *Facts) { delete(f.CRDs, "bgppeers.metallb.io") }}, check: "crds", severity: Error, what: "bgppeers.metallb.io", command: "kubectl apply --server-side"},
		{name: "CRD lacks fields", facts: []func(*Facts){crd("bgppeers.metallb.io", func(c *apiextensionsv1.CustomResourceDefinition) {
			for i := range c.Spec.Versions {
				spec := c.Spec.Versions[i].Schema.OpenAPIV3Schema.Properties["spec"]
				delete(spec.Properties, "localASN")
			}
		})}, check: "crds", severity: Warning, what: "lacks spec.localASN", command: "api/crds"},
		{name: "CRD does not serve a version", facts: []func(*Facts){crd("bgppeers.metallb.io", func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[1].Served = false })}, check: "crds", severity: Error, what: "does not serve version v1beta2"},
		{name: "CRD of another release", facts: []func(*Facts){crd("ipaddresspools.metallb.io", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Annotations = map[string]string{helmRelease: "metallb", helmNamespace: "metallb-system"}
		})}, check: "crds", severity: Warning, what: "ipaddresspools.metallb.io belong to the Helm release metallb-system/metallb", command: "--take-ownership"},
		{name: "CRD of our release", facts: []func(*Facts){crd("ipaddresspools.metallb.io", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Annotations = map[string]string{helmRelease: "fairlead", helmNamespace: "metallb-system"}
		})}},
		{name: "CRD with a conversion webhook that is gone", facts: []func(*Facts){crd("bgppeers.metallb.io", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ClientConfig: &apiextensionsv1.WebhookClientConfig{Service: &apiextensionsv1.ServiceReference{Namespace: "metallb-system", Name: "gone"}},
			}}
		})}, check: "crds", severity: Error, what: "Service metallb-system/gone; it has no endpoints"},

		{name: "a claim that nobody needs", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Claims = []clusterapi.Found{
				claimFor(allocator.Owner{Namespace: "shop", Name: "gone"}, s.At.Add(-2*time.Minute)),
				claimFor(allocator.Owner{Namespace: "shop", Name: "new"}, s.At.Add(-time.Second)),
			}
		}}, check: "allocators", severity: Warning, what: "nobody needs 1 claim any more: claim (for shop/gone)", command: "delete ipaddressclaims.ipam.cluster.x-k8s.io claim"},
		{name: "an allocator that is not asked", survey: []func(*survey.Survey){external}, check: "allocators", severity: Error,
			what: "takes its addresses from allocator cluster-api, and the controller does not ask it", command: "allocators.clusterAPI.enabled=true"},
		{name: "no kind to ask by", survey: []func(*survey.Survey){external, func(s *survey.Survey) {
			s.Controller.Settings["allocators"] = "cluster-api"
			s.Gaps = []survey.Gap{{What: survey.IPAddressClaims, Missing: true}}
		}}, check: "allocators", severity: Error, what: "the API server has no IPAddressClaims", command: "kubectl get crd"},
		{name: "a pool that the allocator does not have", survey: []func(*survey.Survey){external, func(s *survey.Survey) {
			s.Controller.Settings["allocators"] = "cluster-api"
			s.AllocatorPools = map[string]allocator.PoolState{"K.example.org/lb": {Refusal: allocator.RefusedPool, Why: "K.example.org/lb does not exist"}}
		}}, check: "allocators", severity: Error, what: "K.example.org/lb does not exist", command: "edit ipaddresspools"},

		{name: "Lease run out", survey: []func(*survey.Survey){stopped}, check: "controller", severity: Error, what: "has not renewed the Lease fairlead-controller for 1h0m5s", command: "get pods"},
		{name: "no Lease", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Controller.LeaseFound = false }}, check: "controller", severity: Error, what: "no controller has run there", command: "get pods"},
		{name: "no Lease, and no replica is ready", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Controller.LeaseFound = false }}, facts: []func(*Facts){deployment(func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 0 })},
			check: "controller", severity: Error, what: "none of the 2 replicas", command: "get pods"},
		{name: "not installed", survey: []func(*survey.Survey){absent}, facts: []func(*Facts){noDeployment}, check: "controller", severity: Error, what: "no controller has run there",
			command: "helm install fairlead charts/fairlead -n metallb-system --create-namespace --set controller.image.repository="},
		{name: "Lease may not be read", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Controller.LeaseFound, s.Gaps = false, []survey.Gap{{What: "Leases"}}
		}}},
		{name: "nothing of the controller may be read", survey: []func(*survey.Survey){absent, gaps("Leases", "Deployments")}, facts: []func(*Facts){noDeployment, found}},
		{name: "its Lease may not be read", survey: []func(*survey.Survey){absent, gaps("Leases")}, facts: []func(*Facts){noDeployment, found}},
		{name: "no Lease, and what runs without one may not be read", survey: []func(*survey.Survey){absent, gaps("Deployments")}, facts: []func(*Facts){noDeployment, found}},
		{name: "it runs without a Lease", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Controller.LeaseFound, s.Controller.Settings["leader-elect"] = false, "false"
		}}, facts: []func(*Facts){found}},
		{name: "profiles may not be read", survey: []func(*survey.Survey){gaps("BFDProfiles", "Communities"), func(s *survey.Survey) {
			s.Config.BGPPeers[0].Spec.BFDProfile = "fast"
			s.Config.BFDProfiles = nil
			s.Config.BGPAdvertisements[0].Spec.Communities = []string{"alias"}
		}}},
		{name: "no replicas", facts: []func(*Facts){deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })}, check: "controller", severity: Error, what: "0 replicas", command: "scale deployment/fairlead-controller --replicas=2"},
		{name: "one replica ready", facts: []func(*Facts){deployment(func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 1 })}, check: "controller", severity: Warning, what: "1 of 2 replicas"},

		{name: "MetalLB's speakers", facts: []func(*Facts){func(f *Facts) { f.DaemonSets = append(f.DaemonSets, metallb("quay.io/metallb/speaker:v0.15")) }}, check: "metallb", severity: Error, what: "DaemonSet metallb-system/speaker", command: "kubectl -n metallb-system patch daemonset speaker"},
		{name: "MetalLB's speakers, kept from all nodes", facts: []func(*Facts){func(f *Facts) {
			d := metallb("quay.io/metallb/speaker:v0.15")
			d.Spec.Template.Spec.NodeSelector = map[string]string{migrate.Parked: "true"}
			f.DaemonSets = append(f.DaemonSets, d)
		}}},
		{name: "a change-over that is not finished", facts: []func(*Facts){func(f *Facts) {
			f.Migration = &migrate.Progress{Done: 2, Steps: 4}
			f.DaemonSets = append(f.DaemonSets, metallb("quay.io/metallb/speaker:v0.15"))
		}}, check: "metallb", severity: Error, what: "2 of 4 steps are done", command: "kubectl fairlead migrate from-metallb"},
		{name: "a change-over that is finished", facts: []func(*Facts){func(f *Facts) { f.Migration = &migrate.Progress{Done: 4, Steps: 4} }}},
		{name: "other daemons", facts: []func(*Facts){func(f *Facts) { f.DaemonSets = append(f.DaemonSets, metallb("example.org/speaker:1")) }}},
		{name: "MetalLB's controller", facts: []func(*Facts){func(f *Facts) {
			f.Deployments = append(f.Deployments, appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "lb", Name: "controller", Labels: map[string]string{"app": "metallb"}}})
		}}, check: "metallb", severity: Error, what: "Deployment lb/controller", command: "kubectl -n lb scale deployment/controller --replicas=0"},
		{name: "MetalLB's controller, scaled down", facts: []func(*Facts){func(f *Facts) {
			d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "lb", Name: "controller", Labels: map[string]string{"app": "metallb"}}}
			d.Spec.Replicas = new(int32(0))
			f.Deployments = append(f.Deployments, d)
		}}},

		{name: "faulty pool", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Config.Pools[1].Spec.Addresses = []string{"2001:db8::1-2001:db8::0"} }}, check: "configuration", severity: Error, what: "spec.addresses[0]", command: "edit ipaddresspool.metallb.io manual"},
		{name: "pools overlap", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Config.Pools[1].Spec.Addresses = []string{"192.0.2.2/31"} }}, check: "configuration", severity: Error, what: "overlaps"},
		{name: "only the process knows", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.States[0].Status = v1beta1.ConfigurationStateStatus{Result: v1beta1.ConfigurationInvalid, ErrorSummary: "bad"}
		}}, check: "configuration", severity: Warning, what: "speaker-n1: bad"},

		{name: "no pools", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Config.Pools = nil }}, check: "pools", severity: Error, what: "no IPAddressPool", command: "kubectl apply"},
		{name: "pools may not be read", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Config.Pools, s.Gaps = nil, []survey.Gap{{What: "IPAddressPools"}}
		}}},
		{name: "none automatic", survey: []func(*survey.Survey){func(s *survey.Survey) {
			for i := range s.Config.Pools {
				s.Config.Pools[i].Spec.AutoAssign = new(false)
			}
		}}, check: "pools", severity: Warning, what: "no pool in force assigns automatically"},

		{name: "a node's address in a pool", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Nodes[0].Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.3"}}
		}}, check: "pools", severity: Warning, what: "spec.addresses contains 192.0.2.3, an address of node", command: "kubectl fairlead explain address 192.0.2.3"},
		{name: "a foreign status", survey: []func(*survey.Survey){func(s *survey.Survey) {
			svc := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "foreign"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
			svc.Status.Conditions = []metav1.Condition{{Type: "fairlead.io/Allocated", Status: metav1.ConditionFalse, Reason: "ForeignStatus"}}
			s.Services = append(s.Services, svc)
		}}, check: "services", severity: Error, what: "no address (ForeignStatus): shop/foreign",
			command: `kubectl -n shop patch service foreign --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":null}}}'`},

		{name: "backend not ready", survey: []func(*survey.Survey){condition("Ready", metav1.ConditionFalse)}, check: "backends", severity: Error, what: `backend "speaker" is not ready: Reason: message`, command: "kubectl describe backends.fairlead.io speaker"},
		{name: "the CNI's allocator", survey: []func(*survey.Survey){condition("IPAMConflict", metav1.ConditionTrue)}, check: "backends", severity: Error, what: "IPAMConflict"},
		{name: "a field that the CNI cannot express", survey: []func(*survey.Survey){condition("UnsupportedField", metav1.ConditionTrue)}, check: "backends", severity: Warning, what: "UnsupportedField"},
		{name: "what a backend finds where no controller runs", survey: []func(*survey.Survey){stopped, func(s *survey.Survey) {
			s.Controller.LeaseFound = false
		}}, also: 1, facts: []func(*Facts){func(f *Facts) {
			f.Rehearsed = map[string]Rehearsed{"calico": {Outcome: &backends.Outcome{Findings: []backends.Finding{{Type: backends.BackendInactive, Message: "BIRD does not run"}}}}}
		}}, check: "backends", severity: Error, what: "BIRD does not run"},
		{name: "nobody serves layer 2", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Controller.Settings["l2-backend"] = "none"
		}}, check: "backends", severity: Warning, what: "nobody serves L2Advertisement lan, L2Advertisement office", command: "--set l2Backend=speaker,speaker.enabled=true"},
		{name: "nobody serves BGP", survey: []func(*survey.Survey){func(s *survey.Survey) {
			s.Controller.Settings["bgp-backend"], s.Sessions = "none", nil
		}}, check: "backends", severity: Warning, what: "nobody serves BGPAdvertisement", command: "--set bgpBackend=calico"},

		{name: "no speaker", survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "no speaker runs", command: "speaker.enabled=true"},
		{name: "no speaker, and none is needed", survey: []func(*survey.Survey){noSpeakers, func(s *survey.Survey) {
			s.Controller.Settings["backend"] = "cilium"
		}}},
		{name: "no speaker is ready", facts: []func(*Facts){speakers(2, 0)}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "0 of 2 speakers are ready", command: "get pods"},
		{name: "no speaker is ready, although they say that they run", facts: []func(*Facts){speakers(2, 0)}, check: "speakers", severity: Error, what: "0 of 2 speakers are ready", command: "get pods"},
		{name: "a speaker is not ready", facts: []func(*Facts){speakers(2, 1)}, check: "speakers", severity: Warning, what: "1 of 2 speakers are ready", command: "get pods"},
		{name: "a pod does not start", facts: []func(*Facts){speakers(2, 0), speakerPod(func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}}}}
		})}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", also: 1, severity: Error, what: `0 of 2 speakers are ready: pod speaker-x on node "n1": ImagePullBackOff: not found`, command: "describe pod speaker-x"},
		{name: "the image of the controller is not there", facts: []func(*Facts){func(f *Facts) {
			f.ControllerPods = []corev1.Pod{waiting("controller-b", "ErrImagePull", "not found"), waiting("controller-a", "ErrImagePull", "not found"), {}}
		}}, check: "images", severity: Error, what: `the image "ghcr.io/fairlead/fairlead:v0.0.0-devel" cannot be pulled for pod controller-a, controller-b: ErrImagePull: not found`, command: "controller.image.repository=REGISTRY/fairlead,controller.image.tag=TAG"},
		{name: "the name of an image is none, and Helm has not installed it", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Controller.Release = "" }}, facts: []func(*Facts){func(f *Facts) {
			f.ControllerPods = []corev1.Pod{waiting("controller-a", "InvalidImageName", "")}
		}}, check: "images", severity: Error, what: "cannot be pulled for pod controller-a: InvalidImageName", command: "kubectl -n metallb-system describe pod controller-a"},
		{name: "a controller starts", facts: []func(*Facts){func(f *Facts) {
			f.ControllerPods = []corev1.Pod{waiting("controller-a", "ContainerCreating", "")}
		}}},
		{name: "a pod crashes", facts: []func(*Facts){speakers(2, 0), speakerPod(func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		})}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "CrashLoopBackOff", command: "logs speaker-x --previous"},
		{name: "a pod finds no room", facts: []func(*Facts){speakers(2, 0), speakerPod(func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no free ports"}}
		})}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "Unschedulable: no free ports", command: "describe pod speaker-x"},
		{name: "pods are refused", facts: []func(*Facts){speakers(2, 0), func(f *Facts) { f.Refused = `violates PodSecurity "baseline:latest"` }}, survey: []func(*survey.Survey){noSpeakers},
			check: "speakers", severity: Error, what: "their pods are refused", command: "kubectl label namespace metallb-system pod-security.kubernetes.io/enforce=privileged"},
		{name: "the namespace admits no such pods", facts: []func(*Facts){speakers(2, 0)}, survey: []func(*survey.Survey){noSpeakers, func(s *survey.Survey) {
			s.Namespaces[s.Namespace] = map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}
		}}, check: "speakers", severity: Error, what: `only pods of the level "baseline"`, command: "kubectl label namespace metallb-system"},
		{name: "no node is selected", facts: []func(*Facts){speakers(0, 0), func(f *Facts) {
			f.DaemonSets[0].Spec.Template.Spec.NodeSelector = map[string]string{"lb": "yes"}
		}}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "no node has the labels of nodeSelector of DaemonSet fairlead-speaker: lb=yes", command: "get nodes --show-labels"},
		{name: "ready, and silent", facts: []func(*Facts){speakers(2, 2)}, survey: []func(*survey.Survey){noSpeakers}, check: "speakers", severity: Error, what: "no speaker says that it runs", command: "logs daemonset/fairlead-speaker"},
		{name: "DaemonSets may not be read", survey: []func(*survey.Survey){noSpeakers, gaps("DaemonSets")}, check: "speakers", severity: Error, what: "no speaker says that it runs", command: "get pods"},
		{name: "no Secret", facts: []func(*Facts){func(f *Facts) { f.Memberlist = false }}, check: "speakers", severity: Error, what: "Secret of the speakers", command: "create secret generic memberlist"},
		{name: "a node that is not there", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Nodes = s.Nodes[:1] }}, check: "speakers", severity: Warning, what: `node "n2"`},
		{name: "nodes may not be read", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Nodes, s.Gaps = nil, []survey.Gap{{What: "Nodes"}} }}},
		{name: "says it runs, without a pod", facts: []func(*Facts){func(f *Facts) { f.SpeakerPods = map[string]bool{"n1": true} }}, check: "speakers", severity: Warning, what: `node "n2" says that it runs, and no pod of it does`},

		{name: "IPVS without strictARP", facts: []func(*Facts){ipvs}, check: "kube-proxy", severity: Error, what: "strictARP", command: "strictARP: true"},
		{name: "IPVS with strictARP", facts: []func(*Facts){ipvs, func(f *Facts) { f.Proxy.IPVS.StrictARP = true }}},
		{name: "IPVS, and no speaker answers ARP", facts: []func(*Facts){ipvs}, survey: []func(*survey.Survey){func(s *survey.Survey) { s.Config.L2Advertisements = nil }}},

		{name: "all sessions down", survey: []func(*survey.Survey){func(s *survey.Survey) {
			for i := range s.Sessions {
				s.Sessions[i].Status.State = "Active"
			}
		}}, check: "sessions", severity: Error, what: `no session with BGPPeer "tor" on n1, n2`, command: "kubectl fairlead peers"},
		{name: "one session down", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Sessions[0].Status.State = "Idle" }}, check: "sessions", severity: Warning, what: "on n1"},

		{name: "webhook without a Service that fails closed", facts: []func(*Facts){webhook(admissionregistrationv1.Fail, "ca")}, check: "webhook", severity: Error, what: "does not exist", command: "delete validatingwebhookconfiguration"},
		{name: "webhook without endpoints", facts: []func(*Facts){webhook(admissionregistrationv1.Ignore, "ca"), func(f *Facts) { f.WebhookService = true }}, check: "webhook", severity: Warning, what: "no endpoint"},
		{name: "webhook without a CA", facts: []func(*Facts){webhook(admissionregistrationv1.Ignore, ""), func(f *Facts) { f.WebhookService, f.WebhookReady = true, true }}, check: "webhook", severity: Warning, what: "caBundle"},
		{name: "webhook in order", facts: []func(*Facts){webhook(admissionregistrationv1.Fail, "ca"), func(f *Facts) { f.WebhookService, f.WebhookReady = true, true }}},
		{name: "webhook served, and nothing leads to it", survey: []func(*survey.Survey){func(s *survey.Survey) { s.Controller.Settings["webhook"] = "enabled" }}, check: "webhook", severity: Warning, what: "nothing leads to it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := surveytest.Survey(t, surveytest.Shop, append([]func(*survey.Survey){healthy}, tc.survey...)...)
			m, err := s.Model()
			require.NoError(t, err)
			f := &Facts{Model: m, Wanted: all, CRDs: map[string]*apiextensionsv1.CustomResourceDefinition{}, Memberlist: true, MemberlistKnown: true}
			for _, c := range all {
				f.CRDs[c.Name] = c
			}
			c := surveytest.Client(t, surveytest.Shop)
			require.NoError(t, f.readWorkloads(t.Context(), c))
			for _, change := range tc.facts {
				change(f)
			}
			r := Examine(f)
			if tc.severity == "" {
				require.Empty(t, r.Findings)
				return
			}
			require.Len(t, r.Findings, 1+tc.also, "%+v", r.Findings)
			i := slices.IndexFunc(r.Findings, func(x Finding) bool { return x.Check == tc.check })
			require.GreaterOrEqual(t, i, 0, "%+v", r.Findings)
			got := r.Findings[i]
			assert.Equal(t, tc.severity, got.Severity, got.What)
			assert.Contains(t, got.What, tc.what)
			assert.Contains(t, got.Command, tc.command)
		})
	}
}

// TestNotInstalled: before there is an installation, the commands lead to one, and not past a MetalLB that runs.
func TestNotInstalled(t *testing.T) {
	all, err := crds.All()
	require.NoError(t, err)
	s := surveytest.Survey(t, surveytest.Shop, healthy, func(s *survey.Survey) { s.Controller = survey.Controller{} })
	m, err := s.Model()
	require.NoError(t, err)
	f := &Facts{Model: m, Wanted: all, CRDs: map[string]*apiextensionsv1.CustomResourceDefinition{}}
	commands := func(check string) []string {
		var out []string
		for _, x := range Examine(f).Findings {
			if x.Check == check {
				out = append(out, x.Severity+" "+x.Command)
			}
		}
		return out
	}
	require.Len(t, commands("crds"), 1)
	assert.Contains(t, commands("crds")[0], "error helm install fairlead charts/fairlead", "Helm would not take over what kubectl has made")
	assert.Contains(t, commands("crds")[0], "--take-ownership")

	metallb := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "controller", Labels: map[string]string{"app": "metallb"}}}
	speaker := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "speaker", Labels: map[string]string{"app": "metallb"}}}
	f.Deployments, f.DaemonSets = []appsv1.Deployment{metallb}, []appsv1.DaemonSet{speaker}
	const changeOver = "kubectl fairlead migrate from-metallb"
	assert.Equal(t, []string{"warning " + changeOver, "warning " + changeOver}, commands("metallb"))
	for _, check := range []string{"crds", "controller"} {
		assert.Equal(t, []string{"error " + changeOver}, commands(check))
	}
}

// TestCRDsByHelm: CRDs of the controller's release are brought by Helm, others by kubectl.
func TestCRDsByHelm(t *testing.T) {
	all, err := crds.All()
	require.NoError(t, err)
	f := &Facts{Model: surveytest.Model(t, surveytest.Shop), Wanted: all, CRDs: map[string]*apiextensionsv1.CustomResourceDefinition{}}
	require.NoError(t, f.readWorkloads(t.Context(), surveytest.Client(t, surveytest.Shop)))
	assert.Equal(t, "kubectl apply --server-side --force-conflicts -f api/crds", f.installCRDs())
	by := map[string]string{helmRelease: "lb", helmNamespace: f.Namespace}
	f.Deployments[0].Annotations, f.Controller.Release = by, "lb"
	have := all[0].DeepCopy()
	have.Annotations = by
	f.CRDs[have.Name] = have
	assert.Equal(t, "helm upgrade lb charts/fairlead -n metallb-system --reset-then-reuse-values --take-ownership", f.installCRDs())
}

// TestAdvice: who has installed by Helm is told values of the chart, who has not is told flags, and who may not see which is told no command.
func TestAdvice(t *testing.T) {
	all, err := crds.All()
	require.NoError(t, err)
	none := func(s *survey.Survey) { s.Controller.Settings["bgp-backend"] = "none" }
	facts := func(change ...func(*Facts)) *Facts {
		f := &Facts{Model: surveytest.Model(t, surveytest.Shop, healthy, none), Wanted: all, Memberlist: true}
		require.NoError(t, f.readWorkloads(t.Context(), surveytest.Client(t, surveytest.Shop)))
		for _, c := range change {
			c(f)
		}
		return f
	}
	plain := func(f *Facts) { f.Controller.Release = "" }
	unseen := func(f *Facts) {
		f.Deployments, f.Controller.Release, f.Controller.Deployment = nil, "", ""
		f.Gaps = append(f.Gaps, survey.Gap{What: "Deployments"})
	}
	for _, tc := range []struct {
		name         string
		change       func(*Facts)
		why, command string
	}{
		{"Helm", func(*Facts) {}, "bgpBackend of the chart says", "helm upgrade fairlead charts/fairlead -n metallb-system --reset-then-reuse-values --set bgpBackend=calico   # or cilium; or bgpBackend=speaker,speaker.enabled=true"},
		{"not by Helm", plain, "because of them; --bgp-backend says", `kubectl -n metallb-system patch deployment fairlead-controller --type json -p '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--bgp-backend=calico"}]'   # or cilium; or speaker`},
		{"not to be seen", unseen, "--bgp-backend, or bgpBackend of the chart says", ""},
	} {
		c := &check{}
		unserved(facts(tc.change), c)
		require.Len(t, c.out, 1, tc.name)
		assert.Contains(t, c.out[0].Why, tc.why, tc.name)
		assert.Equal(t, tc.command, c.out[0].Command, tc.name)
	}
	noArgs := facts(plain, func(f *Facts) { f.Deployments[0].Spec.Template.Spec.Containers[0].Args = nil })
	assert.Contains(t, noArgs.command(enableWebhook), `'[{"op":"add","path":"/spec/template/spec/containers/0/args","value":[]},{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--webhook=enabled"}]'`)
	assert.Equal(t, "make manifests && kubectl apply -f dist/manifests/speaker.yaml", facts(plain).enableSpeakers())
	assert.Equal(t, "kubectl apply --server-side --force-conflicts -f api/crds", facts(plain).installCRDs())
}

// TestServices: Services are grouped by what is wrong with them; those of another class are not ours to judge.
func TestServices(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
		s.Service("shop", "lost").Spec.LoadBalancerClass = new("foreign")
		extra := *s.Service("shop", "wide").DeepCopy()
		extra.Name = "another"
		s.Services = append(s.Services, extra)
	})
	c := &check{name: "services"}
	servicesCheck(&Facts{Model: m}, c)
	var got []string
	for _, f := range c.out {
		got = append(got, f.Severity+" "+f.What)
		assert.NotEmpty(t, f.Why)
	}
	assert.Equal(t, []string{"error 2 Services: no address (AddressInUse): shop/another, shop/wide", "error 1 Service: not advertised (NoEndpoints): shop/mail"}, got)
}

// TestNobodySays: whether routers hear a Service is worth a warning if nodes do not say it, and none if there are no nodes.
func TestNobodySays(t *testing.T) {
	for _, c := range []struct {
		nodes bool
		want  string
	}{
		{true, "warning 1 Service: not advertised (SessionsUnknown): shop/mail"},
		{false, "info 1 Service: not known to be advertised, as there are no nodes (SessionsUnknown): shop/mail"},
	} {
		m := surveytest.Model(t, surveytest.Shop, func(s *survey.Survey) {
			s.Services = slices.DeleteFunc(s.Services, func(svc corev1.Service) bool { return svc.Name != "mail" })
			x := meta.FindStatusCondition(s.Services[0].Status.Conditions, service.ConditionAdvertised)
			x.Status, x.Reason = metav1.ConditionUnknown, announce.ReasonSessionsUnknown
			if !c.nodes {
				s.Nodes = nil
			}
		})
		out := &check{name: "services"}
		servicesCheck(&Facts{Model: m}, out)
		require.Len(t, out.out, 1)
		assert.Equal(t, c.want, out.out[0].Severity+" "+out.out[0].What)
		assert.Equal(t, c.nodes, out.out[0].Why != "", "there is something to do")
	}
}

// TestRead: everything is read from a cluster, and what is not there is no error.
func TestRead(t *testing.T) {
	const more = `apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data: {config.conf: "mode: ipvs\nipvs: {strictARP: false}\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: memberlist, namespace: metallb-system}
---
apiVersion: v1
kind: Pod
metadata: {name: s1, namespace: metallb-system, labels: {app.kubernetes.io/name: fairlead, app.kubernetes.io/component: speaker}}
spec: {nodeName: n1, containers: [{name: speaker, image: x}]}
status: {phase: Running}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: metallb-webhook-configuration}
webhooks: [{name: a.b.c, clientConfig: {service: {namespace: shop, name: web}}, sideEffects: None, admissionReviewVersions: [v1]}]
`
	m := surveytest.Model(t, surveytest.Shop)
	f, err := Read(t.Context(), surveytest.Client(t, surveytest.Shop, []byte(more)), m, rehearse.Options{})
	require.NoError(t, err)
	assert.Equal(t, &Proxy{Mode: "ipvs"}, f.Proxy)
	assert.True(t, f.Memberlist && f.MemberlistKnown && f.WebhookService && f.WebhookReady)
	assert.Equal(t, map[string]bool{"n1": true}, f.SpeakerPods)
	assert.Len(t, f.Pods, 1)
	assert.NotNil(t, f.CRDs)

	assert.Nil(t, f.Migration)

	const begun = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fairlead-migration, namespace: metallb-system}\ndata: {state.json: '{\"done\": 3}'}\n"
	f, err = Read(t.Context(), surveytest.Client(t, []byte(begun)), m, rehearse.Options{})
	require.NoError(t, err)
	assert.Equal(t, &migrate.Progress{Done: 3, Steps: 4}, f.Migration)
	assert.Nil(t, f.Proxy)
	assert.Nil(t, f.Webhook)
	assert.True(t, !f.Memberlist && f.MemberlistKnown)
	assert.Nil(t, f.SpeakerPods)
}
