package cni

import "fmt"

// moveRows are about nodes that come, go and change their labels, and about advertisements that change which nodes they are for.
var moveRows = []Row{
	{
		Name: "three zones and a node that goes round", Only: beyondCalico, Short: true, Long: simpleOn,
		Steps: []Step{
			liveA,
			{
				Change: "two advertisements by zone",
				Label:  []string{"n1 zone=a", "n2 zone=a", "n3 zone=b"},
				Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a"))),
					pooled("c", rangeC), service("web-c", "c", ""), advert("c", of("c", from("zone", "b")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n1 n2\nr1 r2: 192.0.2.0 from n3",
			},
			{Change: "n1 goes to zone b", Label: []string{"n1 zone=b"}, Routes: heardA + "r1 r2: 203.0.113.0 from n2\nr1 r2: 192.0.2.0 from n1 n3"},
			{Change: "n2 is in no zone", Label: []string{"n2 zone-"}, Routes: heardA + "r1 r2: 192.0.2.0 from n1 n3"},
			{Change: "n1 goes back", Label: []string{"n1 zone=a"}, Routes: heardA + "r1 r2: 203.0.113.0 from n1\nr1 r2: 192.0.2.0 from n3"},
			{Change: "all are in zone b", Label: []string{"n1 zone=b", "n2 zone=b"}, Routes: heardA + "r1 r2: 192.0.2.0 from all"},
		},
	},
	{
		Name: "a label that nobody asks for", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{
				Change: "an advertisement by zone", Label: []string{"n1 zone=a"},
				Apply:  docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n1",
			},
			{Change: "n1 and n2 get another label", Label: []string{"n1 rack=7", "n2 rack=7"}, Same: true},
			{Change: "n1 loses it", Label: []string{"n1 rack-"}, Same: true},
		},
	},
	{
		Name: "a node joins beside an advertisement that is not for it", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an advertisement for n1, another for all", Label: []string{"n1 zone=a"},
				Apply:  docs(poolA, toAllA, webA, pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n1",
			},
			{Change: "n4 comes", Do: (*Scene).Join, Routes: "r1 r2: 198.51.100.0 from n1 n2 n3 n4\nr1 r2: 203.0.113.0 from n1", HoldSeconds: 2},
			{Change: "n4 gets the label", Label: []string{"n4 zone=a"}, Routes: "r1 r2: 198.51.100.0 from n1 n2 n3 n4\nr1 r2: 203.0.113.0 from n1 n4"},
			{Change: "n4 loses it", Label: []string{"n4 zone-"}, Routes: "r1 r2: 198.51.100.0 from n1 n2 n3 n4\nr1 r2: 203.0.113.0 from n1"},
			{Change: "n4 goes", Do: (*Scene).Leave, Routes: heardA + "r1 r2: 203.0.113.0 from n1", HoldSeconds: 3},
			{Change: "n4 comes again", Do: (*Scene).Join, Routes: "r1 r2: 198.51.100.0 from n1 n2 n3 n4\nr1 r2: 203.0.113.0 from n1", HoldSeconds: 2},
			{Change: "and goes", Do: (*Scene).Leave, Routes: heardA + "r1 r2: 203.0.113.0 from n1"},
		},
	},
	{
		Name: "a node joins that every advertisement leaves out", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an advertisement by zone", Label: []string{"n1 zone=a", "n2 zone=a"},
				Apply: docs(poolA, webA, advert("a", of("a", from("zone", "a")))), Routes: "r1 r2: 198.51.100.0 from n1 n2",
			},
			{Change: "n4 comes", Do: (*Scene).Join, Same: true, HoldSeconds: 3},
			{Change: "the advertisement is for all", Apply: advert("a", of("a", "nodeSelectors: []")), Routes: "r1 r2: 198.51.100.0 from n1 n2 n3 n4"},
			{Change: "n4 goes", Do: (*Scene).Leave, Routes: heardA},
		},
	},
	{
		Name: "nodeSelectors are edited", Only: beyondCalico, Short: true, Long: simpleOn,
		Steps: []Step{
			liveA,
			{
				Change: "for n1", Label: []string{"n1 zone=a", "n2 zone=b", "n3 zone=c"},
				Apply:  docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n1",
			},
			{Change: "for n1 and n2", Apply: advert("b", of("b", "nodeSelectors: [{matchLabels: {zone: a}}, {matchLabels: {zone: b}}]")), Routes: heardA + "r1 r2: 203.0.113.0 from n1 n2"},
			{Change: "for n2 and n3", Apply: advert("b", of("b", "nodeSelectors: [{matchExpressions: [{key: zone, operator: In, values: [b, c]}]}]")), Routes: heardA + "r1 r2: 203.0.113.0 from n2 n3"},
			{Change: "for all but n3", Apply: advert("b", of("b", "nodeSelectors: [{matchExpressions: [{key: zone, operator: NotIn, values: [c]}]}]")), Routes: heardA + "r1 r2: 203.0.113.0 from n1 n2"},
			{Change: "for all", Apply: advert("b", of("b")), Routes: heardA + "r1 r2: 203.0.113.0 from all"},
			{Change: "for n1 again", Apply: advert("b", of("b", from("zone", "a"))), Routes: heardA + "r1 r2: 203.0.113.0 from n1"},
			{Change: "it goes", Delete: []string{"BGPAdvertisement/b"}, Routes: heardA},
		},
	},
	{
		Name: "nodes are selected by whether they have a label", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "for those without a label", Label: []string{"n2 storage=fast"},
				Apply:  docs(poolA, webA, advert("a", of("a", "nodeSelectors: [{matchExpressions: [{key: storage, operator: DoesNotExist}]}]"))),
				Routes: "r1 r2: 198.51.100.0 from n1 n3",
			},
			{Change: "for those with it", Apply: advert("a", of("a", "nodeSelectors: [{matchExpressions: [{key: storage, operator: Exists}]}]")), Routes: "r1 r2: 198.51.100.0 from n2"},
			{Change: "n2 loses it, n3 gets it", Label: []string{"n2 storage-", "n3 storage=slow"}, Routes: "r1 r2: 198.51.100.0 from n3"},
		},
	},
	{
		Name: "nodes are selected by name", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "for n1 and n3", Apply: docs(poolA, webA, advert("a", of("a", "nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1, n3]}]}]"))),
				Routes: "r1 r2: 198.51.100.0 from n1 n3",
			},
			{Change: "for n2", Apply: advert("a", of("a", from("kubernetes.io/hostname", "n2"))), Routes: "r1 r2: 198.51.100.0 from n2"},
		},
	},
	{
		Name: "nodeSelectors that match no node", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{
				Change: "for nobody", Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "nowhere")))),
				Routes: heardA, Told: "may advertise", Instead: map[string]Instead{"speaker": {Routes: heardA, Told: `no BGPAdvertisement of pool "b" selects node`}},
			},
			{Change: "a node gets the label", Label: []string{"n3 zone=nowhere"}, Routes: heardA + "r1 r2: 203.0.113.0 from n3"},
			{Change: "and loses it", Label: []string{"n3 zone-"}, Routes: heardA},
		},
	},
	{
		Name: "one pool, an advertisement for each zone, and a node that moves", Only: beyondCalico, Short: true, Long: simpleOn,
		Steps: []Step{
			{
				Change: "two zones", Label: []string{"n1 zone=a", "n2 zone=a", "n3 zone=b"},
				Apply: docs(poolA, webA, advert("a", of("a", from("zone", "a"))), advert("b", of("a", from("zone", "b")))), Routes: heardA,
			},
			{Change: "n1 moves: it advertises all the same", Label: []string{"n1 zone=b"}, Same: true, HoldSeconds: 4},
			{Change: "n1 and n3 move", Label: []string{"n1 zone=a", "n3 zone=a"}, Same: true, HoldSeconds: 4},
			{Change: "n2 is in no zone", Label: []string{"n2 zone-"}, Routes: "r1 r2: 198.51.100.0 from n1 n3"},
		},
	},
	{
		Name: "an advertisement takes the place of another", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{
				Change: "it is renamed: the same with another name",
				Apply:  advert("renamed", of("a")), Delete: []string{"BGPAdvertisement/a"}, Routes: heardA, HoldSeconds: 4,
			},
			{
				Change: "one for n1 and one for the others take its place", Label: []string{"n1 zone=a", "n2 zone=b", "n3 zone=b"},
				Apply:  docs(advert("left", of("a", from("zone", "a"))), advert("right", of("a", from("zone", "b")))),
				Delete: []string{"BGPAdvertisement/renamed"}, Routes: heardA, HoldSeconds: 4,
			},
		},
	},
	{
		Name: "a node that is excluded", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "n1 is excluded", Label: []string{"n1 " + excluded + "="}, Routes: "r1 r2: 198.51.100.0 from n2 n3", Resets: true},
			{Change: "n2, too, with a value", Label: []string{"n2 " + excluded + "=false"}, Routes: "r1 r2: 198.51.100.0 from n3", Resets: true},
			{Change: "n1 is back", Label: []string{"n1 " + excluded + "-"}, Routes: "r1 r2: 198.51.100.0 from n1 n3", Resets: true},
			{Change: "n2 is back", Label: []string{"n2 " + excluded + "-"}, Routes: heardA, Resets: true},
		},
	},
	{
		Name: "a node that is excluded, beside an advertisement that is not for it", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an advertisement for n2", Label: []string{"n2 zone=a"},
				Apply:  docs(poolA, toAllA, webA, pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n2",
			},
			{Change: "n1 is excluded", Label: []string{"n1 " + excluded + "="}, Routes: "r1 r2: 198.51.100.0 from n2 n3\nr1 r2: 203.0.113.0 from n2", Resets: true},
			{Change: "n1 is back", Label: []string{"n1 " + excluded + "-"}, Routes: heardA + "r1 r2: 203.0.113.0 from n2", Resets: true},
		},
	},
	{
		Name: "eight advertisements by zone come and go at once", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "they come", Label: []string{"n1 zone=a", "n2 zone=b"}, Apply: eight(), Routes: heardA + eightRoutes("n1", "n2")},
			{Change: "n1 and n2 change places", Label: []string{"n1 zone=b", "n2 zone=a"}, Routes: heardA + eightRoutes("n2", "n1")},
			{
				Change: "they go", Routes: heardA,
				Delete: []string{
					"BGPAdvertisement/m0", "BGPAdvertisement/m1", "BGPAdvertisement/m2", "BGPAdvertisement/m3", "BGPAdvertisement/m4", "BGPAdvertisement/m5", "BGPAdvertisement/m6", "BGPAdvertisement/m7",
				},
			},
		},
	},
	{
		Name: "nodes and peers are limited together", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "n1 to r1", Label: []string{"n1 zone=a", "n2 zone=b"},
				Apply: docs(poolA, webA, advert("a", of("a", from("zone", "a"), "peers: [r1]"))), Routes: "r1: 198.51.100.0 from n1",
			},
			{Change: "n2 to r2, too", Apply: advert("b", of("a", from("zone", "b"), "peers: [r2]")), Routes: "r1: 198.51.100.0 from n1\nr2: 198.51.100.0 from n2"},
			{
				Change: "n2 to r1, n1 to r2", Apply: docs(advert("a", of("a", from("zone", "b"), "peers: [r1]")), advert("b", of("a", from("zone", "a"), "peers: [r2]"))),
				Routes: "r1: 198.51.100.0 from n2\nr2: 198.51.100.0 from n1",
			},
			{Change: "all to both", Apply: docs(advert("a", of("a", "peers: [r1]")), advert("b", of("a", "peers: [r2]"))), Routes: heardA},
		},
	},
}

func eight() string {
	var all []string
	for i := range 8 {
		name := fmt.Sprintf("m%d", i)
		all = append(all, pooled(name, fmt.Sprintf("203.0.113.%d/32", i)), service(name, name, ""), advert(name, of(name, from("zone", []string{"a", "b"}[i%2]))))
	}
	return docs(all...)
}

func eightRoutes(even, odd string) string {
	out := ""
	for i := range 8 {
		out += fmt.Sprintf("r1 r2: 203.0.113.%d from %s\n", i, []string{even, odd}[i%2])
	}
	return out
}
