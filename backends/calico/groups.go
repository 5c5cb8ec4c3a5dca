package calico

import "k8s.io/apimachinery/pkg/runtime/schema"

// Groups are the groups in which Calico's objects are served, the preferred one first.
var Groups = []schema.GroupVersion{groupV3, groupV1}
