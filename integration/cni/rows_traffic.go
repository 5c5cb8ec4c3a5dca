package cni

import "fmt"

// trafficRows are about Services, their endpoints and their addresses.
var trafficRows = []Row{
	{
		Name: "a Service comes, goes and comes again", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "one more", Apply: service("web2", "a", ""), Routes: heardA + "r1 r2: 198.51.100.1 from all"},
			{Change: "the first goes", Delete: []string{"Service/web"}, Routes: "r1 r2: 198.51.100.1 from all"},
			{Change: "it comes again", Apply: webA, Routes: heardA + "r1 r2: 198.51.100.1 from all"},
		},
	},
	{
		Name: "a Service is of another type for a while", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "ClusterIP", Apply: service("web", "a", "type: ClusterIP"), Routes: ""},
			{Change: "LoadBalancer", Apply: webA, Routes: heardA},
		},
	},
	{
		Name: "only nodes with an endpoint", Only: beyondCalico, Short: true,
		Steps: []Step{
			{
				Change: "a Service with externalTrafficPolicy Local", Endpoints: map[string]string{"web": "n1"},
				Apply: docs(poolA, toAllA, service("web", "a", "externalTrafficPolicy: Local")), Routes: "r1 r2: 198.51.100.0 from n1",
			},
			{Change: "one more endpoint", Endpoints: map[string]string{"web": "n1 n3"}, Routes: "r1 r2: 198.51.100.0 from n1 n3"},
			{Change: "the first moves", Endpoints: map[string]string{"web": "n2 n3"}, Routes: "r1 r2: 198.51.100.0 from n2 n3"},
			{Change: "none", Endpoints: map[string]string{"web": ""}, Routes: ""},
			{Change: "all", Endpoints: map[string]string{"web": "n1 n2 n3"}, Routes: heardA},
		},
	},
	{
		Name: "only nodes with an endpoint, and of one zone", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "endpoints on n1 and n2, zone a on n2 and n3", Endpoints: map[string]string{"web": "n1 n2"}, Label: []string{"n2 zone=a", "n3 zone=a"},
				Apply: docs(poolA, advert("a", of("a", from("zone", "a"))), service("web", "a", "externalTrafficPolicy: Local")), Routes: "r1 r2: 198.51.100.0 from n2",
			},
			{Change: "n1 is of the zone, n2 is not", Label: []string{"n1 zone=a", "n2 zone-"}, Routes: "r1 r2: 198.51.100.0 from n1"},
			{Change: "an endpoint on n3", Endpoints: map[string]string{"web": "n3"}, Routes: "r1 r2: 198.51.100.0 from n3"},
		},
	},
	{
		Name: "Services are selected by label", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "one of two",
				Apply: docs(poolA, serviceAt("web", "198.51.100.0", ""), tiered("web2", "198.51.100.1", "front"),
					advert("a", of("a", "serviceSelectors: [{matchLabels: {tier: front}}]"))),
				Routes: "r1 r2: 198.51.100.1 from all",
			},
			{Change: "the other one is labelled, too", Apply: tiered("web", "198.51.100.0", "front"), Routes: heardA + "r1 r2: 198.51.100.1 from all"},
			{Change: "its label changes", Apply: tiered("web", "198.51.100.0", "back"), Routes: "r1 r2: 198.51.100.1 from all"},
			{Change: "the advertisement selects all", Apply: advert("a", of("a", "serviceSelectors: []")), Routes: heardA + "r1 r2: 198.51.100.1 from all"},
		},
	},
	{
		Name: "Services of a label to one peer, all others to the other", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "two Services",
				Apply: docs(poolA, serviceAt("web", "198.51.100.0", ""), tiered("web2", "198.51.100.1", "front"),
					advert("front", of("a", "serviceSelectors: [{matchLabels: {tier: front}}]", "peers: [r1]")),
					advert("rest", of("a", "serviceSelectors: [{matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}]", "peers: [r2]"))),
				Routes: "r1: 198.51.100.1 from all\nr2: 198.51.100.0 from all",
			},
			{Change: "one is of the other kind", Apply: tiered("web", "198.51.100.0", "front"), Routes: "r1: 198.51.100.1 from all\nr1: 198.51.100.0 from all"},
		},
	},
	{
		Name: "a Service asks for an address, and for another", Only: beyondCalico,
		Steps: []Step{
			{Change: "the fifth", Apply: docs(poolA, toAllA, serviceAt("web", "198.51.100.5", "")), Routes: "r1 r2: 198.51.100.5 from all"},
			{Change: "the sixth", Apply: serviceAt("web", "198.51.100.6", ""), Routes: "r1 r2: 198.51.100.6 from all"},
		},
	},
	{
		Name: "an address that two Services share", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "both", Routes: "r1 r2: 198.51.100.5 from all",
				Apply: docs(poolA, toAllA, shared("web", 80), shared("web2", 443)),
			},
			{Change: "one goes", Delete: []string{"Service/web"}, Same: true, HoldSeconds: 1},
			{Change: "it comes again", Apply: shared("web", 80), Same: true},
			{Change: "both go", Delete: []string{"Service/web", "Service/web2"}},
		},
	},
	{
		Name: "a Service of both families", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "it comes", Apply: docs(pooled("six", rangeA, "2001:db8:a::/124"), service("web", "six", "ipFamilies: [IPv4, IPv6]"), advert("a", of("six"))),
				Routes: "r1 r2: 198.51.100.0 from all\nr1 r2: 2001:db8:a:: from all",
			},
			{Change: "IPv6 to r2 only", Apply: advert("a", of("six", "peers: [r1, r2, r2-v6]")), Routes: "r1 r2: 198.51.100.0 from all\nr2: 2001:db8:a:: from all"},
			{Change: "from n1 only", Label: []string{"n1 zone=a"}, Apply: advert("a", of("six", from("zone", "a"))), Routes: "r1 r2: 198.51.100.0 from n1\nr1 r2: 2001:db8:a:: from n1"},
		},
	},
	{
		Name: "thirty Services at once", Only: beyondCalico,
		Steps: []Step{
			{Change: "they come", Apply: docs(pooled("a", "198.51.100.0/26"), toAllA, many(30)), Routes: manyRoutes(30, "all")},
			{Change: "from n2 only", Label: []string{"n2 zone=a"}, Apply: advert("a", of("a", from("zone", "a"))), Routes: manyRoutes(30, "n2")},
			{Change: "with a community", Apply: advert("a", of("a", `communities: ["64512:8"]`)), Routes: manyRoutes(30, "all with 64512:8")},
		},
	},
	{
		Name: "the controller is killed while nothing changes", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{
				Change: "narrow ones beside", Label: []string{"n1 zone=a"},
				Apply:  docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a"), "peers: [r2]", `communities: ["64512:8"]`))),
				Routes: heardA + "r2: 203.0.113.0 from n1 with 64512:8",
			},
			{Change: "it is killed and comes again", Do: killedAndBack, Same: true, HoldSeconds: 5},
		},
	},
	{
		Name: "nodes are relabelled while the controller is away", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{
				Change: "an advertisement by zone", Label: []string{"n1 zone=a"},
				Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))), Routes: heardA + "r1 r2: 203.0.113.0 from n1",
			},
			{
				Change: "the controller is killed, n2 gets the label, n1 loses it, the controller comes again",
				Do: func(s *Scene) {
					s.Lab.stop()
					s.Label("n2 zone=a")
					s.Label("n1 zone-")
					killedAndBack(s)
				},
				Routes: heardA + "r1 r2: 203.0.113.0 from n2",
			},
		},
	},
	{
		Name: "the controller is killed while eight advertisements come", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{
				Change: "eight advertisements come, and it is killed after a tenth of a second", Label: []string{"n1 zone=a", "n2 zone=b"}, Apply: eight(),
				Do: func(s *Scene) {
					s.pause(every)
					killedAndBack(s)
				},
				Routes: heardA + eightRoutes("n1", "n2"),
			},
			{
				Change: "nodes change places, and it is killed", Label: []string{"n1 zone=b", "n2 zone=a"},
				Do: func(s *Scene) {
					s.pause(every)
					killedAndBack(s)
				},
				Routes: heardA + eightRoutes("n2", "n1"),
			},
		},
	},
	{
		Name: "names as long as they may be", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an advertisement and a pool", Label: []string{"n1 zone=a"},
				Apply:  docs(pooled(long("pool"), rangeA), service("web", long("pool"), ""), advert(long("advertisement"), of(long("pool"), from("zone", "a")))),
				Routes: "r1 r2: 198.51.100.0 from n1",
			},
			{Change: "for all", Apply: advert(long("advertisement"), of(long("pool"))), Routes: heardA},
		},
	},
}

func shared(name string, port int) string {
	return fmt.Sprintf(`kind: Service
metadata: {name: %s, annotations: {metallb.io/loadBalancerIPs: 198.51.100.5, metallb.io/allow-shared-ip: both}}
spec: {ports: [{name: http, port: %d, protocol: TCP}]}`, name, port)
}

// tiered is a Service with a label and an address.
func tiered(name, addr, tier string) string {
	return fmt.Sprintf("kind: Service\nmetadata: {name: %s, labels: {tier: %s}, annotations: {metallb.io/loadBalancerIPs: %s}}", name, tier, addr)
}

func many(n int) string {
	var all []string
	for i := range n {
		all = append(all, serviceAt(fmt.Sprintf("many-%d", i), fmt.Sprintf("198.51.100.%d", i), ""))
	}
	return docs(all...)
}

func manyRoutes(n int, from string) string {
	out := ""
	for i := range n {
		out += fmt.Sprintf("r1 r2: 198.51.100.%d from %s\n", i, from)
	}
	return out
}

// long returns a name of 240 characters.
func long(name string) string {
	for len(name) < 240 {
		name += "-x"
	}
	return name[:239] + "z"
}
