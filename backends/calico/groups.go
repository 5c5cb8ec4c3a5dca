package calico

import "k8s.io/apimachinery/pkg/runtime/schema"

// Groups are the groups in which Calico's objects are served, the preferred one first.
var Groups = []schema.GroupVersion{groupV3, groupV1}

// Watched are the resources that others write and that decide what Calico makes of ours.
var Watched = []string{resource, "bgppeers", "bgpfilters", "ippools", "kubecontrollersconfigurations"}
